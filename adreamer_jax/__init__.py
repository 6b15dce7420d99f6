"""AnimatableDreamer in JAX: a clip becomes an animatable model, a prompt a new one.

The research door: the pieces one takes for one's own experiment, in reading order. All
are pure functions of arrays that may be jitted, differentiated and mapped; what touches
files or needs image libraries is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# rotations (quaternions w, x, y, z) and rigid motions
from adreamer_jax.core import rigid, rotation

# cameras: OpenCV axes, pixel centers at +0.5, distances along rays are depths
from adreamer_jax.core.camera import (
    camera_rays,
    clip_to_box,
    orbit,
    pixel_centers,
    project,
)

# features of a point: multiresolution hash tables, Fourier features
from adreamer_jax.core.encoding import fourier
from adreamer_jax.core.hashgrid import GridSpec, encode, encode_with_slopes, init_grid

# what is asked of a model: one function a term
from adreamer_jax.objective import reconstruct, regularize

# whole pictures in the memory of one chunk
from adreamer_jax.render.chunked import deferred_gradient, map_chunks

# sums along rays, empty space left out
from adreamer_jax.render.volume import render as render_rays

# bones, and how they carry points there and back
from adreamer_jax.scene.bones import BonesSpec, init_bones, posed_from_rest

# the rest shape: signed distance, color and features
from adreamer_jax.scene.field import (
    FieldSpec,
    density,
    distance_with_normal,
    init_field,
    query,
    signed_distance,
)
from adreamer_jax.scene.warp import (
    dual_blend,
    linear_blend,
    preimage,
    to_posed,
    to_rest,
)

# nouns
from adreamer_jax.types import (
    Asset,
    Camera,
    Clip,
    Picture,
    Rays,
    Rigid,
    System,
    TrainState,
)

if TYPE_CHECKING:  # loaded on first use: files, image libraries, whole systems
    from adreamer_jax.data.clip import read_clip
    from adreamer_jax.data.embedded import embedded_clip
    from adreamer_jax.data.first_cameras import search_cameras
    from adreamer_jax.data.flow import compute_flow
    from adreamer_jax.scene.skeleton import build_skeleton
    from adreamer_jax.systems.animatable import make

_LATER = {
    "read_clip": "adreamer_jax.data.clip",
    "embedded_clip": "adreamer_jax.data.embedded",
    "compute_flow": "adreamer_jax.data.flow",
    "search_cameras": "adreamer_jax.data.first_cameras",
    "build_skeleton": "adreamer_jax.scene.skeleton",
    "make": "adreamer_jax.systems.animatable",
}

__all__ = [
    "Asset",
    "BonesSpec",
    "Camera",
    "Clip",
    "FieldSpec",
    "GridSpec",
    "Picture",
    "Rays",
    "Rigid",
    "System",
    "TrainState",
    "build_skeleton",
    "camera_rays",
    "clip_to_box",
    "compute_flow",
    "deferred_gradient",
    "density",
    "distance_with_normal",
    "dual_blend",
    "embedded_clip",
    "encode",
    "encode_with_slopes",
    "fourier",
    "init_bones",
    "init_field",
    "init_grid",
    "linear_blend",
    "make",
    "map_chunks",
    "orbit",
    "pixel_centers",
    "posed_from_rest",
    "preimage",
    "project",
    "query",
    "read_clip",
    "reconstruct",
    "regularize",
    "render_rays",
    "rigid",
    "rotation",
    "search_cameras",
    "signed_distance",
    "to_posed",
    "to_rest",
]


def __getattr__(name: str) -> Any:
    """A name of the table above, loaded now."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """All public names, loaded or not."""
    return sorted(__all__)
