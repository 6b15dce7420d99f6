"""Whole pictures of the posed model, for people and for scores.

One program draws one chunk of pixels; pictures of all sizes are made of its chunks.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import camera_rays, clip_to_box
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.rotation import normalize
from adreamer_jax.render.volume import render
from adreamer_jax.scene.bones import posed_from_rest
from adreamer_jax.systems.animatable.model import (
    Model,
    moment,
    occupied_posed,
    posed_distance,
    sample_posed,
)
from adreamer_jax.types import Array, Camera, Float, Int, Picture


def posed_normals(
    config: Any, model: Model, now, time: Array, points: Float[Array, "f k 3"]
) -> Float[Array, "f k 3"]:
    """Unit gradient of the distance at posed points, through the backward warp."""
    distance = lambda p: posed_distance(config, model, now, time, p)
    values, pull = jax.vjp(distance, points)
    return normalize(pull(jnp.ones_like(values))[0])


def draw_pixels(
    config: Any,
    count: int,
    model: Model,
    upkeep: dict,
    step: Array,
    camera: Camera,
    frame: Float[Array, ""],
    pixels: Float[Array, "r 2"],
    *,
    share: float,
) -> tuple[Picture, Int[Array, ""]]:
    """Color (premultiplied), mask, depth and camera-space normals of pixels.

    ``share`` of the samples find a slot; how many more there should be comes second.
    """
    now = moment(config, model, step)
    time = frame_time(frame, count)[None]
    motion = posed_from_rest(model.bones, time)
    box = box_at(upkeep["box"], frame)
    rays = clip_to_box(camera_rays(camera, pixels), box)

    def sample(points):
        density, channels, extra = sample_posed(
            config,
            model,
            now,
            motion,
            time,
            points,
            with_feature=False,
            with_visibility=False,
        )
        normals = posed_normals(config, model, now, time, points)
        return density, jnp.concatenate([channels, normals], axis=-1), extra

    samples = config.render.picture_samples
    out = render(
        lambda p: occupied_posed(config, model, upkeep, motion, p),
        sample,
        jax.tree.map(lambda x: x[None], rays),
        count=samples,
        capacity=int(share * len(pixels) * samples),
    )
    mask, depth, channels = out.mask[0], out.depth[0], out.channels[0]
    normal = normalize(channels[:, 6:9]) @ camera.camera_from_object[:3, :3].T
    picture = Picture(
        color=channels[:, :3],
        mask=mask,
        depth=depth / jnp.maximum(mask, 1e-3),
        normal=normal * mask[:, None],
    )
    return picture, out.slots.overflow


def box_at(
    boxes: Float[Array, "t 2 3"], frame: Float[Array, ""]
) -> Float[Array, "2 3"]:
    """The box that holds the boxes of the frames on both sides of a moment."""
    low = jnp.clip(jnp.floor(frame).astype(jnp.int32), 0, len(boxes) - 1)
    pair = boxes[jnp.stack([low, jnp.minimum(low + 1, len(boxes) - 1)])]
    return jnp.stack([pair[:, 0].min(0), pair[:, 1].max(0)])


def spread(
    total: int, chunk: int
) -> tuple[Int[np.ndarray, "chunks chunk"], Int[np.ndarray, "total"]]:
    """Pixels of each chunk, and where each pixel is found among all of them.

    Neighbors go to different chunks, so that every chunk sees as much of the object;
    the places after the last pixel repeat it.
    """
    chunks = -(-total // chunk)
    order = np.arange(chunks * chunk).reshape(chunk, chunks).T
    back = np.empty(chunks * chunk, np.int64)
    back[order.reshape(-1)] = np.arange(chunks * chunk)
    return np.minimum(order, total - 1), back[:total]


def rungs(share: float) -> tuple[float, ...]:
    """Shares of the samples that may find a slot: the first one, doubled up to all."""
    return tuple(
        min(1.0, share * 2**i) for i in range(1 + math.ceil(-math.log2(share)))
    )


def make_draw(config: Any, count: int):
    """A function that draws a view of any size; its programs are compiled once.

    Where an object fills so much of a chunk that its slots do not do, the chunk is
    drawn again with as many as it takes, and the rest of the view like it.
    """
    chunk = config.render.chunk
    shares = rungs(config.render.picture_share)
    pixels_of = partial(draw_pixels, config, count)
    programs = [jax.jit(partial(pixels_of, share=share)) for share in shares]
    samples = chunk * config.render.picture_samples

    def enough(scene: tuple, pixels: np.ndarray, rung: int) -> tuple[Picture, int]:
        picture, overflow = programs[rung](*scene, pixels)
        if not int(overflow):
            return picture, rung
        need = shares[rung] + int(overflow) / samples
        last = len(shares) - 1
        rung = next((i for i, share in enumerate(shares) if share > need), last)
        return programs[rung](*scene, pixels)[0], rung

    def draw(
        model: Model, upkeep: dict, step: Array, camera: Camera, frame: float | Array
    ) -> Picture:
        height, width = camera.size
        order, back = spread(height * width, chunk)
        centers = np.stack([order % width, order // width], axis=-1) + np.float32(0.5)
        # no size, and host arrays: nothing that would make it another program
        view = jax.tree.map(np.asarray, camera.replace(size=(0, 0)))
        scene = (model, upkeep, step, view, np.float32(frame))
        parts, rung = [], 0
        for pixels in centers.astype(np.float32):
            picture, rung = enough(scene, pixels, rung)
            parts.append(jax.tree.map(np.asarray, picture))
        shape = lambda x: x[back].reshape(height, width, *x.shape[1:])
        return jax.tree.map(lambda *x: shape(np.concatenate(x)), *parts)

    return draw
