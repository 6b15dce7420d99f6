"""A pose set by hand: a turn and a shift a bone, carried down the skeleton.

The file names bones: ``{"bone_03": {"rotation": [0, 0, 30], ...}}``
with a rotation vector in degrees and a shift in units of the model, both in object
axes. A bone turns about the joint with its parent and takes along all that hangs on it.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from adreamer_jax.run.export import asset_skeleton, write_asset
from adreamer_jax.run.files import replacing, write_text
from adreamer_jax.run.joints import bone_name, linear_blend
from adreamer_jax.run.mesh_picture import carried, framed, mesh_pictures, turned
from adreamer_jax.run.ply import write_ply
from adreamer_jax.run.progress import say
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset, Float

__all__ = [
    "bent",
    "hand_pose",
    "pose_asset",
    "pose_of",
    "posed_from_rest",
    "read_pose",
    "write_pose",
]

_SIDE = 320  # of the picture's four views, in pixels


def read_pose(path: str | Path, *, bones: int) -> Float[np.ndarray, "bones 6"]:
    """Rotation vector (radians) and shift of every bone; zero where none is named."""
    out = np.zeros((bones, 6))
    names = {bone_name(bone): bone for bone in range(bones)}
    for name, change in _content(Path(path)).items():
        if name not in names:
            raise ValueError(
                f"a bone of {path} must be one of {bone_name(0)} to "
                f"{bone_name(bones - 1)}, got {name}; rig.json lists them"
            )
        out[names[name], :3] = np.radians(_three(change, "rotation", name, path))
        out[names[name], 3:] = _three(change, "translation", name, path)
    return out


def _content(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be JSON, got '{error}'; correct it") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold an object of bones, got {type(content).__name__}; write "
            '{"bone_03": {"rotation": [0, 0, 30]}}'
        )
    return content


def _three(change: Any, key: str, name: str, path: str | Path) -> np.ndarray:
    """Three finite numbers of a bone's change; zeros where it does not say."""
    value = change.get(key, (0.0, 0.0, 0.0)) if isinstance(change, dict) else change
    try:
        row = np.asarray(value, float)
    except (TypeError, ValueError):
        row = np.zeros(0)
    known = isinstance(change, dict) and not set(change) - {"rotation", "translation"}
    if not known or row.shape != (3,) or not np.isfinite(row).all():
        raise ValueError(
            f"{name} of {path} must have rotation and translation of three numbers, "
            f'got {change!r}; write {{"rotation": [0, 0, 30]}}'
        )
    return row


def posed_from_rest(
    skeleton: Skeleton, pose: Float[np.ndarray, "bones 6"]
) -> Float[np.ndarray, "bones 4 4"]:
    """Motion of every bone: its own about its joint, then that of its parent."""
    own = np.tile(np.eye(4), (len(pose), 1, 1))
    own[:, :3, :3] = Rotation.from_rotvec(pose[:, :3]).as_matrix()
    pivot = np.asarray(skeleton.pivot, float)
    turned = np.einsum("bij,bj->bi", own[:, :3, :3], pivot)
    own[:, :3, 3] = pivot - turned + pose[:, 3:]
    whole: dict[int, np.ndarray] = {}

    def motion(bone: int) -> np.ndarray:
        if bone not in whole:
            above = int(skeleton.parent[bone])
            whole[bone] = own[bone] if above < 0 else motion(above) @ own[bone]
        return whole[bone]

    return np.stack([motion(bone) for bone in range(len(pose))])


def bent(
    asset: Asset, posed_from_rest: Float[np.ndarray, "bones 4 4"]
) -> Float[np.ndarray, "n 3"]:
    """The rest surface, moved by its bones."""
    every = np.broadcast_to(np.arange(asset.weights.shape[1]), asset.weights.shape)
    return linear_blend(asset.vertices, every, asset.weights, posed_from_rest)


def pose_of(
    skeleton: Skeleton, motion: Float[np.ndarray, "bones 4 4"]
) -> Float[np.ndarray, "bones 6"]:
    """The pose that gives every bone its motion: the inverse of ``posed_from_rest``."""
    parent, pivot = np.asarray(skeleton.parent), np.asarray(skeleton.pivot, float)
    above = np.where(parent[:, None, None] < 0, np.eye(4), motion[parent])
    own = np.linalg.inv(above) @ motion
    turned = np.einsum("bij,bj->bi", own[:, :3, :3], pivot)
    turn = Rotation.from_matrix(own[:, :3, :3]).as_rotvec()
    return np.concatenate([turn, own[:, :3, 3] - pivot + turned], axis=1)


def write_pose(path: Path, pose: Float[np.ndarray, "bones 6"]) -> None:
    """Write a pose file that ``read_pose`` reads, the bones that move alone."""
    content = {}
    for bone, row in enumerate(
        np.concatenate([np.degrees(pose[:, :3]), pose[:, 3:]], 1)
    ):
        if np.abs(row).max() > 1e-9:
            turn, shift = np.round(row[:3], 6).tolist(), np.round(row[3:], 8).tolist()
            content[bone_name(bone)] = {"rotation": turn, "translation": shift}
    write_text(path, json.dumps(content, indent=1) + "\n")


def pose_asset(
    asset: Asset, skeleton: Skeleton, pose: Float[np.ndarray, "bones 6"]
) -> Asset:
    """The asset with one frame, in the given pose, blended as players blend it."""
    motion = posed_from_rest(skeleton, pose)
    vertices = bent(asset, motion)
    middle = len(asset.camera_from_object) // 2
    return dataclasses.replace(
        asset,
        posed_from_rest=motion[None].astype(np.float32),
        posed_vertices=vertices[None].astype(np.float32),
        camera_from_object=asset.camera_from_object[middle : middle + 1],
        intrinsics=asset.intrinsics[middle : middle + 1],
    )


def hand_pose(
    asset: Asset,
    path: str | Path,
    workdir: Path,
    stage: str,
    *,
    kept: Skeleton | None = None,
) -> Path:
    """The folder that holds the model in the pose of a file: mesh, GLB and picture."""
    skeleton = asset_skeleton(asset, kept)
    pose = read_pose(path, bones=len(asset.rest_from_bone))
    posed = pose_asset(asset, skeleton, pose)
    folder = Path(workdir) / "export" / stage / f"pose_{Path(path).stem}"
    write_asset(posed, skeleton, folder)
    write_ply(folder / "posed.ply", posed.posed_vertices[0], asset.faces, asset.colors)
    with replacing(folder / "posed.png") as part:
        Image.fromarray(picture(posed)).save(part)
    say(f"the posed model: {folder}")
    return folder


def picture(posed: Asset) -> np.ndarray:
    """The first frame's pose from four sides, in one row."""
    vertices = np.asarray(posed.posed_vertices[0], np.float64)
    size, center = (_SIDE, _SIDE), (vertices.min(0) + vertices.max(0)) / 2
    start = np.asarray(posed.camera_from_object[0], np.float64)
    camera, intrinsics = framed(start, vertices, size)
    row = []
    for angle in np.arange(4) * np.pi / 2:
        local = carried(turned(camera, angle, center), vertices)
        row += mesh_pictures(local, posed.faces, [posed.colors], intrinsics, size)
    return np.concatenate(row, axis=1)
