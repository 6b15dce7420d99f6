"""Surfaces out of the model: the rest mesh with its skin, and every frame's surface.

A frame's surface is the zero set of the distance *after the backward warp*, which is
what the renderer draws; the asset moves one mesh by the forward warp, which is what
other programs can play.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from adreamer_jax.core import rigid
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.scene.bones import posed_bones, posed_from_rest, rest_pose
from adreamer_jax.scene.field import query, signed_distance
from adreamer_jax.scene.pose import intrinsics, root_poses
from adreamer_jax.scene.skinning import mahalanobis, skin
from adreamer_jax.systems.animatable.clipdata import Frame
from adreamer_jax.systems.animatable.model import Model, carry, moment, posed_distance
from adreamer_jax.types import Array, Asset, Clip, Float

_CHUNK = 16_384


def _on_grid(function, low, high, shape) -> np.ndarray:
    """Values of a function of points [n, 3] on a regular grid of corners."""
    axes = [np.linspace(low[a], high[a], shape[a], dtype=np.float32) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    pad = -len(points) % _CHUNK
    padded = np.pad(points, [(0, pad), (0, 0)], mode="edge")
    parts = [
        np.asarray(function(jnp.asarray(part)))
        for part in padded.reshape(-1, _CHUNK, 3)
    ]
    return np.concatenate(parts)[: len(points)].reshape(shape)


def extract(function, low, high, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward faces of the zero set inside a box; empty if there is none.

    The outermost layer is set outside, so that the surface is closed; hollows that it
    does not reach are filled, since nobody can see or has seen them.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    step = (high - low).max() / cells
    shape = tuple(int(n) for n in np.maximum(np.ceil((high - low) / step), 2) + 1)
    high = low + step * (np.array(shape) - 1)
    values = _on_grid(function, low, high, shape)
    for axis in range(3):
        ends = np.take(values, [0, -1], axis=axis)
        index: list[Any] = [slice(None)] * 3
        index[axis] = [0, -1]
        values[tuple(index)] = np.maximum(ends, 0.5 * step)
    hollow = np.zeros(shape, np.int32)
    ndimage.label(values >= 0, output=hollow)
    values[(hollow > 0) & (hollow != hollow[0, 0, 0])] = -step
    if values.min() >= 0 or values.max() <= 0:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=(step,) * 3)
    return (vertices + low).astype(np.float32), faces.astype(np.int32)


def largest_parts(
    vertices: np.ndarray, faces: np.ndarray, *, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mesh without connected parts smaller than a share of the largest one."""
    if not len(faces):
        return vertices, faces
    n = len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (n, n))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label[faces[:, 0]], minlength=label.max() + 1)
    keep = sizes[label[faces[:, 0]]] >= least * sizes.max()
    used = np.unique(faces[keep])
    lookup = np.full(n, -1)
    lookup[used] = np.arange(len(used))
    return vertices[used], lookup[faces[keep]].astype(np.int32)


class Surfaces:
    """Compiled functions that turn a model into meshes."""

    def __init__(self, config: Any, count: int):
        """Prepare the functions; nothing is compiled yet."""
        self.config, self.count = config, count
        self.rest_distance = jax.jit(partial(_rest_distance, config))
        self.frame_distance = jax.jit(partial(_frame_distance, config, count))
        self.describe = jax.jit(partial(_describe, config))
        self.move = jax.jit(partial(_move, config, count))
        self.frames = jax.jit(_frames)


def _rest_distance(config, model: Model, step: Array, points: Array) -> Array:
    now = moment(config, model, step)
    sdf = signed_distance(model.field, points, detail=now.detail)
    sdf = sdf - _seen_level(config, now)
    return _cut(
        config, sdf, mahalanobis(rest_pose(model.bones), model.bones.log_scale, points)
    )


def _frame_distance(
    config, count: int, model: Model, step: Array, frame: Array, points: Array
) -> Array:
    now = moment(config, model, step)
    time = frame_time(frame.astype(jnp.float32), count)[None]
    sdf = posed_distance(config, model, now, time, points[None])[0]
    sdf = sdf - _seen_level(config, now)
    motion = posed_from_rest(model.bones, time)
    pose = posed_bones(model.bones, motion)
    return _cut(config, sdf, mahalanobis(pose, model.bones.log_scale, points[None])[0])


def _cut(config, sdf: Array, distance: Array) -> Array:
    """Distance that is positive far from every bone: space that nothing explains."""
    far = jnp.min(distance, axis=-1) > config.scene.bones.reach
    return jnp.where(far, jnp.maximum(sdf, 0.1), sdf)


def _seen_level(config, now) -> Array:
    """The distance at which silhouettes see the surface.

    A ray that grazes the object gathers half its opacity where exp(-d / beta) times the
    length of its way along the surface over 2 beta is ln 2: one to two beta outside of
    the zero set (1.2 for a radius of 3 beta, 2.0 for 16 beta).
    """
    return config.run.mesh_level * now.beta


def _describe(config, model: Model, step: Array, points: Array):
    now = moment(config, model, step)
    # features that nothing has taught would mislead the skeleton
    taught = config.loss.feature > 0 or config.loss.match > 0
    sample = query(model.field, points, detail=now.detail, with_feature=taught)
    weights, _ = skin(
        model.bones,
        rest_pose(model.bones),
        points,
        with_delta=config.scene.skin.delta,
    )
    return sample.color, sample.feature, weights


def _frames(model: Model) -> tuple[Array, Array, Array]:
    """Resting bones, root poses and intrinsics of all frames."""
    rest = rigid.to_matrix(rest_pose(model.bones))
    return rest, root_poses(model.pose), intrinsics(model.pose)


def _move(config, count: int, model: Model, frame: Array, points: Array):
    time = frame_time(frame.astype(jnp.float32), count)[None]
    motion = posed_from_rest(model.bones, time)
    return carry(config, model, motion, points[None])[0], rigid.to_matrix(motion)[0]


def frame_surface(
    surfaces: Surfaces,
    model: Model,
    upkeep: dict,
    step: Array,
    space: Frame,
    frame: int,
) -> tuple[Float[np.ndarray, "n 3"], np.ndarray]:
    """The surface at a frame in that frame's camera space, in the clip's units."""
    low, high = np.asarray(upkeep["box"][frame])
    index = jnp.asarray(frame)
    vertices, faces = extract(
        lambda p: surfaces.frame_distance(model, step, index, p),
        low,
        high,
        surfaces.config.run.mesh_cells,
    )
    vertices, faces = largest_parts(vertices, faces, least=0.02)
    camera = np.asarray(surfaces.frames(model)[1])[frame]
    return (vertices @ camera[:3, :3].T + camera[:3, 3]) * space.scale, faces


def asset_of(
    surfaces: Surfaces, model: Model, step: Array, space: Frame, clip: Clip
) -> Asset:
    """The animatable model in the clip's object space."""
    vertices, faces = extract(
        lambda p: surfaces.rest_distance(model, step, p),
        [-1.0] * 3,
        [1.0] * 3,
        surfaces.config.run.rest_cells,
    )
    vertices, faces = largest_parts(vertices, faces, least=0.02)
    if not len(vertices):
        raise ValueError(
            "the rest shape must have a surface, got an empty one; train for more "
            "steps or look at pictures/ for what went wrong"
        )
    points = jnp.asarray(vertices)
    color, feature, weights = jax.tree.map(
        np.asarray, surfaces.describe(model, step, points)
    )
    moved = [
        surfaces.move(model, jnp.asarray(f), points) for f in range(surfaces.count)
    ]
    posed = np.stack([np.asarray(p) for p, _ in moved])
    motion = np.stack([np.asarray(m) for _, m in moved])
    rest, cameras, lenses = jax.tree.map(np.asarray, surfaces.frames(model))
    scale, origin = space.scale, np.asarray(space.origin)
    return Asset(
        name=clip.name,
        vertices=vertices * scale + origin,
        faces=faces,
        colors=color,
        weights=weights,
        features=feature,
        rest_from_bone=_placed(rest, scale, origin),
        posed_from_rest=_conjugated(motion, scale, origin),
        posed_vertices=posed * scale + origin,
        camera_from_object=_cameras_of_object(cameras, scale, origin),
        intrinsics=lenses,
        size=tuple(clip.masks.shape[1:]),
        fps=clip.fps,
    )


def _placed(pose: np.ndarray, scale: float, origin: np.ndarray) -> np.ndarray:
    """Frames of field space put into object space; they stay rigid."""
    out = np.array(pose, np.float64)
    out[..., :3, 3] = out[..., :3, 3] * scale + origin
    return out.astype(np.float32)


def _conjugated(motion: np.ndarray, scale: float, origin: np.ndarray) -> np.ndarray:
    """Motions of field space as motions of object space."""
    out = np.array(motion, np.float64)
    turned = np.einsum("...ij,j->...i", out[..., :3, :3], origin)
    out[..., :3, 3] = out[..., :3, 3] * scale + origin - turned
    return out.astype(np.float32)


def _cameras_of_object(
    cameras: np.ndarray, scale: float, origin: np.ndarray
) -> np.ndarray:
    """Cameras of field space as cameras of object space."""
    out = np.array(cameras, np.float64)
    turned = np.einsum("tij,j->ti", out[:, :3, :3], origin)
    out[:, :3, 3] = out[:, :3, 3] * scale - turned
    return out.astype(np.float32)
