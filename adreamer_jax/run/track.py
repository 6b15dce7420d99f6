"""Where points of a picture go: through the model's surface to every frame.

A pixel of one frame is cast onto the model's surface in that frame; the place it hits
(a face and barycentric weights) belongs to the canonical model and is looked up in all
other frames. Points are pixels (x, y) of the clip's pictures, pixel centers at +0.5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from adreamer_jax.core.shape import Places, points_at
from adreamer_jax.core.zbuffer import barycentric, face_map, project
from adreamer_jax.run.files import write_text
from adreamer_jax.run.progress import say
from adreamer_jax.types import (
    Asset,
    Bool,
    Clip,
    Float,
    Int,
    Params,
    System,
    TrainState,
)

__all__ = [
    "MovingMesh",
    "carry",
    "cast",
    "from_asset",
    "read_points",
    "track",
    "tracks_of",
    "write_tracks",
]

FINE = 4  # samples along a pixel's side when a ray is matched to a face
REACH = 0.1  # a ray may miss by this part of the picture's longer side


class MovingMesh(NamedTuple):
    """One mesh in the camera space of every frame."""

    vertices: Float[np.ndarray, "t n 3"]
    faces: Int[np.ndarray, "m 3"]
    intrinsics: Float[np.ndarray, "t 4"]
    size: tuple[int, int]


def from_asset(asset: Asset) -> MovingMesh:
    """The asset's posed surface as each frame's camera sees it."""
    cameras = np.asarray(asset.camera_from_object, float)
    posed = np.asarray(asset.posed_vertices, float)
    turned = np.einsum("tij,tnj->tni", cameras[:, :3, :3], posed)
    return MovingMesh(
        turned + cameras[:, None, :3, 3],
        np.asarray(asset.faces, np.int64),
        np.asarray(asset.intrinsics, float),
        asset.size,
    )


def cast(
    mesh: MovingMesh, frame: int, pixels: Float[np.ndarray, "p 2"], *, reach: float
) -> tuple[Places, Bool[np.ndarray, "p"]]:
    """Places of the surface behind pixels of a frame, and which pixels have one.

    A ray that misses takes the nearest place of the outline, up to `reach` pixels away:
    outlines are never exact, and points near them are the ones people mark.
    """
    vertices, intrinsics = mesh.vertices[frame], mesh.intrinsics[frame] * FINE
    seen = face_map(
        vertices, mesh.faces, intrinsics, (mesh.size[0] * FINE, mesh.size[1] * FINE)
    )
    row, column = np.nonzero(seen.face >= 0)
    if not len(row):
        first_corner = np.tile([1.0, 0.0, 0.0], (len(pixels), 1))
        anything = Places(np.zeros(len(pixels), np.int64), first_corner)
        return anything, np.zeros(len(pixels), bool)
    centers = np.stack([column, row], 1) + 0.5
    miss, index = KDTree(centers).query(pixels * FINE)
    hits = miss <= np.sqrt(0.5)  # inside the sample whose center is covered
    aim = np.where(hits[:, None], pixels * FINE, centers[index])
    face = seen.face[row[index], column[index]]
    weight = _weights(vertices[mesh.faces[face]], seen.planes[face], aim, intrinsics)
    return Places(face, weight), miss <= max(reach, 1.0) * FINE


def _weights(
    corners: Float[np.ndarray, "p 3 3"],
    planes: Float[np.ndarray, "p 3"],
    aim: Float[np.ndarray, "p 2"],
    intrinsics: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "p 3"]:
    """Barycentric weights where rays meet their triangles' planes, kept inside."""
    nearness = np.sum(planes[:, :2] * aim, 1) + planes[:, 2]
    ray = (aim - intrinsics[2:]) / intrinsics[:2]
    points = np.concatenate([ray, np.ones((len(aim), 1))], 1) / nearness[:, None]
    weight = np.clip(barycentric(corners, points), 0, 1)
    return weight / weight.sum(1, keepdims=True)


def carry(
    mesh: MovingMesh, frame: int, pixels: Float[np.ndarray, "p 2"], *, reach: float
) -> Float[np.ndarray, "t p 2"]:
    """Pixels of one frame in every frame; nan where a ray finds no surface."""
    places, found = cast(mesh, frame, np.asarray(pixels, float), reach=reach)
    tracks = np.stack(
        [
            project(points_at(vertices, mesh.faces, places), intrinsics)
            for vertices, intrinsics in zip(mesh.vertices, mesh.intrinsics, strict=True)
        ]
    )
    return np.where(found[:, None], tracks, np.nan)


def tracks_of(
    mesh: MovingMesh,
    points: Mapping[int, Float[np.ndarray, "p 2"]],
    *,
    reach: float | None = None,
) -> dict[int, Float[np.ndarray, "t p 2"]]:
    """Tracks over all frames of points marked in some frames."""
    reach = REACH * max(mesh.size) if reach is None else reach
    return {
        frame: carry(mesh, frame, pixels, reach=reach)
        for frame, pixels in points.items()
    }


# ------------------------------------------------------------------------------ files
def read_points(
    path: str | Path, num_frames: int, size: tuple[int, int]
) -> dict[int, Float[np.ndarray, "p 2"]]:
    """Points of a file {"frames": {"12": [[x, y], ...]}}; mistakes are errors."""
    path = Path(path)
    shape = '{"frames": {"12": [[x, y], ...]}}'
    if not path.is_file():
        raise ValueError(
            f"--points must name a JSON file, got {str(path)!r} which is not there; "
            f"write {shape} into it, pixels of the clip's frames"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {error}; write {shape}") from None
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, dict) or not frames:
        raise ValueError(
            f"{path} must hold at least one frame's points, got "
            f"{json.dumps(content)[:80]}; write {shape}"
        )
    return {
        _frame(name, num_frames, path): _pixels(values, name, size, path)
        for name, values in frames.items()
    }


def _frame(name: str, num_frames: int, path: Path) -> int:
    """A frame's number out of its name."""
    if not (name.isdecimal() and int(name) < num_frames):
        raise ValueError(
            f"frames in {path} must be numbers from 0 to {num_frames - 1}, got "
            f"{name!r}; count the clip's frames from 0"
        )
    return int(name)


def _pixels(
    values: Any, name: str, size: tuple[int, int], path: Path
) -> Float[np.ndarray, "p 2"]:
    """Checked pixel positions of one frame."""
    try:
        pixels = np.asarray(values, float)
    except (TypeError, ValueError):
        pixels = np.zeros(0)
    if pixels.ndim != 2 or pixels.shape[-1] != 2 or not np.isfinite(pixels).all():
        raise ValueError(
            f"points of frame {name} in {path} must be a list of [x, y] pairs of "
            f"finite numbers, got {json.dumps(values)[:80]}; write two numbers a point"
        )
    height, width = size
    outside = np.any((pixels < 0) | (pixels > [width, height]), 1)
    if outside.any():
        raise ValueError(
            f"points of frame {name} in {path} must lie in the picture, 0 to {width} "
            f"across and 0 to {height} down, got {pixels[outside][0].tolist()}; "
            "x comes first, and pixels are those of the clip's frames"
        )
    return pixels


def write_tracks(
    tracks: Mapping[int, Float[np.ndarray, "t p 2"]], path: str | Path
) -> Path:
    """Write {"12": {"0": [[x, y], ...]}}; null where a point found no surface."""
    content = {
        str(source): {
            str(target): [
                [round(float(x), 3), round(float(y), 3)] if np.isfinite(x) else None
                for x, y in points
            ]
            for target, points in enumerate(path_of)
        }
        for source, path_of in tracks.items()
    }
    return write_text(Path(path), json.dumps(content) + "\n")


def track(
    system: System,
    state: TrainState,
    frozen: Params,
    clip: Clip,
    points: str | Path,
    workdir: str | Path,
) -> Path:
    """Carry a file's points through a trained model and write track.json."""
    wanted = read_points(points, len(clip.masks), clip.masks.shape[1:3])
    mesh = from_asset(system.asset(state, frozen))
    path = write_tracks(tracks_of(mesh, wanted), Path(workdir) / "track.json")
    say(f"tracks of {sum(map(len, wanted.values()))} points: {path}")
    return path
