"""How strongly two bones are connected: contact, meaning, motion and the way between.

Letters: p surface points with areas A, j and k bones, W skinning weights, f pooled
semantic features. Two bones are connected as strongly as they share the surface (M),
as they mean the same (S), as their joint stays together in the clip (C) and as the way
from one through it to the other runs inside of the body (I): T = M S C I. All on the
host (numpy), once.
"""

import numpy as np
from scipy.spatial import KDTree

from adreamer_jax.core.shape import mesh_edges, nearest, vertex_normals
from adreamer_jax.types import Bool, Float, Int


def soft_contact(
    areas: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n bones"]
) -> Float[np.ndarray, "bones bones"]:
    """Share of the surface that two bones hold together.

    M_jk = sum A W_j W_k / sqrt(sum A W_j^2 sum A W_k^2), one for a bone with itself.
    """
    shared = (weights * areas[:, None]).T @ weights
    own = np.sqrt(np.maximum(np.diag(shared), 1e-30))
    return np.clip(shared / (own[:, None] * own[None]), 0.0, 1.0)


def edge_contact(
    faces: Int[np.ndarray, "m 3"], weights: Float[np.ndarray, "n bones"]
) -> Float[np.ndarray, "bones bones"]:
    """Hard twin of the soft contact: mesh edges between two bones' regions.

    Every vertex belongs to its strongest bone; counts are in units of the largest.
    """
    owner = weights.argmax(1)[mesh_edges(faces)]
    owner = owner[owner[:, 0] != owner[:, 1]]
    count = np.zeros((weights.shape[1],) * 2)
    np.add.at(count, (owner[:, 0], owner[:, 1]), 1.0)
    count = count + count.T
    return count / max(float(count.max()), 1.0) + np.eye(len(count))


def bone_features(
    areas: Float[np.ndarray, "n"],
    weights: Float[np.ndarray, "n bones"],
    features: Float[np.ndarray, "n f"],
) -> Float[np.ndarray, "bones f"]:
    """Unit mean of the surface features that each bone carries."""
    total = (weights * areas[:, None]).T @ features
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def color_features(
    colors: Float[np.ndarray, "n 3"], *, calm: float = 0.5
) -> Float[np.ndarray, "n 4"]:
    """Colors in the place of features that nothing has taught: a mild witness.

    Deviations from the mean color beside a constant ``calm``, without which opposite
    colors would part a leg from its paw.
    """
    apart = np.asarray(colors, float) - np.mean(colors, axis=0)
    return np.concatenate([apart, np.full((len(apart), 1), calm)], -1)


def coherence(
    joints: Float[np.ndarray, "bones bones 3"],
    posed_from_rest: Float[np.ndarray, "t bones 4 4"],
    *,
    slack: float,
) -> Float[np.ndarray, "bones bones"]:
    """How well the joint of each pair stays together: exp(-(gap / slack)^2).

    The gap is the r.m.s. distance over the frames between the two places to which the
    bones carry their joint. Paws that touch at rest and part in a step are no joint,
    which contact alone cannot tell. A slack of zero asks nothing: all are one.
    """
    if slack <= 0:
        return np.ones(joints.shape[:2])
    turned = np.einsum("tjab,jkb->tjka", posed_from_rest[..., :3, :3], joints)
    place = turned + posed_from_rest[:, :, None, :3, 3]
    square = np.sum((place - place.swapaxes(1, 2)) ** 2, -1).mean(0)
    return np.exp(-square / slack**2)


def bone_middles(
    areas: Float[np.ndarray, "n"],
    weights: Float[np.ndarray, "n bones"],
    vertices: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, "bones 3"]:
    """Middle of the surface that each bone leads: sum A W^2 x / sum A W^2.

    The square keeps to what a bone leads; where it only helps others has little say.
    """
    held = weights**2 * areas[:, None]
    return held.T @ vertices / np.maximum(held.sum(0), 1e-30)[:, None]


def way_outside(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    weights: Float[np.ndarray, "n bones"],
    middles: Float[np.ndarray, "bones 3"],
    joints: Float[np.ndarray, "bones bones 3"],
    posed_from_rest: Float[np.ndarray, "t bones 4 4"],
    *,
    frames: int = 12,
    places: int = 5,
) -> Float[np.ndarray, "bones bones"]:
    """How far the way between each pair of bones leaves the body, r.m.s.

    It goes from one bone's middle to the joint with the one and on to the other's
    middle with the other, ``places`` points on each half, in so many ``frames`` evenly
    over the clip. Counted is the distance from the surface, moved by its bones, of what
    lies outside of it, told by the nearest vertex' normal.
    """
    count = len(middles)
    chosen = np.unique(np.linspace(0, len(posed_from_rest) - 1, frames).astype(int))
    part = ((np.arange(places) + 0.5) / places)[:, None]
    # [j, k]: from the middle of j to the joint with k, which moves with j
    way = middles[:, None, None] + part * (joints - middles[:, None])[:, :, None]
    square = np.zeros((count, count))
    for motion in posed_from_rest[chosen]:
        blend = np.tensordot(weights, motion[:, :3], 1)
        posed = np.einsum("nab,nb->na", blend[..., :3], vertices) + blend[..., 3]
        moved = np.einsum("jab,jksb->jksa", motion[:, :3, :3], way)
        moved = (moved + motion[:, None, None, :3, 3]).reshape(-1, 3)
        distance, index = nearest(moved, KDTree(posed))
        outward = vertex_normals(posed, faces)[index]
        outside = np.sum((moved - posed[index]) * outward, -1) > 0
        square += np.mean(
            np.where(outside, distance**2, 0.0).reshape(count, count, places), -1
        )
    return np.sqrt((square + square.T) / (2 * len(chosen)))


def enclosure(
    outside: Float[np.ndarray, "bones bones"], *, slack: float
) -> Float[np.ndarray, "bones bones"]:
    """How far inside of the body each pair is linked: exp(-(outside / slack)^2).

    A leg that touches the tail at rest is no part of it: the way between them crosses
    the air once they part. A slack of zero asks nothing: all are one.
    """
    if slack <= 0:
        return np.ones_like(outside)
    return np.exp(-np.square(outside / slack))


def strengths(
    contact: Float[np.ndarray, "bones bones"],
    pooled: Float[np.ndarray, "bones f"] | None,
    linked: Float[np.ndarray, "bones bones"],
    alive: Bool[np.ndarray, "bones"],
) -> Float[np.ndarray, "bones bones"]:
    """Connection strength T = M max(0, <f_j, f_k>) L, stretched to [0, 1].

    The product asks all witnesses, ``linked`` for those of the motion (coherence,
    enclosure); without features meaning is not asked.
    """
    alike = 1.0 if pooled is None else np.maximum(pooled @ pooled.T, 0.0)
    pair = alive[:, None] & alive[None] & ~np.eye(len(alive), dtype=bool)
    product = np.where(pair, contact * alike * linked, 0.0)
    if not pair.any():
        return product
    low, high = product[pair].min(), product[pair].max()
    low = low if high > low else 0.0
    return np.where(pair, (product - low) / max(high - low, 1e-30), 0.0)
