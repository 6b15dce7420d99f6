"""A skeleton grown from the bones' contact on the surface and their meaning.

Letters: p surface points with areas A, j and k bones, W skinning weights, f pooled
semantic features. Two bones are connected as strongly as they share the surface (M),
as they mean the same (S), as their joint stays together in the clip (C) and as the way
from one through it to the other runs inside of the body (I): T = M S C I.
The graph of the connections holds the limits that keep a generated motion plausible;
its maximum spanning tree is what files need.
Building runs once on the host (numpy); gaps, angles and the loss are differentiable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from adreamer_jax.core import rigid, rotation
from adreamer_jax.core.shape import nearest, vertex_normals
from adreamer_jax.types import Array, Bool, Float, Int, Rigid

__all__ = [
    "Skeleton",
    "bone_features",
    "bone_middles",
    "build_skeleton",
    "carried_over",
    "coherence",
    "color_features",
    "edge_contact",
    "enclosure",
    "joint_angles",
    "joint_gaps",
    "kept_edges",
    "mesh_edges",
    "skeleton_loss",
    "soft_contact",
    "spanning_tree",
    "strengths",
    "vertex_areas",
    "way_outside",
]


class Skeleton(NamedTuple):
    """Connections between bones, their joints and limits, and the tree for export."""

    mass: Float[np.ndarray, "bones"]  # share of the surface, sums to one
    alive: Bool[np.ndarray, "bones"]  # carries enough of the surface to count
    contact: Float[np.ndarray, "bones bones"]  # M, in [0, 1]
    strength: Float[np.ndarray, "bones bones"]  # T, in [0, 1], no self-connection
    middle: Float[np.ndarray, "bones 3"]  # of the surface that a bone leads, rest pose
    joints: Float[np.ndarray, "bones bones 3"]  # where two bones meet, rest pose
    edges: Int[np.ndarray, "edges 2"]  # kept connections, first < second
    edge_strength: Float[np.ndarray, "edges"]
    joint_in_bone: Float[np.ndarray, "edges 2 3"]  # the joint in both bones' frames
    rest_turn: Float[np.ndarray, "edges 4"]  # rotation first_from_second at rest
    gap_limit: Float[np.ndarray, "edges"]
    angle_range: Float[np.ndarray, "edges 2"]
    parent: Int[np.ndarray, "bones"]  # -1 at the root; every bone is in the tree
    pivot: Float[np.ndarray, "bones 3"]  # joint with the parent; the root's center
    diagonal: Float[np.ndarray, ""]  # of the rest surface's box, to measure gaps by


def vertex_areas(
    vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, "n"]:
    """Area that belongs to each vertex: a third of its triangles."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.reshape(-1), np.repeat(area, 3), len(vertices))


def soft_contact(
    areas: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n bones"]
) -> Float[np.ndarray, "bones bones"]:
    """Share of the surface that two bones hold together.

    M_jk = sum A W_j W_k / sqrt(sum A W_j^2 sum A W_k^2), one for a bone with itself.
    """
    shared = (weights * areas[:, None]).T @ weights
    own = np.sqrt(np.maximum(np.diag(shared), 1e-30))
    return np.clip(shared / (own[:, None] * own[None]), 0.0, 1.0)


def mesh_edges(faces: Int[np.ndarray, "m 3"]) -> Int[np.ndarray, "k 2"]:
    """Every edge of a mesh once, its first vertex before its second."""
    sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return np.unique(np.sort(sides, axis=1), axis=0)


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


def kept_edges(
    contact: Float[np.ndarray, "bones bones"],
    alive: Bool[np.ndarray, "bones"],
    *,
    threshold: float = 0.25,
    floor: float = 1e-3,
) -> Int[np.ndarray, "edges 2"]:
    """Pairs whose contact exceeds a share of the median contact.

    Soft weights never quite vanish, so pairs below ``floor`` count as not touching:
    without it the median of many invisible contacts would keep nearly all pairs.
    """
    first, second = np.triu_indices(len(alive), 1)
    value = contact[first, second] * (alive[first] & alive[second])
    touching = value[value > floor]
    limit = max(threshold * np.median(touching), floor) if len(touching) else np.inf
    keep = value > limit
    return np.stack([first[keep], second[keep]], -1)


def spanning_tree(
    strength: Float[np.ndarray, "bones bones"], root: int
) -> Int[np.ndarray, "bones"]:
    """Parent of each bone in the maximum spanning tree (Prim), -1 at the root."""
    parent = np.full(len(strength), -1)
    link, best = np.full(len(strength), root), strength[root].astype(float)
    outside = np.arange(len(strength)) != root
    while outside.any():
        child = int(np.argmax(np.where(outside, best, -np.inf)))
        parent[child], outside[child] = link[child], False
        nearer = strength[child] > best
        link, best = (
            np.where(nearer, child, link),
            np.where(nearer, strength[child], best),
        )
    return parent


def _tree(
    strength: Float[np.ndarray, "bones bones"],
    contact: Float[np.ndarray, "bones bones"],
    centers: Float[np.ndarray, "bones 3"],
    mass: Float[np.ndarray, "bones"],
    alive: Bool[np.ndarray, "bones"],
) -> Int[np.ndarray, "bones"]:
    # Nearness decides between bones that do not touch, so the tree always spans; a
    # bone that carries next to nothing hangs as a leaf where it touches most.
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    near = 1.0 - apart / max(float(apart.max()), 1e-12)
    living = np.flatnonzero(alive)
    score = (strength + 1e-6 * near)[np.ix_(living, living)]
    root = int(np.argmax((strength @ mass)[living]))
    parent = np.full(len(alive), -1)
    above = spanning_tree(score, root)
    parent[living] = np.where(above < 0, -1, living[above])
    for dead in np.flatnonzero(~alive):
        parent[dead] = living[np.argmax((contact + 1e-6 * near)[dead, living])]
    return parent


def _joints(
    areas: Float[np.ndarray, "n"],
    weights: Float[np.ndarray, "n bones"],
    vertices: Float[np.ndarray, "n 3"],
    centers: Float[np.ndarray, "bones 3"],
) -> Float[np.ndarray, "bones bones 3"]:
    # p_jk = sum A W_j W_k x / sum A W_j W_k; halfway where two bones do not touch.
    held = weights * areas[:, None]
    total = held.T @ weights
    moment = np.stack(
        [(held * vertices[:, i : i + 1]).T @ weights for i in range(3)], -1
    )
    halfway = (centers[:, None] + centers[None]) / 2
    touch = (total > 1e-12 * max(float(areas.sum()), 1e-30))[..., None]
    return np.where(touch, moment / np.where(touch, total[..., None], 1.0), halfway)


def build_skeleton(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    weights: Float[np.ndarray, "n bones"],
    features: Float[np.ndarray, "n f"] | None,
    rest_from_bone: Float[np.ndarray, "bones 4 4"],
    posed_from_rest: Float[np.ndarray, "t bones 4 4"],
    *,
    morphology: str = "soft",
    dead_share: float = 0.005,
    threshold: float = 0.25,
    widen: float = 0.1,
    slack: float = 0.05,
    outside: float = 0.01,
) -> Skeleton:
    """Skeleton of a skinned rest surface, with the limits seen in its frames.

    ``morphology`` is "soft" (shared surface) or "edge_count" (mesh edges between the
    bones' regions); observed limits are widened by the share ``widen``. ``slack`` is
    the opening of a joint, in diagonals of the rest box, that takes away two
    thirds of a connection's strength, ``outside`` how far its way may leave the body
    for the same; zero for both leaves the paper's two witnesses, contact and meaning.
    """
    if morphology not in ("soft", "edge_count"):
        raise ValueError(
            f"morphology must be 'soft' or 'edge_count', got {morphology!r}; "
            "change scene.skeleton.morphology"
        )
    vertices, weights = np.asarray(vertices, float), np.asarray(weights, float)
    areas = vertex_areas(vertices, faces)
    mass = areas @ weights / max(float(areas.sum()), 1e-30)
    alive = mass >= min(dead_share, float(mass.max()))
    soft = soft_contact(areas, weights)
    contact = soft if morphology == "soft" else edge_contact(faces, weights)
    pooled = None if features is None else bone_features(areas, weights, features)
    centers = np.asarray(rest_from_bone, float)[:, :3, 3]
    joints = _joints(areas, weights, vertices, centers)
    diagonal = np.linalg.norm(np.ptp(vertices, axis=0))
    posed_from_rest = np.asarray(posed_from_rest, float)
    middle = bone_middles(areas, weights, vertices)
    linked = coherence(joints, posed_from_rest, slack=slack * float(diagonal))
    body = vertices, faces, weights, middle, joints, posed_from_rest
    linked *= enclosure(way_outside(*body), slack=outside * float(diagonal))
    strength = strengths(contact, pooled, linked, alive)
    parent = _tree(strength, contact, centers, mass, alive)
    edges = kept_edges(contact, alive, threshold=threshold)
    first, second = edges.T
    skeleton = Skeleton(
        mass=mass,
        alive=alive,
        contact=contact,
        strength=strength,
        middle=middle,
        joints=joints,
        edges=edges,
        edge_strength=strength[first, second],
        joint_in_bone=_in_bones(rest_from_bone, joints, edges),
        rest_turn=_turn(np.asarray(rest_from_bone, float), edges),
        gap_limit=np.zeros(len(edges)),
        angle_range=np.zeros((len(edges), 2)),
        parent=parent,
        pivot=_pivots(joints, centers, parent),
        diagonal=np.asarray(diagonal),
    )
    return _with_limits(skeleton, posed_from_rest @ rest_from_bone, widen=widen)


def carried_over(
    skeleton: Skeleton,
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    weights: Float[np.ndarray, "n bones"],
    rest_from_bone: Float[np.ndarray, "bones 4 4"],
    *,
    dead_share: float = 0.005,
) -> Skeleton:
    """The same connections, tree and limits in another body on the same bones.

    Joints, contacts and the share of the surface that a bone carries are those of the
    new surface.
    """
    vertices, weights = np.asarray(vertices, float), np.asarray(weights, float)
    areas = vertex_areas(vertices, faces)
    mass = areas @ weights / max(float(areas.sum()), 1e-30)
    centers = np.asarray(rest_from_bone, float)[:, :3, 3]
    joints = _joints(areas, weights, vertices, centers)
    return skeleton._replace(
        mass=mass,
        alive=mass >= min(dead_share, float(mass.max())),
        contact=soft_contact(areas, weights),
        middle=bone_middles(areas, weights, vertices),
        joints=joints,
        joint_in_bone=_in_bones(rest_from_bone, joints, skeleton.edges),
        rest_turn=_turn(np.asarray(rest_from_bone, float), skeleton.edges),
        pivot=_pivots(joints, centers, skeleton.parent),
        diagonal=np.asarray(np.linalg.norm(np.ptp(vertices, axis=0))),
    )


def _pivots(
    joints: Float[np.ndarray, "bones bones 3"],
    centers: Float[np.ndarray, "bones 3"],
    parent: Int[np.ndarray, "bones"],
) -> Float[np.ndarray, "bones 3"]:
    bones = np.arange(len(parent))
    return np.where(parent[:, None] < 0, centers, joints[bones, parent])


def _in_bones(
    rest_from_bone: Float[np.ndarray, "bones 4 4"],
    joints: Float[np.ndarray, "bones bones 3"],
    edges: Int[np.ndarray, "edges 2"],
) -> Float[np.ndarray, "edges 2 3"]:
    meeting = joints[edges[:, 0], edges[:, 1]]
    meeting = np.concatenate([meeting, np.ones((len(edges), 1))], -1)
    bone_from_rest = np.linalg.inv(rest_from_bone)
    return np.einsum("eaij,ej->eai", bone_from_rest[edges], meeting)[..., :3]


def _turn(
    rest_from_bone: Float[np.ndarray, "bones 4 4"], edges: Int[np.ndarray, "edges 2"]
) -> Float[np.ndarray, "edges 4"]:
    rotation = rest_from_bone[:, :3, :3]
    turn = np.swapaxes(rotation[edges[:, 0]], 1, 2) @ rotation[edges[:, 1]]
    return Rotation.from_matrix(turn).as_quat()[:, [3, 0, 1, 2]]


def _with_limits(
    skeleton: Skeleton,
    posed_from_bone: Float[np.ndarray, "t bones 4 4"],
    *,
    widen: float,
) -> Skeleton:
    pose = rigid.from_matrix(jnp.asarray(posed_from_bone, jnp.float32))
    gap = np.asarray(joint_gaps(skeleton, pose), float)
    angle = np.asarray(joint_angles(skeleton, pose), float)
    lowest, highest = angle.min(0) * (1 - widen), angle.max(0) * (1 + widen)
    return skeleton._replace(
        gap_limit=gap.max(0) * (1 + widen), angle_range=np.stack([lowest, highest], -1)
    )


def joint_gaps(skeleton: Skeleton, object_from_bone: Rigid) -> Float[Array, "*b edges"]:
    """Distance between the two places that a joint's two bones carry it to."""
    ends = []
    for side in range(2):
        motion = _side(object_from_bone, skeleton, side)
        place = jnp.asarray(skeleton.joint_in_bone[:, side], jnp.float32)
        place = jnp.broadcast_to(place, motion.translation.shape)
        ends.append(rigid.apply(motion, place))
    return rotation.safe_norm(ends[0] - ends[1])


def joint_angles(
    skeleton: Skeleton, object_from_bone: Rigid
) -> Float[Array, "*b edges"]:
    """Angle between a joint's relative rotation now and at rest, in [0, pi]."""
    first, second = (_side(object_from_bone, skeleton, side) for side in range(2))
    now = rotation.multiply(rotation.conjugate(first.rotation), second.rotation)
    rest = jnp.asarray(skeleton.rest_turn, jnp.float32)
    return rotation.angle(jnp.broadcast_to(rest, now.shape), now)


def _side(object_from_bone: Rigid, skeleton: Skeleton, side: int) -> Rigid:
    bone = skeleton.edges[:, side]
    return jax.tree.map(lambda x: x[..., bone, :], object_from_bone)


def joint_excess(
    skeleton: Skeleton, object_from_bone: Rigid
) -> tuple[Float[Array, "*b edges"], Float[Array, "*b edges"]]:
    """How far joints open, in diagonals, and turn, in radians, beyond their limits."""
    gap = joint_gaps(skeleton, object_from_bone)
    open_ = jnp.maximum(gap - jnp.asarray(skeleton.gap_limit, gap.dtype), 0.0)
    theta = joint_angles(skeleton, object_from_bone)
    lowest, highest = jnp.asarray(skeleton.angle_range, theta.dtype).T
    turned = jnp.maximum(theta - highest, 0.0) + jnp.maximum(lowest - theta, 0.0)
    return open_ / jnp.asarray(skeleton.diagonal, gap.dtype), turned


def strain(skeleton: Skeleton, object_from_bone: Rigid) -> dict[str, float]:
    """What `joint_excess` is on average over frames and edges, by their strength.

    ``open_percent`` of the diagonal and ``turn_deg``, both 0 for the clip's own motion.
    """
    share = np.asarray(skeleton.edge_strength, float)
    share = share / max(float(share.sum()), 1e-30)
    gap, turn = (
        float(np.mean(np.asarray(excess, float) @ share))
        for excess in joint_excess(skeleton, object_from_bone)
    )
    return {"open_percent": 100.0 * gap, "turn_deg": float(np.degrees(turn))}


def skeleton_loss(
    skeleton: Skeleton,
    object_from_bone: Rigid,
    *,
    translation: float = 1.0,
    angle: float = 0.1,
) -> Float[Array, ""]:
    """Penalty of joints that open or turn beyond what the clip showed (L_skel).

    Per kept edge, relu(l - l_max)^2 / diagonal^2 for the joint's gap l and
    relu(theta - theta_max)^2 + relu(theta_min - theta)^2 for its angle, averaged over
    frames and over edges weighted by their strength.
    """
    gap, turn = joint_excess(skeleton, object_from_bone)
    cost = translation * gap**2 + angle * turn**2
    share = jnp.asarray(skeleton.edge_strength, gap.dtype)
    return jnp.mean(jnp.sum(share * cost, -1)) / jnp.maximum(jnp.sum(share), 1e-8)
