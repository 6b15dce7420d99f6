"""An asset's motion as a BVH file, for tools that read motion capture.

Learned bones are not hinged: every joint has six channels, its position relative to the
parent (offset included) and its rotation R = Rz Rx Ry in degrees.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.run.files import write_text
from adreamer_jax.run.joints import JointTree, bone_name
from adreamer_jax.types import Float

__all__ = ["write_bvh"]

_CHANNELS = "Xposition Yposition Zposition Zrotation Xrotation Yrotation"


def write_bvh(
    tree: JointTree, tips: Float[np.ndarray, "joints 3"], fps: float, path: Path
) -> Path:
    """The path of a BVH file of a joint tree; leaves end at their ``tips``."""
    lines = ["HIERARCHY"]
    root = int(np.flatnonzero(tree.parent < 0)[0])
    _joint(tree, tips, root, 0, lines)
    lines += ["MOTION", f"Frames: {len(tree.rotation)}", f"Frame Time: {1 / fps:.8f}"]
    turn = Rotation.from_quat(tree.rotation[..., [1, 2, 3, 0]].reshape(-1, 4))
    angle = turn.as_euler("ZXY").reshape(*tree.rotation.shape[:2], 3)
    angle = np.degrees(np.unwrap(angle, axis=0))
    rows = np.concatenate([tree.translation, angle], -1).reshape(len(angle), -1)
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    return write_text(path, "\n".join(lines) + "\n")


def _joint(
    tree: JointTree,
    tips: Float[np.ndarray, "joints 3"],
    joint: int,
    depth: int,
    lines: list[str],
) -> None:
    # Depth first, the order in which the joints are numbered and the rows are written.
    pad, kind = "\t" * depth, "ROOT" if depth == 0 else "JOINT"
    lines += [f"{pad}{kind} {bone_name(tree.bones[joint])}", f"{pad}{{"]
    lines += [f"{pad}\tOFFSET {_numbers(tree.offset[joint])}"]
    lines += [f"{pad}\tCHANNELS 6 {_CHANNELS}"]
    below = np.flatnonzero(tree.parent == joint)
    for child in below:
        _joint(tree, tips, int(child), depth + 1, lines)
    if not len(below):
        end = _numbers(tips[joint] - tree.place[joint])
        lines += [
            f"{pad}\tEnd Site",
            f"{pad}\t{{",
            f"{pad}\t\tOFFSET {end}",
            f"{pad}\t}}",
        ]
    lines.append(f"{pad}}}")


def _numbers(vector: Float[np.ndarray, "3"]) -> str:
    return " ".join(f"{value:.6f}" for value in vector)
