"""Whole pictures of the posed model, for people and for scores."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import camera_rays, clip_to_box, pixel_centers
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.rotation import normalize
from adreamer_jax.render.chunked import map_chunks
from adreamer_jax.render.volume import render
from adreamer_jax.scene.bones import posed_from_rest
from adreamer_jax.systems.animatable.model import (
    Model,
    moment,
    occupied_posed,
    posed_distance,
    sample_posed,
)
from adreamer_jax.types import Array, Camera, Float, Picture, Rays


def posed_normals(
    config: Any, model: Model, now, time: Array, points: Float[Array, "f k 3"]
) -> Float[Array, "f k 3"]:
    """Unit gradient of the distance at posed points, through the backward warp."""
    distance = lambda p: posed_distance(config, model, now, time, p)
    values, pull = jax.vjp(distance, points)
    return normalize(pull(jnp.ones_like(values))[0])


def draw(
    config: Any,
    model: Model,
    upkeep: dict,
    step: Array,
    count: int,
    camera: Camera,
    frame: Float[Array, ""],
) -> Picture:
    """Color (premultiplied), mask, depth and camera-space normals of one view."""
    now = moment(config, model, step)
    time = frame_time(jnp.asarray(frame, jnp.float32), count)[None]
    motion = posed_from_rest(model.bones, time)
    low = jnp.clip(jnp.floor(frame).astype(jnp.int32), 0, count - 1)
    high = jnp.clip(low + 1, 0, count - 1)
    boxes = upkeep["box"][jnp.stack([low, high])]
    box = jnp.stack([boxes[:, 0].min(0), boxes[:, 1].max(0)])
    rays = clip_to_box(camera_rays(camera, pixel_centers(camera.size)), box)
    chunk = config.render.chunk
    total = camera.size[0] * camera.size[1]
    chunks = -(-total // chunk)
    # neighbors go to different chunks, so that every chunk sees as much of the object
    order = np.arange(chunks * chunk).reshape(chunk, chunks).T.reshape(-1)
    order = np.minimum(order, total - 1)
    rotation = camera.camera_from_object[:3, :3]

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

    def one(rays: Rays):
        out = render(
            lambda p: occupied_posed(config, model, upkeep, motion, p),
            sample,
            jax.tree.map(lambda x: x[None], rays),
            count=config.render.picture_samples,
            capacity=int(
                config.render.picture_share * chunk * config.render.picture_samples
            ),
        )
        return jax.tree.map(lambda x: x[0], (out.mask, out.depth, out.channels))

    mixed = jax.tree.map(lambda x: x[order], rays)
    mask, depth, channels = map_chunks(one, mixed, chunk=chunk)
    back = np.empty(total, np.int64)
    back[order[::-1]] = np.arange(len(order))[::-1]
    shape = lambda x: x[back].reshape(*camera.size, *x.shape[1:])
    normal = normalize(channels[:, 6:9]) @ rotation.T
    share = jnp.maximum(mask, 1e-3)
    return Picture(
        color=shape(channels[:, :3]),
        mask=shape(mask),
        depth=shape(depth / share),
        normal=shape(normal * mask[:, None]),
    )


def make_draw(config: Any, count: int):
    """`draw`, compiled once for every image size."""

    def drawn(model, upkeep, step, camera, frame):
        return draw(config, model, upkeep, step, count, camera, frame)

    return jax.jit(drawn)
