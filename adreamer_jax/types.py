"""The nouns of the house: array aliases and pytrees without behaviour.

Everything is in our conventions: OpenCV cameras (x right, y down, z forward), pixel
centers at +0.5, object space with y up, quaternions wxyz, radians, colors in [0, 1],
images NHWC, time in [0, 1] over the clip. Transforms say both spaces:
``camera_from_object`` takes object points to camera points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import struct
from jaxtyping import Bool, Float, Int, PRNGKeyArray

Array = jax.Array
Key = PRNGKeyArray
Params = Any  # a pytree of arrays
Metrics = dict[str, Array]

__all__ = [
    "Array",
    "Asset",
    "Bool",
    "Camera",
    "Clip",
    "Float",
    "Int",
    "Key",
    "Metrics",
    "Params",
    "Picture",
    "Rays",
    "Rigid",
    "System",
    "TrainState",
]


class Rigid(struct.PyTreeNode):
    """A rotation (unit quaternion, wxyz) followed by a translation."""

    rotation: Float[Array, "*b 4"]
    translation: Float[Array, "*b 3"]


class Camera(struct.PyTreeNode):
    """Pinhole cameras that look at the object; focal and center in pixels (x, y)."""

    camera_from_object: Float[Array, "*b 4 4"]
    focal: Float[Array, "*b 2"]
    center: Float[Array, "*b 2"]
    size: tuple[int, int] = struct.field(pytree_node=False)  # height, width


class Rays(struct.PyTreeNode):
    """Rays in object space; a distance along a ray is its depth along the camera's z.

    ``directions`` therefore have a camera-space z of one and are not unit vectors.
    """

    origins: Float[Array, "*b 3"]
    directions: Float[Array, "*b 3"]
    near: Float[Array, "*b"]
    far: Float[Array, "*b"]


class Picture(struct.PyTreeNode):
    """What a renderer returns for every ray; None where it was not asked for."""

    color: Float[
        Array, "*r 3"
    ]  # premultiplied by mask: composite as color + (1-mask)*bg
    mask: Float[Array, "*r"]
    depth: Float[Array, "*r"]
    normal: Float[Array, "*r 3"] | None = None  # camera space, unit where mask is one
    extra: Any = None


@dataclasses.dataclass(frozen=True)
class Clip:
    """One monocular clip of one object, in memory on the host (shared clip format)."""

    name: str
    fps: float
    prompt: str
    images: Float[np.ndarray, "t h w 3"]  # uint8
    masks: Bool[np.ndarray, "t h w"]
    camera_from_object: Float[np.ndarray, "t 4 4"] | None  # None: nothing is known
    intrinsics: Float[np.ndarray, "4"] | None  # fx fy cx cy in pixels
    cameras: str  # "exact", "noisy", "none" or "found" (in memory)
    folder: Path | None = None  # None: the embedded clip
    source: str = ""
    licence: str = ""
    features: Float[np.ndarray, "t fh fw c"] | None = None


@dataclasses.dataclass(frozen=True)
class Asset:
    """An animatable model on the host, ready to be written to files.

    Object space, y up, in the units of the clip's cameras. ``posed_from_rest`` moves
    the surface near bone b rigidly from the rest pose to frame t, in object space.
    """

    name: str
    vertices: Float[np.ndarray, "n 3"]  # rest surface
    faces: Int[np.ndarray, "m 3"]  # counter-clockwise seen from outside
    colors: Float[np.ndarray, "n 3"]  # sRGB
    weights: Float[np.ndarray, "n bones"]  # rows sum to one
    features: Float[np.ndarray, "n f"] | None
    rest_from_bone: Float[np.ndarray, "bones 4 4"]  # rigid
    posed_from_rest: Float[np.ndarray, "t bones 4 4"]  # rigid
    posed_vertices: Float[np.ndarray, "t n 3"]  # by the model's own forward warp
    camera_from_object: Float[np.ndarray, "t 4 4"]
    intrinsics: Float[np.ndarray, "t 4"]
    size: tuple[int, int]  # height, width of the clip's images
    fps: float


class TrainState(struct.PyTreeNode):
    """All that a run needs to go on: nothing else is saved."""

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    upkeep: Any  # slowly refreshed, not learned: occupancy, bounds, skipped-step counts


class System(NamedTuple):
    """One paper as pure functions; `run` knows papers only through these."""

    init: Callable  # (key, frozen) -> TrainState
    sample: Callable  # (frozen, key, step) -> batch                          jit-able
    step: Callable  # (state, frozen, batch, key) -> (state, metrics)         jit-able
    maintain: (
        Callable  # (state, frozen, step: int) -> state, on the host, before a step
    )
    render: Callable  # (state, frozen, camera, frame: float) -> Picture of numpy arrays
    preview: Callable  # (state, frozen) -> {name: uint8 [h, w, 3]}
    asset: Callable  # (state, frozen) -> Asset
    surface: Callable  # (state, frozen, frame: int) -> camera-space vertices, faces
    num_steps: int
