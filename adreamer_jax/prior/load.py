"""A diffusion prior put together from its folder: functions, and weights apart.

MVDream, a 2D Stable Diffusion and a prior on plain pixels differ by their folder alone
and take the same way in: configs say the shapes, the shapes check the files, and what
comes out predicts noise for our cameras and pictures in [0, 1].
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from adreamer_jax.core.image import resize
from adreamer_jax.prior.files import (
    find_folder,
    is_commit,
    read_config,
    read_state,
    read_tokenizer,
    read_torch,
    split_ldm,
)
from adreamer_jax.prior.mvdream import camera_tokens
from adreamer_jax.prior.noise import Schedule, epsilon_of, make_schedule
from adreamer_jax.prior.text import (
    TextConfig,
    text_config,
    text_names,
    text_shapes,
    text_tokens,
)
from adreamer_jax.prior.tree import State, check_tree, tree_from_torch
from adreamer_jax.prior.unet_diffusers import read_unet_config, unet, unet_shapes
from adreamer_jax.prior.unet_ldm import read_ldm_config, unet_ldm, unet_ldm_shapes
from adreamer_jax.prior.vae import (
    VaeConfig,
    ldm_vae_config,
    vae_config,
    vae_decode,
    vae_encode,
    vae_names,
    vae_shapes,
)
from adreamer_jax.prior.write import random_prior
from adreamer_jax.types import Array, Float, Params


class Prior(NamedTuple):
    """A diffusion prior as pure functions; the weights are always an argument.

    Pictures are [v, h, w, 3] in [0, 1], latents the space in which noise is added (of
    an autoencoder, or the pixels themselves), cameras ours, one for each view. The
    views of a scene are neighbors in the batch and there are ``num_views`` of them.
    ``encode`` takes pictures premultiplied by a mask [v, h, w], or whole ones without:
    a prior that knows alpha codes the mask too, any other sees it filled with gray.
    """

    name: str
    tokenize: Callable  # (texts) -> ids [n, tokens], on the host
    embed_text: Callable  # (weights, ids [n, tokens]) -> context [n, tokens, width]
    encode: Callable  # (weights, pictures of any size, masks or None) -> latents
    decode: Callable  # (weights, latents) -> pictures of image_size, not clipped
    # (weights, latents, t [v], context [v, ...], cameras) -> noise
    denoise: Callable
    schedule: Schedule
    image_size: int
    latent_shape: tuple[int, int, int]
    num_views: int
    is_random: bool  # no training behind the weights: for tests and first runs
    decode_mask: Callable | None = None  # (weights, latents) -> masks, where it has any
    shows_views: bool = False  # views may each have their own noise, some next to none
    # (number of views a scene) -> denoise, where the network takes other numbers
    denoise_together: Callable | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether latents say what is object and what is background."""
        return self.decode_mask is not None


class _Part(NamedTuple):
    """One network of a prior: its shapes, and how its file becomes its tree."""

    shapes: Params
    read: Callable[[], State]


class _Network(NamedTuple):
    """A UNet as a function, and the widths by which other parts must fit it."""

    shapes: Params
    # (params, latents, t, context, cameras, views) -> what it was trained for
    output: Callable
    num_views: int
    channels: int
    context_width: int


EMBEDDED = Path(__file__).parent / "pocket"
CLEAR = 20  # the step of noise of views that a prior is shown
GRAY = 0.5  # the background of pictures with a mask: zero where noise is added


def load_prior(
    name: str = "",
    *,
    dtype: Any = jnp.float32,
    revision: str | None = None,
    pins: Path | None = None,
    tell: Callable[[str], None] = print,
) -> tuple[Prior, Params]:
    """The prior of a folder, a hub name or an original ``.pt`` file, and its weights.

    An empty name means the embedded prior; ``random``, and an empty name where none is
    embedded, a tiny one without any training. ``dtype`` is the precision in which the
    networks are kept and run, whatever that of the files. ``tell`` hears what is about
    to be held in memory. Of a hub name the ``revision`` is taken, a commit; without one
    the commit that the file ``pins`` names, or the newest, which is then written there
    (`find_folder`).
    """
    if name == "random" or (not name and not EMBEDDED.is_dir()):
        tell("the prior's weights are random: its pictures mean nothing")
        with tempfile.TemporaryDirectory() as folder:
            random_prior(Path(folder, "random"))
            return _load(Path(folder, "random"), dtype, tell)
    name = name or str(EMBEDDED)
    return _load(
        find_folder(name, revision=revision, pins=pins, tell=tell), dtype, tell
    )


def _load(path: Path, dtype: Any, tell: Callable) -> tuple[Prior, Params]:
    """Read one prior after saying how much memory it takes."""
    describe = _from_file if path.is_file() else _from_folder
    try:
        prior, parts = describe(path, dtype, tell)
    except (KeyError, TypeError) as error:  # a config.json of another kind of network
        raise ValueError(
            f"the configs of {path} must be those of a UNet, a CLIP text encoder and "
            f"an AutoencoderKL, got one without or with another {error}; take all "
            "folders from one model"
        ) from error
    tell(memory_line(prior.name, {k: part.shapes for k, part in parts.items()}, dtype))
    what = "the {} of " + str(path)
    return prior, {
        key: read_part(part.read, part.shapes, dtype=dtype, what=what.format(key))
        for key, part in parts.items()
    }


def read_part(
    read: Callable[[], State], shapes: Params, *, dtype: Any, what: str
) -> Params:
    """One network's tree on the device, after checking names and shapes."""
    tree = tree_from_torch(read())
    check_tree(tree, shapes, what=what)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def memory_line(name: str, parts: dict[str, Params], dtype: Any) -> str:
    """One line for a person: how many parameters, and how much memory they take."""
    sizes = {
        key: sum(math.prod(x.shape) for x in jax.tree.leaves(tree))
        for key, tree in parts.items()
    }
    listed = ", ".join(f"{key} {_count(size)}" for key, size in sizes.items())
    size = sum(sizes.values()) * jnp.dtype(dtype).itemsize
    return (
        f"prior {name}: {listed} parameters; {jnp.dtype(dtype).name} takes "
        f"{size / 1e9:.3g} GB"
    )


def _count(number: int) -> str:
    return f"{number / 1e6:.3g} M"


def _from_folder(
    folder: Path, dtype: Any, tell: Callable
) -> tuple[Prior, dict[str, _Part]]:
    """A prior in the layout of diffusers."""
    index = read_config(folder, "model_index.json")
    unet_settings = read_config(folder / "unet")
    text = text_config(read_config(folder / "text_encoder"))
    depth = text.num_hidden_layers
    network = _unet(unet_settings, dtype)
    _check_width(text, network)
    parts = {
        "unet": _Part(network.shapes, lambda: read_state(folder / "unet")),
        "text": _Part(
            text_shapes(text),
            lambda: text_names(read_state(folder / "text_encoder"), depth=depth),
        ),
    }
    settings = read_config(folder / "scheduler", "scheduler_config.json")
    shared = dict(
        name=folder.name if not is_commit(folder.name) else folder.parents[1].name,
        tokenize=_tokenizer(folder / "tokenizer", text, tell),
        embed_text=partial(_embed_text, text),
        trained=read_schedule(settings),
        is_random=bool(index.get("is_random", False)),
        shows_views=bool(index.get("shows_views", False)),
    )
    if (folder / "vae").is_dir():
        vae = vae_config(read_config(folder / "vae"))
        _check_channels(vae, network)
        levels = len(vae.block_out_channels)
        parts["vae"] = _Part(
            vae_shapes(vae),
            lambda: vae_names(read_state(folder / "vae"), levels=levels),
        )
        side = unet_settings.get("image_size") or unet_settings.get("sample_size", 32)
        size = index.get("image_size", side * 2 ** (levels - 1))
        space = _latent_space(vae, size, dtype)
    elif "vae" in index:
        raise ValueError(
            f"{folder} must hold vae/, which its model_index.json names, got no such "
            "folder; copy all folders of the model"
        )
    else:
        space = _pixel_space(
            index.get("image_size"), index.get("pixel_block", 1), network.channels
        )
    return _assemble(network, **shared, **space), parts


def _from_file(
    path: Path, dtype: Any, tell: Callable
) -> tuple[Prior, dict[str, _Part]]:
    """A prior in one original torch file, with ``tokenizer/`` beside it.

    The sizes are the published ones unless a ``config.json`` beside it says others.
    """
    beside = path.parent / "config.json"
    settings = read_config(path.parent) if beside.is_file() else {}
    vae = ldm_vae_config(settings)
    text = text_config(settings.get("text_config", {}))
    unet_settings = settings.get("unet_config", {"image_size": 32})
    network = _unet(unet_settings, dtype)
    _check_width(text, network)
    _check_channels(vae, network)
    state = cache(lambda: split_ldm(read_torch(path)))
    levels = len(vae.block_out_channels)
    parts = {
        "unet": _Part(network.shapes, lambda: state()["unet"]),
        "text": _Part(
            text_shapes(text),
            lambda: text_names(state()["text"], depth=text.num_hidden_layers),
        ),
        "vae": _Part(vae_shapes(vae), lambda: vae_names(state()["vae"], levels=levels)),
    }
    size = unet_settings["image_size"] * 2 ** (levels - 1)
    prior = _assemble(
        network,
        name=path.stem,
        tokenize=_tokenizer(path.parent / "tokenizer", text, tell),
        embed_text=partial(_embed_text, text),
        trained=make_schedule(),
        is_random=False,
        **_latent_space(vae, size, dtype),
    )
    return prior, parts


def _assemble(network: _Network, *, trained: Schedule, **rest: Any) -> Prior:
    """A prior whose network answers with noise, whatever it was trained to predict."""

    def together(views: int) -> Callable:
        def noise_of(weights, latents, t, context, cameras):
            raw = network.output(weights["unet"], latents, t, context, cameras, views)
            return epsilon_of(trained, raw, latents, t)

        return noise_of

    return Prior(
        denoise=together(network.num_views),
        denoise_together=together,
        schedule=trained.replace(prediction="epsilon"),
        num_views=network.num_views,
        **rest,
    )


def with_views(prior: Prior, views: int) -> Prior:
    """The prior of scenes of another number of views.

    Attention takes any number: between views that stand as in training, one sees
    others. How well they agree is to be measured (`generation_fit.hull_agreement`).
    """
    if views == prior.num_views:
        return prior
    if prior.denoise_together is None:
        raise ValueError(
            f"the prior {prior.name} must be asked for {prior.num_views} views, got "
            f"{views}; write --config.generate.fit.rings=1"
        )
    return prior._replace(denoise=prior.denoise_together(views), num_views=views)


def views_apart(prior: Prior) -> Prior:
    """The prior without attention between views: each is judged by itself.

    What a single-view prior of the same training would say; it still hears where the
    cameras stand. None can be completed from the others then, so none are shown.
    """
    if prior.denoise_together is None:
        raise ValueError(
            f"the prior {prior.name} cannot be asked for one view by itself; write "
            "--config.prior.view_attention=True"
        )
    alone = prior.denoise_together(1)
    return prior._replace(
        denoise=alone, denoise_together=lambda views: alone, shows_views=False
    )


def _unet(settings: dict, dtype: Any) -> _Network:
    """The UNet that a config describes."""
    if "down_block_types" in settings:  # keys of diffusers: one view, no cameras
        config = read_unet_config(settings)

        def look(params, latents, t, context, cameras, views):
            return unet(config, params, latents, t, context, dtype=dtype)

        widths = config.in_channels, config.cross_attention_dim
        return _Network(unet_shapes(config), look, 1, *widths)
    ldm = read_ldm_config(settings)

    def look_together(params, latents, t, context, cameras, views):
        tokens = camera_tokens(cameras)
        return unet_ldm(
            ldm, params, latents, t, context,
            camera=tokens, num_views=views, dtype=dtype,
        )  # fmt: skip

    widths = ldm.in_channels, ldm.context_dim
    return _Network(unet_ldm_shapes(ldm), look_together, 4, *widths)


def _check_width(text: TextConfig, network: _Network) -> None:
    """Refuse a text encoder whose tokens the UNet cannot read."""
    if text.hidden_size != network.context_width:
        raise ValueError(
            f"the text encoder must give the UNet tokens of {network.context_width} "
            f"numbers, got {text.hidden_size}; take text_encoder/ and unet/ from one "
            "model"
        )


def _check_channels(vae: VaeConfig, network: _Network) -> None:
    """Refuse an autoencoder whose latents the UNet cannot read."""
    if vae.latent_channels != network.channels:
        raise ValueError(
            f"the autoencoder must have the UNet's {network.channels} channels, got "
            f"{vae.latent_channels}; take vae/ and unet/ from one model that draws "
            "from text alone"
        )


def _tokenizer(folder: Path, text: TextConfig, tell: Callable) -> Callable:
    length, vocabulary = text.max_position_embeddings, text.vocab_size
    return read_tokenizer(folder, length=length, vocabulary=vocabulary, tell=tell)


def _embed_text(config: TextConfig, weights: Params, ids: Array) -> Array:
    return text_tokens(config, weights["text"], ids)


def _latent_space(vae: VaeConfig, size: int, dtype: Any) -> dict[str, Any]:
    """Noise is added to what an autoencoder makes of the picture."""

    def encode(weights, image, mask=None):
        image = _resized(over_gray(image, mask), size)
        return vae_encode(vae, weights["vae"], image, dtype=dtype)

    def decode(weights, latents):
        return vae_decode(vae, weights["vae"], latents, dtype=dtype)

    side = size // 2 ** (len(vae.block_out_channels) - 1)
    shape = (side, side, vae.latent_channels)
    return dict(encode=encode, decode=decode, image_size=size, latent_shape=shape)


def _pixel_space(size: int | None, block: int, channels: int) -> dict[str, Any]:
    """Noise is added to the pixels, ``block`` x ``block`` of them to a place."""
    colors, rest = divmod(channels, block**2)
    if not size or size % block or rest or colors not in (3, 4):
        raise ValueError(
            "a prior without vae/ must say in model_index.json an image_size that "
            "pixel_block divides, with 3 or 4 pixel_block^2 channels, got image_size "
            f"{size}, pixel_block {block} and {channels} channels; correct the file"
        )
    has_alpha = colors == 4

    def encode(weights, image, mask=None):
        code = alpha_code(image, mask) if has_alpha else color_code(image, mask)
        if min(code.shape[1:3]) > size:  # outlines as soft as those it was trained on
            return pixels_to_blocks(resize(code, (size, size)), block)
        return pixels_to_blocks(_resized(code, size), block)

    def decode(weights, latents):
        return 0.5 * blocks_to_pixels(latents, block)[..., :3] + 0.5

    def decode_mask(weights, latents):
        return 0.5 * blocks_to_pixels(latents, block)[..., 3] + 0.5

    shape = (size // block, size // block, channels)
    space = dict(encode=encode, decode=decode, image_size=size, latent_shape=shape)
    return space | (dict(decode_mask=decode_mask) if has_alpha else {})


def over_gray(
    image: Float[Array, "v h w 3"], mask: Float[Array, "v h w"] | None
) -> Float[Array, "v h w 3"]:
    """A premultiplied picture before gray; without a mask, the picture as it is."""
    return image if mask is None else image + (1.0 - mask[..., None]) * GRAY


def color_code(
    image: Float[Array, "v h w 3"], mask: Float[Array, "v h w"] | None
) -> Float[Array, "v h w 3"]:
    """Colors in [-1, 1], zero in the background."""
    return 2.0 * over_gray(image, mask) - 1.0


def alpha_code(
    image: Float[Array, "v h w 3"], mask: Float[Array, "v h w"] | None
) -> Float[Array, "v h w 4"]:
    """The color code and the mask, in [-1, 1]: 2 premultiplied - mask, 2 mask - 1.

    An invertible linear map of premultiplied RGBA. A picture without a mask is whole.
    """
    mask = jnp.ones(image.shape[:-1], image.dtype) if mask is None else mask
    alpha = 2.0 * mask[..., None] - 1.0
    return jnp.concatenate([color_code(image, mask), alpha], axis=-1)


def _resized(image: Float[Array, "v h w c"], size: int) -> Float[Array, "v s s c"]:
    """The picture at the prior's size, bilinear and without aliasing."""
    if image.shape[1:3] == (size, size):
        return image
    shape = (image.shape[0], size, size, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear")


def pixels_to_blocks(
    image: Float[Array, "v h w c"], block: int
) -> Float[Array, "v bh bw d"]:
    """Squares of pixels as channels: row, column, then color, slowest first."""
    views, height, width, channels = image.shape
    tiles = image.reshape(
        views, height // block, block, width // block, block, channels
    )
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(*tiles.shape[:3], block * block * channels)


def blocks_to_pixels(
    blocks: Float[Array, "v bh bw d"], block: int
) -> Float[Array, "v h w c"]:
    """The inverse of `pixels_to_blocks`."""
    views, rows, columns, depth = blocks.shape
    tiles = blocks.reshape(views, rows, columns, block, block, depth // block**2)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(views, rows * block, columns * block, -1)


def read_schedule(settings: dict[str, Any]) -> Schedule:
    """The schedule that a scheduler_config.json describes."""
    if settings.get("trained_betas") is not None:
        raise ValueError(
            "trained_betas must be absent, got a list; only schedules by formula are "
            "read"
        )
    for name in ("rescale_betas_zero_snr", "thresholding"):
        if settings.get(name):
            raise ValueError(
                f"{name} must be false in scheduler_config.json, got {settings[name]}: "
                "that schedule is not known here; take a model without it"
            )
    return make_schedule(
        kind=settings.get("beta_schedule", "linear"),
        start=settings.get("beta_start", 0.0001),
        end=settings.get("beta_end", 0.02),
        steps=settings.get("num_train_timesteps", 1000),
        prediction=settings.get("prediction_type", "epsilon"),
        steps_offset=settings.get("steps_offset", 0),
        alpha_one=settings.get("set_alpha_to_one", True),
    )
