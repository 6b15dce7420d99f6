"""How far two surfaces are from each other, on the host.

A *place* is a material point of a mesh: a face and three barycentric weights, so the
same place can be looked up in every frame of a moving mesh. Surfaces are compared by
points spread evenly over their area: mesh vertices would count finely tessellated
parts more often. Distances named `forward` go from the prediction to the truth,
`backward` from the truth to the prediction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from adreamer_jax.types import Float, Int

__all__ = [
    "Places",
    "Similarity",
    "apply_similarity",
    "chamfer",
    "depth_scale",
    "f_score",
    "face_areas",
    "icp",
    "mesh_edges",
    "nearest",
    "points_at",
    "rigid_fit",
    "sample_places",
    "sample_surface",
    "similarity_fit",
    "vertex_areas",
    "vertex_normals",
]

Points = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]
Others = Float[np.ndarray, "k 3"]


class Places(NamedTuple):
    """Material points of a mesh: which face, and where in it."""

    face: Int[np.ndarray, "k"]
    weight: Float[np.ndarray, "k 3"]


class Similarity(NamedTuple):
    """target = scale * rotation @ source + translation."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    scale: float = 1.0


# -------------------------------------------------------------------------- sampling
def face_areas(vertices: Points, faces: Faces) -> Float[np.ndarray, "m"]:
    """Area of every triangle: half the cross product of two edges."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return 0.5 * np.linalg.norm(np.cross(second - first, third - first), axis=-1)


def vertex_areas(vertices: Points, faces: Faces) -> Float[np.ndarray, "n"]:
    """Area that belongs to each vertex: a third of its triangles."""
    thirds = np.repeat(face_areas(vertices, faces) / 3.0, 3)
    return np.bincount(faces.reshape(-1), thirds, len(vertices))


def mesh_edges(faces: Faces) -> Int[np.ndarray, "k 2"]:
    """Every edge of a mesh once, its first vertex before its second."""
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return np.unique(np.sort(sides, axis=1), axis=0)


def vertex_normals(vertices: Points, faces: Faces) -> Float[np.ndarray, "n 3"]:
    """Unit normals, the faces' average by area; straight up where there is no face."""
    vertices = np.asarray(vertices, np.float64)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    total = np.stack(
        [
            np.bincount(faces.reshape(-1), np.repeat(normal[:, i], 3), len(vertices))
            for i in range(3)
        ],
        -1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), [0.0, 1.0, 0.0])


def sample_places(
    areas: Float[np.ndarray, "m"], count: int, rng: np.random.Generator
) -> Places:
    """Places spread evenly by area, one in each of `count` slices of equal area.

    Raises where there is no area to spread over.
    """
    total = float(np.sum(areas))
    if not total > 0:
        raise ValueError(
            f"the mesh's area must be positive, got {total}; leave out empty meshes"
        )
    slices = (np.arange(count) + rng.random(count)) * (total / count)
    face = np.searchsorted(np.cumsum(areas), slices, side="right")
    corner = rng.random((count, 2))
    # the unit square's far half folds back onto the triangle
    corner = np.where(corner.sum(1, keepdims=True) > 1, 1 - corner, corner)
    weight = np.concatenate([1 - corner.sum(1, keepdims=True), corner], 1)
    return Places(np.minimum(face, len(areas) - 1), weight)


def points_at(vertices: Points, faces: Faces, places: Places) -> Others:
    """Positions of places on a mesh."""
    return np.einsum("kc,kcx->kx", places.weight, vertices[faces[places.face]])


def sample_surface(
    vertices: Points, faces: Faces, count: int, rng: np.random.Generator
) -> Others:
    """Points spread evenly over a surface."""
    places = sample_places(face_areas(vertices, faces), count, rng)
    return points_at(vertices, faces, places)


# ------------------------------------------------------------------------- distances
def nearest(
    points: Points, others: Others | KDTree
) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Distance from every point to the nearest of the others, and which one that is."""
    tree = others if isinstance(others, KDTree) else KDTree(others)
    distance, index = tree.query(points)
    return np.asarray(distance), np.asarray(index)


def chamfer(forward: Float[np.ndarray, "n"], backward: Float[np.ndarray, "k"]) -> float:
    """Chamfer distance as BANMo reports it: the sum of both means, not their half."""
    return float(np.mean(forward) + np.mean(backward))


def f_score(
    forward: Float[np.ndarray, "n"], backward: Float[np.ndarray, "k"], limit: float
) -> float:
    """Harmonic mean of precision and recall at a distance; 0 for an empty side."""
    precision = float(np.mean(forward <= limit)) if len(forward) else 0.0
    recall = float(np.mean(backward <= limit)) if len(backward) else 0.0
    both = precision + recall
    return 2 * precision * recall / both if both > 0 else 0.0


# ------------------------------------------------------------------------- alignment
def depth_scale(points: Points, target: Others) -> float:
    """Factor that brings the median depth (z) of `points` to that of `target`."""
    return float(np.median(target[:, 2]) / np.median(points[:, 2]))


def similarity_fit(source: Points, target: Points) -> Similarity:
    """Similarity that brings paired points nearest to each other (Umeyama 1991).

    With the covariance of target and source = U S V^T, rotation = U D V^T where D turns
    a reflection into a rotation, and scale = trace(S D) / variance of the source.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    spread = source - source_mean
    left, singular, right = np.linalg.svd((target - target_mean).T @ spread)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    variance = float(np.sum(spread**2))
    scale = float(np.sum(singular * sign)) / variance if variance > 0 else 1.0
    return Similarity(rotation, target_mean - scale * rotation @ source_mean, scale)


def rigid_fit(source: Points, target: Points) -> Similarity:
    """Rotation and translation alone that bring paired points nearest to each other."""
    rotation = similarity_fit(source, target).rotation
    return Similarity(rotation, target.mean(0) - rotation @ source.mean(0))


def apply_similarity(similarity: Similarity, points: Points) -> Points:
    """Points carried by a similarity."""
    return similarity.scale * points @ similarity.rotation.T + similarity.translation


def icp(
    points: Points,
    target: Others | KDTree,
    *,
    rounds: int = 100,
    tolerance: float = 1e-6,
) -> Similarity:
    """Rigid motion of `points` onto `target` by iterated closest points.

    Ends when the r.m.s. distance changes by less than `tolerance` of itself. Every
    round refits from the *original* points, so that rounding does not build up.
    """
    tree = target if isinstance(target, KDTree) else KDTree(target)
    moved, motion, last = points, Similarity(np.eye(3), np.zeros(3)), np.inf
    for _ in range(rounds):
        _, index = tree.query(moved)
        motion = rigid_fit(points, np.asarray(tree.data)[index])
        moved = apply_similarity(motion, points)
        error = float(np.sqrt(np.mean((moved - tree.data[index]) ** 2)))
        if abs(last - error) <= tolerance * error:
            break
        last = error
    return motion
