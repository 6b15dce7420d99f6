"""An asset's rig as JSON: bones, tree, joints, connections, limits and motion.

For programs that want the numbers themselves; object space, y up, wxyz, radians.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.run.files import write_text
from adreamer_jax.run.joints import bone_name, continuous
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset

__all__ = ["rig", "write_rig"]


def _round(array: Any) -> Any:
    return np.round(np.asarray(array, np.float64), 6).tolist()


def _bones(asset: Asset, skeleton: Skeleton) -> list[dict]:
    return [
        {
            "name": bone_name(bone),
            "parent": None if parent < 0 else bone_name(parent),
            "alive": bool(skeleton.alive[bone]),
            "surface_share": _round(skeleton.mass[bone]),
            "joint": _round(skeleton.pivot[bone]),
            "rest_from_bone": _round(asset.rest_from_bone[bone]),
        }
        for bone, parent in enumerate(skeleton.parent)
    ]


def _connections(skeleton: Skeleton) -> list[dict]:
    rows = []
    for edge, (first, second) in enumerate(skeleton.edges):
        related = (skeleton.parent[first] == second, skeleton.parent[second] == first)
        rows.append(
            {
                "bones": [bone_name(first), bone_name(second)],
                "strength": _round(skeleton.edge_strength[edge]),
                "contact": _round(skeleton.contact[first, second]),
                "joint": _round(skeleton.joints[first, second]),
                "largest_gap": _round(skeleton.gap_limit[edge]),
                "angle_range": _round(skeleton.angle_range[edge]),
                "in_tree": bool(any(related)),
            }
        )
    return rows


def rig(asset: Asset, skeleton: Skeleton, error: dict[str, float]) -> dict:
    """Content of rig.json; ``error`` is what four linear weights cost (write_gltf)."""
    matrix = np.asarray(asset.posed_from_rest, np.float64)
    turn = Rotation.from_matrix(matrix[..., :3, :3].reshape(-1, 3, 3)).as_quat()
    turn = turn[:, [3, 0, 1, 2]].reshape(*matrix.shape[:2], 4)
    motion = {
        "rotation": _round(continuous(turn)),
        "translation": _round(matrix[..., :3, 3]),
    }
    return {
        "version": 1,
        "name": asset.name,
        "fps": float(asset.fps),
        "num_frames": len(matrix),
        "bones": _bones(asset, skeleton),
        "connections": _connections(skeleton),
        "strength": _round(skeleton.strength),
        "skinning_error": error,
        "posed_from_rest": motion,
    }


def write_rig(
    asset: Asset, skeleton: Skeleton, error: dict[str, float], path: Path
) -> Path:
    """The path of rig.json."""
    return write_text(path, json.dumps(rig(asset, skeleton, error)) + "\n")
