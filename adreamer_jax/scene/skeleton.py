"""A skeleton grown from how strongly bones are connected (`skeleton_strength`).

Letters: j and k bones. The graph of the connections holds the limits that keep a
generated motion plausible; its maximum spanning tree is what files need.
Building runs once on the host (numpy); gaps, angles and the loss are differentiable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.core import rigid, rotation
from adreamer_jax.core.shape import vertex_areas
from adreamer_jax.scene.skeleton_strength import (
    bone_features,
    bone_middles,
    coherence,
    edge_contact,
    enclosure,
    soft_contact,
    strengths,
    way_outside,
)
from adreamer_jax.types import Array, Bool, Float, Int, Rigid

__all__ = [
    "Skeleton",
    "build_skeleton",
    "carried_over",
    "joint_angles",
    "joint_excess",
    "joint_gaps",
    "kept_edges",
    "rest_excess",
    "skeleton_loss",
    "spanning_tree",
    "strain",
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
            f"morphology must be 'soft' or 'edge_count', got {morphology!r}"
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
    return _with_limits(skeleton, rest_from_bone, posed_from_rest, widen=widen)


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
    rest_from_bone: Float[np.ndarray, "bones 4 4"],
    posed_from_rest: Float[np.ndarray, "t bones 4 4"],
    *,
    widen: float,
) -> Skeleton:
    rest, motion = (
        rigid.from_matrix(jnp.asarray(matrix, jnp.float32))
        for matrix in (rest_from_bone, posed_from_rest)
    )
    gap = np.asarray(joint_gaps(skeleton, rest, motion), float)
    angle = np.asarray(joint_angles(skeleton, motion), float)
    lowest, highest = angle.min(0) * (1 - widen), angle.max(0) * (1 + widen)
    return skeleton._replace(
        gap_limit=gap.max(0) * (1 + widen), angle_range=np.stack([lowest, highest], -1)
    )


def _ends(
    skeleton: Skeleton, rest_from_bone: Rigid
) -> tuple[Float[Array, "edges 3"], Float[Array, "edges 3"]]:
    """Where a joint's two bones hold it at rest: one place, until bones are moved."""
    first, second = (
        rigid.apply(
            _side(rest_from_bone, skeleton, side),
            jnp.asarray(skeleton.joint_in_bone[:, side], jnp.float32),
        )
        for side in range(2)
    )
    return first, second


def joint_gaps(
    skeleton: Skeleton, rest_from_bone: Rigid, posed_from_rest: Rigid
) -> Float[Array, "*b edges"]:
    """Distance between the two places that the motions of a joint's bones carry it to.

    The joint is where the bones hold it now: halfway, where they were moved at rest.
    """
    first, second = _ends(skeleton, rest_from_bone)
    joint, ends = (first + second) / 2, []
    for side in range(2):
        motion = _side(posed_from_rest, skeleton, side)
        place = jnp.broadcast_to(joint, motion.translation.shape)
        ends.append(rigid.apply(motion, place))
    return rotation.safe_norm(ends[0] - ends[1])


def joint_angles(
    skeleton: Skeleton, posed_from_rest: Rigid
) -> Float[Array, "*b edges"]:
    """Angle by which a joint's two bones turn against one another, in [0, pi]."""
    first, second = (_side(posed_from_rest, skeleton, side) for side in range(2))
    return rotation.angle(first.rotation, second.rotation)


def _side(motion: Rigid, skeleton: Skeleton, side: int) -> Rigid:
    bone = skeleton.edges[:, side]
    return jax.tree.map(lambda x: x[..., bone, :], motion)


def joint_excess(
    skeleton: Skeleton, rest_from_bone: Rigid, posed_from_rest: Rigid
) -> tuple[Float[Array, "*b edges"], Float[Array, "*b edges"]]:
    """How far joints open, in diagonals, and turn, in radians, beyond their limits."""
    angle = joint_angles(skeleton, posed_from_rest)
    lowest = jnp.asarray(skeleton.angle_range[:, 0], angle.dtype)
    opened, turned = _beyond(
        skeleton, joint_gaps(skeleton, rest_from_bone, posed_from_rest), angle
    )
    return opened, turned + jnp.maximum(lowest - angle, 0.0)


def rest_excess(
    skeleton: Skeleton, rest_from_bone: Rigid
) -> tuple[Float[Array, "edges"], Float[Array, "edges"]]:
    """How far bones were moved apart and turned at rest beyond the joints' limits.

    Not to be turned at rest is no less than a joint's limits ask, even where the clip
    never shows it so.
    """
    first, second = _ends(skeleton, rest_from_bone)
    one, other = (_side(rest_from_bone, skeleton, side) for side in range(2))
    now = rotation.multiply(rotation.conjugate(one.rotation), other.rotation)
    turn = rotation.angle(jnp.asarray(skeleton.rest_turn, now.dtype), now)
    return _beyond(skeleton, rotation.safe_norm(first - second), turn)


def _beyond(
    skeleton: Skeleton, gap: Float[Array, "*b edges"], angle: Float[Array, "*b edges"]
) -> tuple[Float[Array, "*b edges"], Float[Array, "*b edges"]]:
    opened = jnp.maximum(gap - jnp.asarray(skeleton.gap_limit, gap.dtype), 0.0)
    highest = jnp.asarray(skeleton.angle_range[:, 1], angle.dtype)
    turned = jnp.maximum(angle - highest, 0.0)
    return opened / jnp.asarray(skeleton.diagonal, gap.dtype), turned


def strain(
    skeleton: Skeleton, rest_from_bone: Rigid, posed_from_rest: Rigid
) -> dict[str, float]:
    """What the excesses are on average over frames and edges, by their strength.

    ``open_percent`` of the diagonal and ``turn_deg`` of the motion (`joint_excess`),
    both 0 for the clip's own, and ``rest_open_percent`` and ``rest_turn_deg`` of where
    the bones are at rest (`rest_excess`), both 0 in the body that they come from.
    """
    share = np.asarray(skeleton.edge_strength, float)
    share = share / max(float(share.sum()), 1e-30)
    out = {}
    for name, excess in (
        ("", joint_excess(skeleton, rest_from_bone, posed_from_rest)),
        ("rest_", rest_excess(skeleton, rest_from_bone)),
    ):
        gap, turn = (float(np.mean(np.asarray(x, float) @ share)) for x in excess)
        out[f"{name}open_percent"] = 100.0 * gap
        out[f"{name}turn_deg"] = float(np.degrees(turn))
    return out


def skeleton_loss(
    skeleton: Skeleton,
    rest_from_bone: Rigid,
    posed_from_rest: Rigid,
    *,
    translation: float = 1.0,
    angle: float = 0.1,
) -> Float[Array, ""]:
    """Penalty of joints that open or turn beyond what the clip showed (L_skel).

    Per kept edge, relu(l - l_max)^2 / diagonal^2 for the joint's gap l and
    relu(theta - theta_max)^2 + relu(theta_min - theta)^2 for its angle, averaged over
    frames and over edges weighted by their strength. Once for the motion, and once for
    the bones at rest. Measured together, a body of other proportions would be strain
    that the motion is asked to undo.
    """
    share = jnp.asarray(skeleton.edge_strength, jnp.float32)
    share = share / jnp.maximum(jnp.sum(share), 1e-8)
    total = jnp.zeros(())
    for gap, turn in (
        joint_excess(skeleton, rest_from_bone, posed_from_rest),
        rest_excess(skeleton, rest_from_bone),
    ):
        cost = translation * gap**2 + angle * turn**2
        total = total + jnp.mean(jnp.sum(share * cost, -1))
    return total
