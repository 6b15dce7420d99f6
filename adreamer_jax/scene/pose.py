"""Root pose and intrinsics over time.

The root pose ``camera_from_object`` of every frame is the clip's initial pose with a
learned correction: a rotation of the object about its own origin and a translation. The
correction is a smooth curve of cosine terms (default: it takes jitter out), one value a
frame, or the paper's network of the time code. The focal length is a shared factor,
with a network of slow time for zoom as the option.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import struct

from adreamer_jax.core import rotation
from adreamer_jax.core.camera import with_size
from adreamer_jax.core.encoding import cosine_basis, frame_time, time_code
from adreamer_jax.core.mlp import init_mlp, init_skip_mlp, mlp
from adreamer_jax.types import Array, Camera, Float, Int, Key, Params

_SKIP = 3


@dataclasses.dataclass(frozen=True)
class PoseSpec:
    """Form of the learned correction."""

    motion: str = "cosine"  # or "frames" or "mlp"
    terms: int = 16
    frequencies: int = 6
    width: int = 256
    depth: int = 5
    zoom: bool = False  # focal length changes over the clip


@no_type_check  # tree.map fills it with other things than arrays
class PoseParams(struct.PyTreeNode):
    """Initial poses (constants) and their learned correction."""

    initial: Float[Array, "t 4 4"]
    intrinsics: Float[Array, "4"]  # fx fy cx cy in pixels of the full image
    correction: Params
    log_focal: Float[Array, ""]
    zoom: Params
    size: tuple[int, int] = struct.field(pytree_node=False)  # of the full image
    spec: PoseSpec = struct.field(pytree_node=False)


def init_pose(
    key: Key,
    spec: PoseSpec,
    *,
    camera_from_object: Float[Array, "t 4 4"],
    intrinsics: Float[Array, "4"],
    size: tuple[int, int],
) -> PoseParams:
    """Poses that equal the given ones."""
    frames = camera_from_object.shape[0]
    inputs = 1 + 2 * spec.frequencies
    trunk_key, head_key, zoom_key = jax.random.split(key, 3)
    if spec.motion == "cosine":
        correction = jnp.zeros((spec.terms, 6))
    elif spec.motion == "frames":
        correction = jnp.zeros((frames, 6))
    else:
        correction = {
            "trunk": init_skip_mlp(
                trunk_key, inputs, spec.width, spec.depth, spec.width, skip=_SKIP
            ),
            "head": init_mlp(head_key, [spec.width, 128, 6], last_scale=0.0),
        }
    return PoseParams(
        initial=jnp.asarray(camera_from_object, jnp.float32),
        intrinsics=jnp.asarray(intrinsics, jnp.float32),
        correction=correction,
        log_focal=jnp.zeros(()),
        zoom=init_mlp(zoom_key, [1, 16, 1], last_scale=0.0),
        size=size,
        spec=spec,
    )


def corrections(pose: PoseParams) -> Float[Array, "t 6"]:
    """Rotation vector and translation of every frame."""
    frames = pose.initial.shape[0]
    time = frame_time(jnp.arange(frames, dtype=jnp.float32), frames)
    if pose.spec.motion == "cosine":
        return cosine_basis(time, terms=pose.spec.terms) @ pose.correction
    if pose.spec.motion == "frames":
        return pose.correction
    code = time_code(time, frequencies=pose.spec.frequencies)
    trunk = jnp.maximum(mlp(pose.correction["trunk"], code, skip=_SKIP), 0.0)
    return mlp(pose.correction["head"], trunk)


def root_poses(pose: PoseParams) -> Float[Array, "t 4 4"]:
    """camera_from_object of every frame of the clip."""
    value = corrections(pose)
    turn = rotation.to_matrix(rotation.from_vector(value[:, :3]))
    block = jnp.einsum("tij,tjk->tik", turn, pose.initial[:, :3, :3])
    shift = pose.initial[:, :3, 3] + value[:, 3:]
    top = jnp.concatenate([block, shift[..., None]], axis=-1)
    return jnp.concatenate([top, pose.initial[:, 3:, :]], axis=-2)


def intrinsics(pose: PoseParams) -> Float[Array, "t 4"]:
    """fx, fy, cx, cy of every frame, in pixels of the full image."""
    frames = pose.initial.shape[0]
    time = frame_time(jnp.arange(frames, dtype=jnp.float32), frames)
    log_focal = jnp.broadcast_to(pose.log_focal, (frames,))
    if pose.spec.zoom:
        log_focal = log_focal + mlp(pose.zoom, 0.1 * (2 * time[:, None] - 1))[:, 0]
    focal = pose.intrinsics[None, :2] * jnp.exp(log_focal)[:, None]
    center = jnp.broadcast_to(pose.intrinsics[2:], (frames, 2))
    return jnp.concatenate([focal, center], axis=-1)


def clip_cameras(
    pose: PoseParams, frames: Int[Array, "*b"], *, size: tuple[int, int]
) -> Camera:
    """Cameras of the given frames for images of the given size."""
    k = intrinsics(pose)[frames]
    full = Camera(root_poses(pose)[frames], k[..., :2], k[..., 2:], pose.size)
    return with_size(full, size)
