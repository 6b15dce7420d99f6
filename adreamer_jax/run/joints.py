"""An asset's bones as the joint tree that animation tools understand.

A joint stands where its bone meets its parent and is aligned with object space at
rest. A rest pose is then offsets alone, and ``posed_from_joint`` carries the bone's
rigid motion exactly: posed_from_joint @ joint_from_rest = posed_from_rest. Tools blend
four bones a vertex, linearly; what that costs is measured here.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset, Float, Int

__all__ = [
    "JointTree",
    "bone_name",
    "continuous",
    "joint_tree",
    "linear_blend",
    "skinning_error",
    "top_weights",
]


class JointTree(NamedTuple):
    """Joints, parents before children, and their motion relative to the parent."""

    bones: Int[np.ndarray, "joints"]  # which bone each joint moves
    parent: Int[np.ndarray, "joints"]  # index of a joint, -1 at the root
    place: Float[np.ndarray, "joints 3"]  # at rest, object space
    offset: Float[np.ndarray, "joints 3"]  # at rest, from the parent
    rotation: Float[np.ndarray, "t joints 4"]  # wxyz, continuous over time
    translation: Float[np.ndarray, "t joints 3"]


def bone_name(bone: int) -> str:
    """Name of a bone in every file."""
    return f"bone_{int(bone):02d}"


def joint_tree(asset: Asset, skeleton: Skeleton, *, used: float = 0.05) -> JointTree:
    """Joint tree of the bones that some vertex follows by at least the share ``used``.

    A bone that moves nothing but carries others stays, so the tree keeps its shape.
    """
    bones = _visible(asset.weights, skeleton.parent, used)
    slot = {int(bone): i for i, bone in enumerate(bones)}
    parent = np.array([slot.get(int(skeleton.parent[b]), -1) for b in bones])
    place = skeleton.pivot[bones]
    posed = np.asarray(asset.posed_from_rest, np.float64)[:, bones]
    posed_from_joint = posed.copy()
    posed_from_joint[..., :3, 3] += np.einsum("tjab,jb->tja", posed[..., :3, :3], place)
    above = np.where(parent[:, None, None] < 0, np.eye(4), posed_from_joint[:, parent])
    local = np.linalg.inv(above) @ posed_from_joint
    quaternion = Rotation.from_matrix(local[..., :3, :3].reshape(-1, 3, 3)).as_quat()
    quaternion = quaternion[:, [3, 0, 1, 2]].reshape(*local.shape[:2], 4)
    return JointTree(
        bones=bones,
        parent=parent,
        place=place,
        offset=place - np.where(parent[:, None] < 0, 0.0, place[parent]),
        rotation=continuous(quaternion),
        translation=local[..., :3, 3],
    )


def _visible(
    weights: Float[np.ndarray, "n bones"], parent: Int[np.ndarray, "..."], used: float
) -> Int[np.ndarray, "..."]:
    # Depth first, so that a hierarchy can be written in one pass.
    needed = weights.max(0) >= min(used, float(weights.max()))
    for bone in range(len(parent)):
        above = parent[bone]
        while needed[bone] and above >= 0:
            needed[above], above = True, parent[above]
    order, stack = [], list(np.flatnonzero(parent < 0))
    while stack:
        bone = stack.pop()
        order.append(bone)
        stack += list(np.flatnonzero(parent == bone)[::-1])
    return np.array([bone for bone in order if needed[bone]], np.int64)


def continuous(rotation: Float[np.ndarray, "t *b 4"]) -> Float[np.ndarray, "t *b 4"]:
    """The same rotations with signs chosen so that neighbors in time are near.

    q and -q are one rotation, but players interpolate the numbers.
    """
    dot = np.sum(rotation[1:] * rotation[:-1], -1)
    flip = np.cumprod(np.where(dot < 0, -1.0, 1.0), axis=0)
    sign = np.concatenate([np.ones((1, *flip.shape[1:])), flip])
    return rotation * sign[..., None]


def top_weights(
    weights: Float[np.ndarray, "n joints"], *, count: int = 4
) -> tuple[Int[np.ndarray, "n count"], Float[np.ndarray, "n count"]]:
    """The strongest joints of every vertex and their weights, summing to one again.

    An unused place has weight zero and names joint zero, as glTF asks.
    """
    full = np.zeros((len(weights), max(count, weights.shape[1])))
    full[:, : weights.shape[1]] = weights
    index = np.argsort(-full, axis=1, kind="stable")[:, :count]
    value = np.take_along_axis(full, index, axis=1)
    value = np.where(value < 1e-4 * value[:, :1], 0.0, value)
    value = value / np.maximum(value.sum(1, keepdims=True), 1e-30)
    return np.where(value > 0, index, 0), value


def linear_blend(
    vertices: Float[np.ndarray, "n 3"],
    index: Int[np.ndarray, "n k"],
    weights: Float[np.ndarray, "n k"],
    posed_from_rest: Float[np.ndarray, "joints 4 4"],
) -> Float[np.ndarray, "n 3"]:
    """Vertices moved by linear blend skinning, as glTF players do it."""
    blend = np.einsum("nk,nkij->nij", weights, posed_from_rest[index, :3])
    return np.einsum("nij,nj->ni", blend[..., :3], vertices) + blend[..., 3]


def skinning_error(asset: Asset, tree: JointTree) -> dict[str, float]:
    """How far exported vertices lie from the model's own, in % of the rest box's side.

    The difference holds both the weights left out and linear blending.
    """
    index, weights = top_weights(asset.weights[:, tree.bones])
    side = float(np.ptp(asset.vertices, axis=0).max())
    error = []
    for frame, own in enumerate(asset.posed_vertices):
        motion = asset.posed_from_rest[frame][tree.bones]
        moved = linear_blend(asset.vertices, index, weights, motion)
        error.append(np.linalg.norm(moved - own, axis=1))
    percent = 100 * np.stack(error) / max(side, 1e-12)
    return {"mean_percent": float(percent.mean()), "max_percent": float(percent.max())}
