"""The views that distillation looks from, and their pictures (section 7).

Cameras stand around the posed object at a random frame, as the prior knows them; their
pixels are drawn by number, so that a chunk of them can be drawn again with the very
same samples. Letters: v views, r rays.
"""

from __future__ import annotations

import math
import sys
from functools import partial
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
from adreamer_jax.prior.load import Prior
from adreamer_jax.render.chunked import in_order, interleaved, map_chunks
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
from adreamer_jax.types import Array, Bool, Camera, Float, Int, Key, Rays

PIXEL_BYTES = 40.0  # of color and mask, their gradients, and what is in other order


class Views(NamedTuple):
    """One group: where from, and of which instant."""

    camera: Camera  # in field space, v cameras
    seen: Camera  # the same ones as the prior knows them
    time: Float[Array, "1"]
    box: Float[Array, "2 3"]  # of the object at that instant


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


def showable(
    config: Any, camera_from_object: Float[np.ndarray, "t 4 4"]
) -> Float[np.ndarray, "t"]:
    """Which of the clip's first cameras stand where views can be shown to the prior.

    It looks from `data.views.elevation_deg` alone; a clip filmed from higher up or
    farther below has no view near any of its own. The object is at the origin.
    """
    numbers = config.data.views
    turn = facing(
        jnp.asarray(numbers.up, jnp.float32), jnp.radians(numbers.azimuth_offset_deg)
    )
    cameras = np.asarray(camera_from_object, np.float64)
    places = -np.einsum("tji,tj->ti", cameras[:, :3, :3], cameras[:, :3, 3])
    height = places @ np.asarray(turn[1]) / np.linalg.norm(places, axis=-1)
    elevation = np.degrees(np.arcsin(np.clip(height, -1.0, 1.0)))
    low, high = numbers.elevation_deg
    reach = config.csd.shown_deg
    return (elevation > low - reach) & (elevation < high + reach)


def warn_of_views(config: Any, camera_from_object: Float[np.ndarray, "t 4 4"]) -> None:
    """Say so where the prior cannot be shown what the clip's cameras have seen."""
    if config.csd.shown_deg == 0:
        return
    share = float(np.mean(showable(config, camera_from_object)))
    if share < 0.5:
        low, high = config.data.views.elevation_deg
        print(
            f"of {100 * (1 - share):.0f} % of the frames the camera looks from outside "
            f"of {low:g} to {high:g} degrees of elevation, where the prior knows "
            "animals: there distillation has no say. Another prior may know more: "
            "--config.data.views.elevation_deg",
            file=sys.stderr,
        )


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
