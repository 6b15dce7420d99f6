"""Which triangle of a mesh a pinhole camera sees at every pixel, on the host.

A scanline rasteriser in numpy: triangles become rows, rows become spans of pixels, and
the nearest span wins. Points are in camera space (x right, y down, z forward); pixel
(row i, column j) has its center at (j + 0.5, i + 0.5). 1/z is linear on the screen, so
the depth of a triangle anywhere is that of its *screen plane* (slope x, slope y,
offset).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adreamer_jax.core.shape import Places, points_at
from adreamer_jax.types import Bool, Float, Int

__all__ = [
    "FaceMap",
    "barycentric",
    "depth_map",
    "face_map",
    "project",
    "screen_planes",
    "visible_places",
]

_NEAR = 1e-6  # triangles that reach behind the camera are left out


class FaceMap(NamedTuple):
    """The nearest face at every pixel (-1: none), and all faces' screen planes."""

    face: Int[np.ndarray, "h w"]
    planes: Float[np.ndarray, "m 3"]


def project(
    points: Float[np.ndarray, "*n 3"], intrinsics: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "*n 2"]:
    """Pixels (x, y) of points in camera space."""
    intrinsics = np.asarray(intrinsics)
    return points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:]


def screen_planes(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    intrinsics: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "m 3"]:
    """(a, b, c) with 1/z = a x + b y + c at pixel (x, y); nan where seen edge-on.

    A triangle lies in the plane n . p = d, and p / z = ((x - cx) / fx, (y - cy) / fy,
    1), so 1/z = n . (p / z) / d.
    """
    focal, center = np.asarray(intrinsics)[:2], np.asarray(intrinsics)[2:]
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(second - first, third - first)
    reach = np.sum(normal * first, -1)
    # a plane through the camera's center is seen edge-on: it has no screen plane
    edge_on = np.abs(reach) <= 1e-12 * np.linalg.norm(normal, axis=-1)
    reach = np.where(edge_on | (reach == 0), np.nan, reach)
    slope = normal[:, :2] / focal / reach[:, None]
    offset = normal[:, 2] / reach - slope @ center
    return np.concatenate([slope, offset[:, None]], 1)


def _expand(counts: Int[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """Owner and running number of every item, for owners with `counts` items each."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _rows(
    corners: Float[np.ndarray, "m 3 2"], height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a triangle and a row of pixel centers that crosses it."""
    y = corners[..., 1]
    first = np.clip(np.ceil(y.min(1) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.floor(y.max(1) - 0.5), -1, height - 1).astype(np.int64)
    triangle, step = _expand(np.maximum(last - first + 1, 0))
    return triangle, first[triangle] + step


def _spans(
    corners: Float[np.ndarray, "k 3 2"], row: Int[np.ndarray, "k"], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """First column and number of columns of triangles in one row each."""
    level = row + 0.5
    low, high = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        (x0, y0), (x1, y1) = corners[:, start].T, corners[:, end].T
        rise = np.where(y1 == y0, 1.0, y1 - y0)
        share = (level - y0) / rise
        crosses = (y1 != y0) & (share >= 0) & (share <= 1)
        x = x0 + share * (x1 - x0)
        low = np.where(crosses, np.minimum(low, x), low)
        high = np.where(crosses, np.maximum(high, x), high)
    first = np.ceil(np.clip(low, -1, width + 1) - 0.5).astype(np.int64)
    last = np.floor(np.clip(high, -1, width + 1) - 0.5).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, width - 1)
    return first, np.maximum(last - first + 1, 0)


def face_map(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    intrinsics: Float[np.ndarray, "4"],
    size: tuple[int, int],
) -> FaceMap:
    """The nearest face at every pixel center of a picture of size (height, width)."""
    height, width = size
    planes = screen_planes(vertices, faces, intrinsics)
    front = (vertices[faces, 2] > _NEAR).all(1) & np.isfinite(planes).all(1)
    kept = np.flatnonzero(front)
    safe = np.where(vertices[:, 2:] > _NEAR, vertices, [[0.0, 0.0, 1.0]])
    corners = project(safe, intrinsics)[faces[kept]]
    triangle, row = _rows(corners, height)
    column, count = _spans(corners[triangle], row, width)
    owner, step = _expand(count)
    row, column, plane = row[owner], column[owner] + step, planes[kept[triangle[owner]]]
    nearness = plane[:, 0] * (column + 0.5) + plane[:, 1] * (row + 0.5) + plane[:, 2]
    order = np.argsort(nearness)  # the nearest is written last and stays
    picture = np.full(height * width, -1, np.int64)
    picture[(row * width + column)[order]] = kept[triangle[owner]][order]
    return FaceMap(picture.reshape(height, width), planes)


def depth_map(seen: FaceMap) -> Float[np.ndarray, "h w"]:
    """Depth at every pixel center, infinite where there is no face."""
    row, column = np.indices(seen.face.shape) + 0.5
    planes = np.concatenate([seen.planes, [[0.0, 0.0, 1.0]]])  # the last is for none
    a, b, c = np.moveaxis(planes[seen.face], -1, 0)
    return np.where(seen.face < 0, np.inf, 1 / (a * column + b * row + c))


def barycentric(
    corners: Float[np.ndarray, "k 3 3"], points: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k 3"]:
    """Weights of each point's foot in its triangle's plane; rows sum to one."""
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = points - corners[:, 0]
    a, b, c = (
        np.sum(x * y, -1) for x, y in ((edge1, edge1), (edge1, edge2), (edge2, edge2))
    )
    d, e = np.sum(offset * edge1, -1), np.sum(offset * edge2, -1)
    area = np.maximum(a * c - b * b, np.finfo(float).tiny)
    second, third = (c * d - b * e) / area, (a * e - b * d) / area
    return np.stack([1 - second - third, second, third], -1)


def visible_places(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    places: Places,
    intrinsics: Float[np.ndarray, "4"],
    size: tuple[int, int],
    *,
    gap: float,
    rim: float,
    fine: int = 2,
) -> Bool[np.ndarray, "k"]:
    """Which material points are in the picture with nothing in front of them.

    A point may lie `gap` behind the depth drawn at its pixel, plus as far as its own
    face recedes within one sample, at most `rim`: a picture does not tell apart what is
    nearer than that. `fine` is the number of samples along a pixel's side.
    """
    height, width = size[0] * fine, size[1] * fine
    scaled = np.asarray(intrinsics, float) * fine
    seen = face_map(vertices, faces, scaled, (height, width))
    points = points_at(vertices, faces, places)
    pixel = project(np.where(points[:, 2:] > _NEAR, points, [0, 0, 1]), scaled)
    inside = np.all((pixel >= 0) & (pixel < [width, height]), 1) & (
        points[:, 2] > _NEAR
    )
    front = _drawn_depth(depth_map(seen), np.where(inside[:, None], pixel, 0.0))
    recede = _recession(seen.planes[places.face], points[:, 2])
    return inside & (points[:, 2] <= front + gap + np.minimum(recede, rim))


def _drawn_depth(
    depth: Float[np.ndarray, "h w"], pixel: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, "k"]:
    """Depth at the pixels of points; on an empty one the farthest of its neighbors'.

    A point on the very outline can fall into a pixel whose center the mesh misses.
    """
    padded = np.pad(np.where(np.isfinite(depth), depth, -np.inf), 1, "edge")
    column, row = np.floor(pixel).astype(np.int64).T
    around = [padded[row + i, column + j] for i, j in np.ndindex(3, 3)]
    own = around[4]
    return np.where(np.isfinite(own), own, np.max(around, 0))


def _recession(
    planes: Float[np.ndarray, "k 3"], depth: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "k"]:
    """Change of depth across one sample, z^2 |grad 1/z|; infinite where edge-on."""
    slope = np.linalg.norm(planes[:, :2], axis=-1)
    return depth**2 * np.where(np.isfinite(slope), slope, np.inf)
