"""Canonical Score Distillation: the prior judges the posed model (section 7).

One gradient has three parts. A picture of a few views of one frame is rendered through
the warp, without gradient; the prior says what it would rather see, which is a gradient
on the picture and goes through its encoder only; the picture is rendered again, chunk
by chunk with the same samples, and the gradient is pulled through rendering, field and
warp into the one canonical model. Letters: v views, r rays.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import (
    camera_rays,
    clip_to_box,
    facing,
    sample_orbit,
    seen_from,
    with_size,
)
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.image import resize
from adreamer_jax.core.optimizer import group_tree, path_name
from adreamer_jax.core.schedule import ramp
from adreamer_jax.core.shares import mean_tree, my_share, num_shares
from adreamer_jax.objective.distill import (
    clean_target,
    distill_loss,
    form_weight,
    noised,
    sample_time,
    time_window,
)
from adreamer_jax.objective.regularize import opacity_entropy_loss
from adreamer_jax.prior.guide import guided, predict_pair, rescaled
from adreamer_jax.prior.load import CLEAR, GRAY, Prior, load_prior
from adreamer_jax.prior.noise import clean_of
from adreamer_jax.render.chunked import (
    deferred_gradient,
    in_order,
    interleaved,
    map_chunks,
)
from adreamer_jax.render.volume import render
from adreamer_jax.scene.bones import posed_from_rest
from adreamer_jax.scene.pose import clip_cameras
from adreamer_jax.systems.animatable.model import (
    Model,
    moment,
    occupied,
    occupied_posed,
    sample_posed,
    sample_rest,
    stop,
)
from adreamer_jax.types import (
    Array,
    Bool,
    Camera,
    Float,
    Int,
    Key,
    Metrics,
    Params,
    Rays,
)

FORMS = ("x0", "sds", "caption")
SPACES = ("posed", "canonical")
MOVES = ("canonical", "canonical+warp")
BACKGROUNDS = ("gray", "white", "random")
PIXEL_BYTES = 40.0  # of color and mask, their gradients, and what is in other order
_KEPT = ("feature", "visibility", "log_temperature", "center", "axes", "radii")


class Views(NamedTuple):
    """One group: where from, and of which instant."""

    camera: Camera  # in field space, v cameras
    seen: Camera  # the same ones as the prior knows them
    time: Float[Array, "1"]
    box: Float[Array, "2 3"]  # of the object at that instant


def read_prior(
    config: Any,
    prompt: str,
    given: tuple[Prior, Params] | None = None,
    *,
    pins: Path | None = None,
    **suffixes: str,
) -> tuple[Prior, dict[str, Any]]:
    """The recipe's prior and its constant arrays, for the recipe's words or the clip's.

    ``given`` is a prior with its weights that takes the place of the recipe's. The file
    ``pins`` keeps which version of a downloaded one was taken. For each of ``suffixes``
    there are contexts under its name, of the words with the suffix after them.
    """
    check_csd(config)
    prior, weights = given or load_prior(
        config.prior.name,
        dtype=jnp.dtype(config.prior.dtype),
        revision=config.prior.revision or None,
        pins=pins,
        tell=partial(print, file=sys.stderr),
    )
    if config.csd.shown_deg > 0 and not (prior.shows_views and prior.has_alpha):
        raise ValueError(
            f"csd.shown_deg must be 0 with the prior {prior.name}, got "
            f"{config.csd.shown_deg}; only one that was trained to be shown some "
            "of its views can complete the others: write --config.csd.shown_deg=0"
        )
    words = (config.prompt or prompt) + config.prompt_suffix
    more = {name: words + suffix for name, suffix in suffixes.items()}
    return prior, prior_arrays(
        prior, weights, negative=config.negative_prompt, prompt=words, **more
    )


def check_csd(config: Any) -> None:
    """Raise a sentence about the first setting that cannot work."""
    numbers = config.csd
    choices = {
        "form": FORMS, "space": SPACES, "moves": MOVES, "background": BACKGROUNDS
    }  # fmt: skip
    for name, allowed in choices.items():
        if numbers[name] not in allowed:
            raise ValueError(
                f"csd.{name} must be one of {', '.join(allowed)}, got "
                f"{numbers[name]}; write --config.csd.{name}={allowed[0]}"
            )
    if numbers.shown_deg > 0 and numbers.form == "caption":
        raise ValueError(
            f"csd.shown_deg must be 0 with csd.form=caption, got {numbers.shown_deg}; "
            "write --config.csd.form=x0"
        )
    for name in ("groups", "every", "resolution", "thinning", "samples", "chain"):
        if numbers[name] < 1:
            raise ValueError(
                f"csd.{name} must be at least 1, got {numbers[name]}; "
                f"write --config.csd.{name}=1"
            )


def prior_arrays(
    prior: Prior, weights: Params, *, negative: str, prompt: str, **prompts: str
) -> dict[str, Any]:
    """What a step reads of a prior: its weights and both texts, [2, tokens, width].

    Those of further ``prompts`` stand under their names. The text network has then done
    its work and is left out.
    """
    ids = prior.tokenize([negative, prompt, *prompts.values()])
    texts = jax.jit(prior.embed_text)(weights, ids)
    pairs = {name: texts[np.array([0, 2 + i])] for i, name in enumerate(prompts)}
    if isinstance(weights, dict):
        weights = {name: part for name, part in weights.items() if name != "text"}
    return {"prior": weights, "contexts": texts[:2], **pairs}


def csd_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
    *,
    axis: str | None = None,
) -> tuple[Model, Metrics]:
    """Gradient of the distillation loss in the model, and what to log of it.

    The mean over ``config.csd.groups`` groups of views; parameters that the prior may
    not move have a gradient of exactly zero. With ``axis`` this device's groups only,
    so that the mean over devices is the whole's; a group is never split.
    """
    groups, shares = config.csd.groups, num_shares(axis)
    number = -(-groups // shares)

    def one(index):
        grads, metrics = group_gradient(
            config, prior, model, upkeep, frozen, step, jax.random.fold_in(key, index)
        )
        part = jnp.where(index < groups, shares / groups, 0.0)
        return jax.tree.map(lambda x: part * x, (grads, metrics))

    first = my_share(axis) * number
    if number == 1:
        return one(jnp.asarray(first))

    def add(total, index):
        return jax.tree.map(jnp.add, total, one(index)), None

    zero = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, jnp.asarray(0))
    )
    return jax.lax.scan(add, zero, first + jnp.arange(number))[0]


def group_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
) -> tuple[Model, Metrics]:
    """`csd_gradient` of one group of views."""
    view_key, ray_key, prior_key = jax.random.split(key, 3)
    still = stop(model)
    views = sample_views(config, prior, upkeep, view_key, still)
    color, mask, lost = draw_views(config, still, upkeep, step, views, ray_key)
    shown = seen_views(config, still, views, count=upkeep["box"].shape[0])
    pull, metrics = judge(
        config, prior, frozen, views, (color, mask), step, prior_key, shown
    )
    moving, whole = split_moving(model, config.csd.moves)

    def draw(moving: list[Array], index: Int[Array, "r"]):
        model = whole(moving)
        return draw_rays(config, model, upkeep, step, views, ray_key, index)[:2]

    grads = pulled(config, draw, moving, pull, ray_key)
    zero = jax.tree.map(jnp.zeros_like, model)
    metrics |= {"csd/opacity": jnp.mean(mask), "csd/overflow": lost}
    if shown is not None:
        metrics["csd/shown"] = jnp.mean(shown)
    return split_moving(zero, config.csd.moves)[1](grads), metrics


def pulled(
    config: Any,
    draw: Callable,
    moving: list[Array],
    pull: tuple[Array, ...],
    key: Key,
) -> list[Array]:
    """The pictures' gradient ``pull`` [v, h, w, ...] in what moves, chunk by chunk.

    ``draw(moving, rays)`` renders the pixels with the given numbers again. Of
    ``csd.thinning`` pixels in a row one is drawn by chance and counts for all: the mean
    stays, the work does not.
    """
    thin = config.csd.thinning
    total = pull[0].size // math.prod(pull[0].shape[3:])
    count = total // thin
    index = thin * jnp.arange(count)
    if thin > 1:  # no pixel has the number ``total``: its own draws are others
        index += jax.random.randint(jax.random.fold_in(key, total), (count,), 0, thin)
    chunk = chunk_rays(config, count)
    flat = (thin * x.reshape(total, *x.shape[3:])[index] for x in pull)
    return deferred_gradient(
        draw,
        moving,
        interleaved(index, chunk=chunk),
        tuple(interleaved(x, chunk=chunk, mode="constant") for x in flat),
        chunk=chunk,
    )


def sample_views(
    config: Any, prior: Prior, upkeep: dict, key: Key, model: Model | None = None
) -> Views:
    """Cameras around the posed object at a random frame of the clip.

    Where views are to be shown to the prior, the first one stands where the ``model``
    has the camera of that frame, or nearly.

    They aim at the object's ball in that frame (`upkeep.aims`), and the frame's box
    bounds their rays: a near and far of the clip's own cameras would cut the object.
    """
    frame_key, camera_key = jax.random.split(key)
    count = upkeep["box"].shape[0]
    frame = jax.random.randint(frame_key, (), 0, count)
    time = frame_time(frame.astype(jnp.float32), count)[None]
    box, aim = upkeep["box"][frame], upkeep["aim"][frame]
    if config.csd.space == "canonical":
        box, aim = occupied_box(upkeep["occupancy"]), upkeep["aim_rest"]
    numbers = config.data.views
    side = config.csd.resolution
    front = upkeep.get("front", jnp.radians(numbers.azimuth_offset_deg))
    turn = facing(jnp.asarray(numbers.up, jnp.float32), front)
    toward = None
    if config.csd.shown_deg > 0 and model is not None:
        own = clip_cameras(model.pose, frame[None], size=(side, side))
        toward = turn @ away_from(aim[:3], own)[0]
    seen = sample_orbit(
        camera_key,
        views=prior.num_views,
        size=(side, side),
        elevation_deg=numbers.elevation_deg,
        fov_deg=numbers.fov_deg,
        fill=numbers.fill,
        toward=toward,
        spread_deg=0.5 * config.csd.shown_deg,
    )
    camera = seen_from(seen, turn, aim[:3], aim[3])
    seen = with_size(seen, (prior.image_size, prior.image_size))
    return Views(camera, seen, time, box)


def occupied_box(grid: Array) -> Float[Array, "2 3"]:
    """Box of the true cells of the cube; the whole cube where there are none."""
    sides = []
    for axis in range(3):
        along = jnp.any(grid, axis=tuple(a for a in range(3) if a != axis))
        first = jnp.argmax(along)
        last = grid.shape[axis] - jnp.argmax(along[::-1])
        sides.append(jnp.stack([first, last]) * (2.0 / grid.shape[axis]) - 1.0)
    return jnp.stack(sides, axis=-1)


def draw_views(
    config: Any,
    model: Model,
    upkeep: dict,
    step: Int[Array, ""],
    views: Views,
    key: Key,
) -> tuple[Float[Array, "v h w 3"], Float[Array, "v h w"], Float[Array, ""]]:
    """Premultiplied colors and masks of all views; how many samples found no slot."""
    shape = (views.camera.focal.shape[0], *views.camera.size)
    total = math.prod(shape)
    chunk = chunk_rays(config, total)
    color, mask, lost = map_chunks(
        partial(draw_rays, config, model, upkeep, step, views, key),
        interleaved(jnp.arange(total), chunk=chunk),
        chunk=chunk,
    )
    color, mask = (in_order(x, chunk=chunk, total=total) for x in (color, mask))
    return color.reshape(*shape, 3), mask.reshape(shape), jnp.sum(lost)


def draw_rays(
    config: Any,
    model: Model,
    upkeep: dict,
    step: Int[Array, ""],
    views: Views,
    key: Key,
    index: Int[Array, "r"],
) -> tuple[Float[Array, "r 3"], Float[Array, "r"], Float[Array, "1"]]:
    """Premultiplied color and opacity of the pixels with the given numbers.

    The third is how many samples found no slot. A ray goes through its pixel somewhere:
    through the middle alone, an outline would be harder than the prior's, and nothing
    would be asked of the surface between the rays. Where, and its samples, depend on
    its own number alone, so that both renders, in whatever chunks, see the same ones.
    """
    numbers, now = config.csd, moment(config, model, step)
    draws = jax.vmap(
        lambda i: jax.random.uniform(jax.random.fold_in(key, i), (numbers.samples + 2,))
    )(index)
    jitter, place = draws[:, :-2], draws[:, -2:]
    if numbers.space == "canonical":
        near = lambda p: occupied(upkeep, p)
        sample = lambda p: sample_rest(model, now, p)
    else:
        motion = posed_from_rest(model.bones, views.time)
        still, still_motion = stop((model, motion))
        near = lambda p: occupied_posed(config, still, upkeep, still_motion, p)
        sample = lambda p: sample_posed(
            config, model, now, motion, views.time, p,
            with_feature=False, with_visibility=False,
        )  # fmt: skip
    out = render(
        near,
        sample,
        rays_of(views, index, place),
        count=numbers.samples,
        capacity=int(numbers.share * index.shape[0] * numbers.samples),
        jitter=jitter[None],
    )
    lost = out.slots.overflow.astype(jnp.float32)[None]
    return out.channels[0, :, :3], out.mask[0], lost


def rays_of(views: Views, index: Int[Array, "r"], place: Float[Array, "r 2"]) -> Rays:
    """Rays [1, r] through the pixels with the given numbers: view, row, column.

    ``place`` says where in the pixel, from 0 to 1 to the right and down.
    """
    height, width = views.camera.size
    view, pixel = index // (height * width), index % (height * width)
    at = jnp.stack([pixel % width, pixel // width], axis=-1) + place
    camera = jax.tree.map(lambda x: x[view], views.camera)
    rays = camera_rays(camera, at[:, None])
    rays = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rays)
    return clip_to_box(rays, views.box)


def seen_views(
    config: Any, model: Model, views: Views, *, count: int
) -> Bool[Array, "v"] | None:
    """Which views look from where the clip's ``count`` cameras looked, or nearly.

    None where the recipe shows the prior none of them.
    """
    if config.csd.shown_deg <= 0:
        return None
    away = partial(away_from, jnp.mean(views.box, axis=0))
    clip = clip_cameras(model.pose, jnp.arange(count), size=views.camera.size)
    nearest = jnp.max(away(views.camera) @ away(clip).T, axis=1)
    return nearest > math.cos(math.radians(config.csd.shown_deg))


def away_from(middle: Float[Array, "3"], camera: Camera) -> Float[Array, "c 3"]:
    """Directions of length one from a point to cameras."""
    turn, shift = jnp.split(camera.camera_from_object[:, :3], [3], axis=-1)
    eye = -jnp.squeeze(jnp.swapaxes(turn, 1, 2) @ shift, -1) - middle
    return eye / jnp.linalg.norm(eye, axis=-1, keepdims=True)


def judge(
    config: Any,
    prior: Prior,
    frozen: dict,
    views: Views,
    pictures: tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]],
    step: Int[Array, ""],
    key: Key,
    shown: Bool[Array, "v"] | None = None,
) -> tuple[tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]], Metrics]:
    """The gradient of the prior's judgment in pictures and masks, and its value.

    It goes through the prior's encoder; its network is only asked. Views that are
    ``shown`` to it under hardly any noise are not judged: it completes the others from
    them, and where there are none it says nothing.
    """
    time_key, noise_key, ground_key = jax.random.split(key, 3)
    shares = prior.schedule.alphas_cumprod
    window = time_window(
        step / config.run.steps, low=config.csd.time_low, high=config.csd.time_high
    )
    t = sample_time(time_key, window, steps=shares.shape[0])
    estimate = clean_estimate(config, prior, frozen, views.seen)
    ground = background(config, ground_key)

    def loss(color, mask):
        if prior.has_alpha or ground is None:
            latents = prior.encode(frozen["prior"], color, mask)
        else:
            filled = color + (1.0 - mask[..., None]) * ground
            latents = prior.encode(frozen["prior"], filled)
        latents = latents.astype(jnp.float32)
        noise = jax.random.normal(noise_key, latents.shape)
        if config.csd.form == "caption":
            z = noised(latents, noise, shares[t])
            added = caption_part(config, prior, frozen, views.seen, z, t)
            target = jax.lax.stop_gradient(latents + added)
        else:
            target = clean_target(
                complete(estimate, latents, noise, shown, shares),
                latents,
                noise,
                t,
                shares,
                chain=config.csd.chain,
            )
        weight = form_weight(config.csd.form, shares[t])
        if shown is None:
            value = distill_loss(latents, target, weight=weight)
        else:
            wanted = read_pictures(prior, frozen["prior"], target)
            value = jnp.any(shown) * completion_loss(
                prior, (color, mask), wanted, color=config.csd.color
            )
        return value + config.csd.entropy * opacity_entropy_loss(mask), value

    pull, value = jax.grad(loss, argnums=(0, 1), has_aux=True)(*pictures)
    return pull, {"loss/csd": value, "csd/time": t / shares.shape[0]}


def complete(
    estimate: Callable,
    latents: Float[Array, "v h w c"],
    noise: Float[Array, "v h w c"],
    shown: Bool[Array, "v"] | None,
    shares: Float[Array, " steps"],
) -> Callable:
    """An estimate that is shown some views nearly clean and leaves them as they are."""
    if shown is None:
        return estimate
    rows = shown[:, None, None, None]
    clean = jax.lax.stop_gradient(latents)
    given = noised(clean, noise, shares[CLEAR])

    def others(z: Float[Array, "v h w c"], t: Int[Array, ""]) -> Array:
        seen = estimate(jnp.where(rows, given, z), jnp.where(shown, CLEAR, t))
        return jnp.where(rows, clean, seen)

    return others


def read_pictures(
    prior: Prior, weights: Params, latents: Float[Array, "v h w c"]
) -> tuple[Float[Array, "v x y 3"], Float[Array, "v x y"]]:
    """Colors before gray and masks that latents stand for, in [0, 1]."""
    assert prior.decode_mask is not None  # `read_prior` has looked
    pair = prior.decode(weights, latents), prior.decode_mask(weights, latents)
    color, mask = (jnp.clip(x, 0.0, 1.0) for x in pair)
    return color, mask


def completion_loss(
    prior: Prior,
    pictures: tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]],
    wanted: tuple[Float[Array, "v x y 3"], Float[Array, "v x y"]],
    *,
    color: float,
) -> Float[Array, ""]:
    """Half the mean squared distance of masks, and ``color`` times that of colors.

    They are apart because the prior guesses colors: where it guesses others than the
    clip's at the edge of what was seen, a surface would rather vanish than have them.
    """
    ours = (pictures[0] + (1.0 - pictures[1][..., None]) * GRAY, pictures[1][..., None])
    size = (prior.image_size, prior.image_size)
    ours = (resize(x, size) for x in ours)
    theirs = (wanted[0], wanted[1][..., None])
    of_color, of_mask = (distill_loss(a, b) for a, b in zip(ours, theirs, strict=True))
    return of_mask + color * of_color


def background(config: Any, key: Key) -> Float[Array, "3"] | None:
    """A color behind the object for priors without alpha; None is their own gray.

    At random, half of the time white: against one color alone, fog of that color would
    cost nothing.
    """
    if config.csd.background == "gray":
        return None
    if config.csd.background == "white":
        return jnp.ones(3)
    coin, paint = jax.random.split(key)
    return jnp.where(
        jax.random.bernoulli(coin), jax.random.uniform(paint, (3,)), jnp.ones(3)
    )


def clean_pair(prior: Prior, frozen: dict, seen: Camera) -> Callable:
    """A function (noised, t) -> clean latents, without and with the prompt."""
    denoise = partial(prior.denoise, frozen["prior"])

    def pair(z, t):
        each = jnp.broadcast_to(t, z.shape[:1])
        both = predict_pair(denoise, z, t, frozen["contexts"], seen)
        without, with_prompt = (clean_of(prior.schedule, x, z, each) for x in both)
        return without, with_prompt

    return pair


def clean_estimate(config: Any, prior: Prior, frozen: dict, seen: Camera) -> Callable:
    """A function (noised, t) -> clean latents, guided by the prompt and rescaled."""
    pair = clean_pair(prior, frozen, seen)

    def estimate(z, t):
        without, with_prompt = pair(z, t)
        pushed = guided(without, with_prompt, scale=config.csd.guidance)
        return rescaled(pushed, with_prompt, amount=config.csd.rescale)

    return estimate


def caption_part(
    config: Any,
    prior: Prior,
    frozen: dict,
    seen: Camera,
    z: Float[Array, "v h w c"],
    t: Int[Array, ""],
) -> Float[Array, "v h w c"]:
    """What the prompt adds to the clean estimate of noised latents, times the guidance.

    An estimate that is unsure of an outline is soft, with or without the prompt, and a
    solid that follows it shrinks (benchmarks/csd_push.py); the difference is nearly
    free of that (classifier score distillation, Yu et al. 2023).
    """
    without, with_prompt = clean_pair(prior, frozen, seen)(z, t)
    return config.csd.guidance * (with_prompt - without)


def split_moving(model: Model, moves: str) -> tuple[list[Array], Callable]:
    """The leaves that distillation may move, and a function that puts them back.

    Never the root pose and the cameras, nor what only the clip can teach: features and
    visibility. "canonical" leaves out the bones too, which is distillation without
    gradient through the warp.
    """
    flat, tree = jax.tree_util.tree_flatten_with_path(model)
    chosen = [_may_move(path_name(path), moves) for path, _ in flat]

    def put_back(leaves: list[Array]) -> Model:
        new = iter(leaves)
        pairs = zip(flat, chosen, strict=True)
        return tree.unflatten([next(new) if c else x for (_, x), c in pairs])

    return [x for (_, x), c in zip(flat, chosen, strict=True) if c], put_back


def _may_move(path: str, moves: str) -> bool:
    part, name = path.split("/")[:2]
    if part == "field":
        return name not in _KEPT
    return part == "bones" and moves == "canonical+warp"


def chunk_rays(config: Any, total: int) -> int:
    """Rays of one chunk, from the memory that the recipe allows.

    The whole pictures come off it first, up to three quarters of it.
    """
    memory = config.csd.memory_mb * 2**20
    left = max(memory - total * PIXEL_BYTES, 0.25 * memory)
    most = max(1, int(left / ray_bytes(config)))
    return -(-total // -(-total // most))


def ray_bytes(config: Any) -> float:
    """About what one ray takes while it is rendered and differentiated."""
    return config.csd.samples * (400.0 + 3000.0 * config.csd.share)


def with_csd(
    config: Any,
    prior: Prior,
    group_of: Callable[[str], str],
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
    grads: Model,
    metrics: Metrics,
    *,
    axis: str | None = None,
) -> tuple[Model, Metrics]:
    """Gradients and metrics of the whole, with the prior's part where it is due.

    ``grads`` and ``metrics`` are this device's own: both parts are averaged over the
    devices together, by one reduction, before they are weighted and added up.
    """

    def ask():
        return csd_gradient(config, prior, model, upkeep, frozen, step, key, axis=axis)

    weight = csd_weight(config, step)
    if config.csd.every == 1 and not config.ramp.csd:
        extra, seen = ask()
    else:
        shapes = jax.eval_shape(ask)
        nothing = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        due = ((step + 1) % config.csd.every == 0) & (weight > 0)
        extra, seen = jax.lax.cond(due, ask, nothing)
    grads, extra, metrics = mean_tree((grads, extra, metrics | seen), axis)
    grads, norms = joined(config, group_of, weight, grads, extra)
    return grads, metrics | norms


def csd_weight(config: Any, step: Int[Array, ""]) -> Float[Array, ""]:
    """Weight of distillation at a step of the run."""
    return config.loss.csd * ramp(config.ramp.csd, step / config.run.steps)


def joined(
    config: Any,
    group_of: Callable[[str], str],
    weight: Float[Array, ""],
    grads: Model,
    extra: Model,
) -> tuple[Model, Metrics]:
    """The sum of both gradients, the second one weighted, and their norms.

    With ``config.csd.ratio`` the second one's part in every group of parameters is
    first given that part of the norm of the first one's, so that the scale of the
    prior's loss does not matter.
    """
    if config.csd.ratio > 0:
        ours, theirs = (group_norms(group_of, x) for x in (extra, grads))
        scale = {
            name: config.csd.ratio * theirs[name] / jnp.maximum(ours[name], 1e-12)
            for name in ours
        }
        names = group_tree(extra, group_of)
        extra = jax.tree.map(lambda x, name: scale[name] * x, extra, names)
    extra = jax.tree.map(lambda x: weight * x, extra)
    norms = [
        jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))
        for tree in (grads, extra)
    ]
    return jax.tree.map(jnp.add, grads, extra), {
        "grad/rest": norms[0],
        "grad/csd": norms[1],
        "grad/csd_ratio": norms[1] / jnp.maximum(norms[0], 1e-12),
    }


def group_norms(group_of: Callable[[str], str], tree: Model) -> dict[str, Array]:
    """Norm of every group of parameters."""
    squares: dict[str, Array] = {}
    names = jax.tree.leaves(group_tree(tree, group_of))
    for name, leaf in zip(names, jax.tree.leaves(tree), strict=True):
        squares[name] = squares.get(name, jnp.zeros(())) + jnp.sum(leaf**2)
    return {name: jnp.sqrt(value) for name, value in squares.items()}
