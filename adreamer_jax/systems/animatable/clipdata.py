"""A clip as the constant arrays that a training step reads.

Images, masks, flow and descriptors lie on the device at the training resolution; pixel
drawing probabilities favor silhouettes and thin parts, which an even draw would starve.
The clip's object space is moved and scaled so that the object fills field space.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.data.cameras import (
    SIDE_VIEW,
    constant_camera,
    initial_ellipsoid,
    intrinsics_of,
    smooth_cameras,
)
from adreamer_jax.data.first_cameras import found_cameras
from adreamer_jax.data.flow import flow_cached
from adreamer_jax.types import Array, Clip, Float, Int, Key

# "smooth" is "auto" without a search, as recipes said before there was one
CAMERAS = ("auto", "smooth", "given", "constant", "searched")
LEVEL = 0.3  # sine of the least angle between a camera and upright
FOUND = "found"  # what a clip says of cameras that were searched


class Frame(NamedTuple):
    """Where field space lies: object = origin + scale * field."""

    origin: Float[np.ndarray, "3"]
    scale: float


class Start(NamedTuple):
    """First guesses, in field space."""

    camera_from_object: Float[np.ndarray, "t 4 4"]
    intrinsics: Float[np.ndarray, "4"]  # pixels of the full image
    center: Float[np.ndarray, "3"]
    radii: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "3 3"]  # rows
    side: Float[np.ndarray, "3"]  # horizontal viewing direction of the widest frame


class Batch(NamedTuple):
    """Rays of some frames, with what the clip says about them."""

    frames: Int[Array, "f"]
    partners: Int[Array, "f"]
    pixels: Float[Array, "f r 2"]  # training resolution
    color: Float[Array, "f r 3"]
    mask: Float[Array, "f r"]
    flow: Float[Array, "f r 2"]
    confidence: Float[Array, "f r"]
    feature: Float[Array, "f r c"]


def with_cameras(config: Any, clip: Clip, cache: Path) -> Clip:
    """The clip with first cameras that are searched, where the recipe wants it so.

    Those that nobody knows are, by ``data.cameras`` "auto", and all by "searched". What
    is found is kept in the cache, since other runs may start from this one's space.
    """
    how = config.data.cameras
    if how not in CAMERAS:
        raise ValueError(
            f"data.cameras must be one of {', '.join(CAMERAS)}, got {how}; leave it "
            "out for auto"
        )
    unknown = clip.camera_from_object is None
    if clip.cameras == FOUND or not (how == "searched" or (how == "auto" and unknown)):
        return clip
    size = training_size(clip.masks.shape[1:], config.data.resolution)
    flow = flow_cached(clip, cache, gaps=tuple(config.data.flow_gaps), size=size)
    cameras = found_cameras(clip.masks, intrinsics_of(clip), flow, cache)
    return dataclasses.replace(clip, camera_from_object=cameras, cameras=FOUND)


def for_cameras(config: Any, clip: Clip) -> Any:
    """The recipe as it suits the clip's cameras: a guess is nothing to hold on to."""
    guessed = clip.camera_from_object is None or clip.cameras == FOUND
    if not guessed and config.data.cameras != "constant":
        return config
    config = config.copy_and_resolve_references()
    config.loss.camera_prior = 0.0
    return config


def start_of(config: Any, clip: Clip) -> tuple[Start, Frame]:
    """Initial cameras, shape and space of a clip."""
    intrinsics = intrinsics_of(clip)
    given = clip.camera_from_object
    if given is None or config.data.cameras == "constant":
        cameras = constant_camera(clip.masks, intrinsics)
    elif config.data.cameras in ("auto", "smooth") and clip.cameras == "noisy":
        cameras = smooth_cameras(given, degree=config.data.smooth_degree)
    else:
        cameras = np.asarray(given, np.float32)
    center, half, axes = initial_ellipsoid(
        clip.masks,
        cameras,
        intrinsics,
        depth_ratio=config.data.depth_ratio,
        side=SIDE_VIEW if clip.cameras == FOUND else None,
    )
    frame = Frame(center, float(half.max() / config.data.fill))
    moved = np.array(cameras, np.float32)
    moved[:, :3, 3] = (
        np.einsum("tij,j->ti", cameras[:, :3, :3], center) + cameras[:, :3, 3]
    ) / frame.scale
    side = axes[:, 2] * np.array([1.0, 0.0, 1.0])
    if np.linalg.norm(side) < LEVEL:
        if config.scene.field.symmetric:
            raise ValueError(
                "scene.field.symmetric must be False for a clip filmed from straight "
                "above or below, in which nothing says where the mirror plane stands; "
                "write --config.scene.field.symmetric=False"
            )
        side = np.array([1.0, 0.0, 0.0])
    start = Start(
        moved,
        np.asarray(intrinsics, np.float32),
        np.zeros(3, np.float32),
        (half / frame.scale).astype(np.float32),
        axes.T.astype(np.float32),
        (side / np.linalg.norm(side)).astype(np.float32),
    )
    return start, frame


def training_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Height and width with the longest side as asked, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shrink(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    if images.shape[1:3] == size:
        return images
    return np.stack(
        [cv2.resize(i, (width, height), interpolation=cv2.INTER_AREA) for i in images]
    )


def draw_law(
    masks: Float[np.ndarray, "t h w"], *, background: float, edge: float, thin: float
) -> Float[np.ndarray, "t hw"]:
    """Cumulative probabilities of pixels of every frame.

    One part is spread evenly over the mask's neighborhood, one over the band along the
    silhouette, one over the mask in inverse proportion to its local thickness.
    """
    laws = []
    for mask in masks:
        inside = (mask > 0.5).astype(np.uint8)
        reach = max(3, round(0.06 * max(mask.shape)))
        kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
        around = cv2.dilate(inside, kernel).astype(np.float64)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        width = cv2.dilate(depth, np.ones((5, 5), np.uint8))  # of the part it is in
        outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
        band = ((outer < 3.0) & (depth < 3.0)).astype(np.float64)
        slender = np.where(cv2.dilate(inside, np.ones((5, 5))) > 0, 1 / (1 + width), 0)
        parts = [
            (1.0 - background - edge - thin, inside),
            (background, around),
            (edge, band),
            (thin, slender),
        ]
        law = np.sum([w * p / max(p.sum(), 1e-9) for w, p in parts], axis=0)
        law = law if law.sum() > 0 else np.ones(mask.shape)  # the animal is not there
        laws.append(np.cumsum(law.reshape(-1) / law.sum()))
    return np.stack(laws).astype(np.float32)


def frozen_of(
    config: Any, clip: Clip, flow: dict | None, features: np.ndarray | None
) -> dict[str, Any]:
    """Constant arrays of a clip for training at the recipe's resolution.

    ``flow`` maps a signed frame gap to (flow [t h w 2], confidence [t h w]) in pixels
    of the training resolution; rows without a partner have confidence zero.
    """
    size = training_size(clip.masks.shape[1:], config.data.resolution)
    soft = _shrink(clip.masks.astype(np.float32), size)
    count = len(clip.masks)
    gaps = sorted(flow) if flow else [1]
    if flow:
        moved = np.stack([flow[g][0] for g in gaps]).astype(np.float16)
        sure = np.stack([flow[g][1] for g in gaps]).astype(np.float16)
    else:
        moved = np.zeros((1, count, 1, 1, 2), np.float16)
        sure = np.zeros((1, count, 1, 1), np.float16)
    if features is None:
        features = np.zeros((count, 1, 1, 1), np.float16)
    law = draw_law(
        soft,
        background=config.data.draw_background,
        edge=config.data.draw_edge,
        thin=config.data.draw_thin,
    )
    return {
        # off the object nothing: the mean of a pixel at its edge has no ground in it
        "images": jnp.asarray(_shrink(clip.images * clip.masks[..., None], size)),
        "masks": jnp.asarray(np.round(soft * 255).astype(np.uint8)),
        "law": jnp.asarray(law),
        "gaps": jnp.asarray(np.array(gaps, np.int32)),
        "flow": jnp.asarray(moved),
        "confidence": jnp.asarray(sure),
        "features": jnp.asarray(features),
    }


def sample_batch(config: Any, frozen: dict[str, Any], key: Key, step: Array) -> Batch:
    """Frames spread over the clip, a flow partner for each, and pixels of each."""
    del step
    frame_key, partner_key, pixel_key = jax.random.split(key, 3)
    count, height, width = frozen["masks"].shape
    num = config.data.frames_per_step
    offset = jax.random.uniform(frame_key, (num,))
    frames = ((jnp.arange(num) + offset) / num * count).astype(jnp.int32)
    partner = frames[:, None] + frozen["gaps"][None]
    allowed = (partner >= 0) & (partner < count)
    logits = jnp.where(allowed, 0.0, -1e9)
    which = jax.random.categorical(partner_key, logits, axis=-1)
    partners = jnp.clip(frames + frozen["gaps"][which], 0, count - 1)

    u = jax.random.uniform(pixel_key, (num, config.data.rays_per_frame))
    flat = jax.vmap(jnp.searchsorted)(frozen["law"][frames], u)
    flat = jnp.clip(flat, 0, height * width - 1)
    y, x = flat // width, flat % width
    f = frames[:, None]

    def look_up(maps, lead):
        h, w = maps.shape[len(lead) : len(lead) + 2]
        return maps[(*lead, y * h // height, x * w // width)]

    value = look_up(frozen["flow"], (which[:, None], f))
    sure = look_up(frozen["confidence"], (which[:, None], f))
    return Batch(
        frames=frames,
        partners=partners,
        pixels=jnp.stack([x, y], axis=-1) + 0.5,
        color=frozen["images"][f, y, x].astype(jnp.float32) / 255.0,
        mask=frozen["masks"][f, y, x].astype(jnp.float32) / 255.0,
        flow=value.astype(jnp.float32),
        confidence=sure.astype(jnp.float32) * allowed[jnp.arange(num), which][:, None],
        feature=look_up(frozen["features"], (f,)).astype(jnp.float32),
    )
