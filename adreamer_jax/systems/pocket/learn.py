"""What one step of the pocket prior's training computes.

A batch is some sets of four views. Each is mirrored and turned by chance, noised to one
step of the schedule and shown to the network, which predicts the velocity
``v = sqrt(a) e - sqrt(1 - a) x``. In part of the sets some views have hardly any noise:
so the network learns to complete the others from them (after diffusion forcing, Chen et
al. 2024). Letters: s sets, v views, b = s v pictures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.schedule import ramp
from adreamer_jax.prior.load import alpha_code, color_code, pixels_to_blocks
from adreamer_jax.prior.noise import Schedule, add_noise, velocity
from adreamer_jax.prior.text import TextConfig, text_tokens
from adreamer_jax.prior.unet_ldm import LdmConfig, unet_ldm
from adreamer_jax.types import Array, Float, Int, Key, Metrics, Params

VIEWS = 4
_MIRRORED = (0, 3, 2, 1)  # a mirrored orbit runs backward: this runs forward again
# World (z up, front +x) with left and right exchanged, and a camera's x axis turned.
_MIRROR_WORLD = np.diag([1.0, -1.0, 1.0, 1.0]).astype(np.float32)
_MIRROR_CAMERA = np.diag([-1.0, 1.0, 1.0, 1.0]).astype(np.float32)


class Networks(NamedTuple):
    """Sizes of both networks, how pixels become their input, and the noise."""

    unet: LdmConfig
    text: TextConfig
    schedule: Schedule
    block: int
    has_alpha: bool
    dtype: Any


class Sample(NamedTuple):
    """What chance decides of each set of a batch."""

    row: Int[Array, " s"]  # of the shelf
    level: Float[Array, "s v"]  # of noise, in 0 ... 1
    mirror: Array
    turn: Int[Array, " s"]  # views that the ring is turned by
    silent: Array  # no text is read


class Views(NamedTuple):
    """Sets as the network reads them."""

    codes: Float[Array, "s v h w c"]
    cameras: Float[Array, "s v 16"]
    ids: Int[Array, "s tokens"]


def draw_sample(config: Any, key: Key, step: Int[Array, ""]) -> Sample:
    """The whole batch's chances; levels of noise are spread evenly over a batch."""
    run, numbers = config.run, config.loss_numbers
    count = run.batch
    keys = jax.random.split(key, 6)
    place = jax.random.permutation(keys[0], count)
    level = (place + jax.random.uniform(keys[1], (count,))) / count
    power = ramp(numbers.level_power, step / run.steps)
    return Sample(
        row=(step % run.shelf_steps) * count + jnp.arange(count),
        level=with_clear_views(keys[5], level**power, numbers.shown, numbers.clear),
        mirror=jax.random.bernoulli(keys[2], numbers.mirror, (count,)),
        turn=jax.random.randint(keys[3], (count,), 0, VIEWS),
        silent=jax.random.bernoulli(keys[4], numbers.silent, (count,)),
    )


def with_clear_views(
    key: Key, level: Float[Array, " s"], share: float, most: float
) -> Float[Array, "s v"]:
    """Levels of noise of every view; in a ``share`` of the sets some are shown.

    One to three views, chosen by chance, then have a level in 0 ... ``most``, or the
    others' where that is less.
    """
    chance, number, order, clear = jax.random.split(key, 4)
    sets = level.shape
    some = jax.random.bernoulli(chance, share, sets)
    shown = jnp.where(some, jax.random.randint(number, sets, 1, VIEWS), 0)
    rank = jnp.argsort(jax.random.uniform(order, (*sets, VIEWS)), axis=-1)
    low = jnp.minimum(most * jax.random.uniform(clear, sets), level)
    return jnp.where(rank < shown[:, None], low[:, None], level[:, None])


def code_views(networks: Networks, images: Array) -> Float[Array, "s v h w c"]:
    """Codes of premultiplied uint8 RGBA [s, v, h, w, 4]."""
    picture = images.reshape(-1, *images.shape[2:]).astype(jnp.float32) / 255.0
    encode = alpha_code if networks.has_alpha else color_code
    codes = pixels_to_blocks(encode(picture[..., :3], picture[..., 3]), networks.block)
    return codes.reshape(*images.shape[:2], *codes.shape[1:])


def augmented(
    images: Array, cameras: Float[Array, "s v 16"], sample: Sample
) -> tuple[Array, Float[Array, "s v 16"]]:
    """Pictures and cameras, mirrored and turned as ``sample`` says."""

    def one(images, cameras, mirror, turn):
        images = jnp.where(mirror, mirrored_images(images), images)
        cameras = jnp.where(mirror, mirrored_cameras(cameras), cameras)
        return jnp.roll(images, turn, axis=0), jnp.roll(cameras, turn, axis=0)

    return jax.vmap(one)(images, cameras, sample.mirror, sample.turn)


def mirrored_images(images: Array) -> Array:
    """The ring of views [v, h, w, c] of the animal's mirror image."""
    return images[jnp.array(_MIRRORED), :, ::-1]


def mirrored_cameras(cameras: Float[Array, "v 16"]) -> Float[Array, "v 16"]:
    """The cameras that see the mirror image so."""
    matrix = cameras.reshape(-1, 4, 4)[jnp.array(_MIRRORED)]
    return jnp.asarray(_MIRROR_WORLD @ matrix @ _MIRROR_CAMERA).reshape(-1, 16)


def chosen(
    networks: Networks, shelf: dict, sample: Sample, silence: Int[Array, " tokens"]
) -> Views:
    """The sets of a batch, augmented, coded, and some without their text."""
    images, cameras = augmented(
        shelf["images"][sample.row], shelf["cameras"][sample.row], sample
    )
    ids = jnp.where(sample.silent[:, None], silence, shelf["ids"][sample.row])
    return Views(code_views(networks, images), cameras, ids)


def predict(
    networks: Networks,
    params: Params,
    noised: Float[Array, "s v h w c"],
    t: Int[Array, "s v"],
    cameras: Float[Array, "s v 16"],
    context: Float[Array, "s tokens width"],
) -> Float[Array, "s v h w c"]:
    """The network's velocity of whole sets."""
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    output = unet_ldm(
        networks.unet,
        params["unet"],
        flat(noised),
        t.reshape(-1),
        jnp.repeat(context, VIEWS, axis=0),
        camera=flat(cameras),
        num_views=VIEWS,
        dtype=networks.dtype,
    )
    return output.reshape(noised.shape)


def read_text(
    networks: Networks, params: Params, ids: Int[Array, "s tokens"]
) -> Float[Array, "s tokens width"]:
    """What the network reads of each text."""
    return text_tokens(networks.text, params["text"], ids)


def squared_errors(
    networks: Networks,
    params: Params,
    views: Views,
    t: Int[Array, "s v"],
    noise: Float[Array, "s v h w c"],
) -> Float[Array, "s v 2"]:
    """Mean squared error of the velocity of each view: of its colors, of its alpha."""
    noised = add_noise(networks.schedule, views.codes, noise, t)
    target = velocity(networks.schedule, views.codes, noise, t)
    context = read_text(networks, params, views.ids)
    output = predict(networks, params, noised, t, views.cameras, context)
    square = jnp.square(output - target)
    square = square.reshape(*square.shape[:-1], networks.block**2, -1)
    color = square[..., :3].mean(axis=(2, 3, 4, 5))
    if not networks.has_alpha:
        return jnp.stack([color, jnp.zeros_like(color)], axis=-1)
    return jnp.stack([color, square[..., 3].mean(axis=(2, 3, 4))], axis=-1)


def level_weight(
    schedule: Schedule, t: Int[Array, "*s"], *, most: float
) -> Float[Array, "*s"]:
    """Weight of a velocity's error: min(1, most / (snr + 1)) with snr = a / (1 - a).

    Errors of the velocity count alike at high noise, where species and outline are
    decided; at low noise the error of the clean picture counts ``most`` times.
    """
    return jnp.minimum(1.0, most * (1.0 - schedule.alphas_cumprod[t]))


def objective(
    config: Any,
    networks: Networks,
    params: Params,
    views: Views,
    sample: Sample,
    key: Key,
) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch, and its parts."""
    total = networks.schedule.alphas_cumprod.shape[0]
    t = jnp.minimum((total * sample.level).astype(jnp.int32), total - 1)
    # Noise by a set's place in the whole batch: the same on any number of devices.
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(sample.row)
    noise = jax.vmap(lambda k: jax.random.normal(k, views.codes.shape[1:]))(keys)
    errors = squared_errors(networks, params, views, t, noise)
    weight = level_weight(networks.schedule, t, most=config.loss_numbers.most)
    color, alpha = (weight[..., None] * errors).mean((0, 1))
    loss = config.loss.color * color + config.loss.alpha * alpha
    parts = {"loss": loss, "loss/color": color, "loss/alpha": alpha}
    return loss, parts | {"error/velocity": errors.sum(-1).mean()}
