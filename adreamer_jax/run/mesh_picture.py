"""Shaded pictures of meshes on the host: fast, for turntables and part colors.

A z-buffer finds the face at every sample, colors and normals are interpolated, and two
lights that travel with the camera shade them. Colors are sRGB.
"""

import colorsys
from collections.abc import Sequence

import numpy as np

from adreamer_jax.core import zbuffer
from adreamer_jax.core.shape import vertex_normals
from adreamer_jax.types import Float, Int

__all__ = [
    "carried",
    "framed",
    "mesh_pictures",
    "palette",
    "part_colors",
    "turned",
]

_KEY = np.array([-0.45, -0.7, -0.55]) / np.linalg.norm([-0.45, -0.7, -0.55])
_FILL = np.array([0.8, -0.1, -0.6]) / np.linalg.norm([0.8, -0.1, -0.6])
_AMBIENT, _KEY_SHARE, _FILL_SHARE = 0.5, 0.5, 0.15  # a surface facing the key shows 1


def palette(count: int) -> Float[np.ndarray, "count 3"]:
    """Colors for parts that are easy to tell apart, the same for the same number."""
    # steps by the golden section never come near an earlier hue soon
    light = (0.58, 0.42, 0.72, 0.5, 0.64)
    rows = [
        colorsys.hls_to_rgb((0.61803399 * i) % 1.0, light[i % len(light)], 0.72)
        for i in range(count)
    ]
    return np.array(rows).reshape(-1, 3)


def part_colors(weights: Float[np.ndarray, "n bones"]) -> Float[np.ndarray, "n 3"]:
    """Vertex colors that blend the bones' palette by the skinning weights."""
    return np.clip(weights @ palette(weights.shape[1]), 0.0, 1.0)


def carried(
    matrix: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Points moved by a 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def turned(
    camera_from_object: Float[np.ndarray, "4 4"],
    angle: float,
    center: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "4 4"]:
    """The camera walked about the vertical axis through ``center`` by an angle.

    A positive angle brings it to where the object's own +x side was from +z.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.eye(4)
    turn[:3, :3] = [[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]
    turn[:3, 3] = center - turn[:3, :3] @ center
    return np.asarray(camera_from_object, np.float64) @ turn


def framed(
    camera_from_object: Float[np.ndarray, "4 4"],
    points: Float[np.ndarray, "n 3"],
    size: tuple[int, int],
    *,
    fov: float = 0.6,
) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "4"]]:
    """A camera that looks the same way with all points in its picture, at any turn.

    It sees the middle of the points' box from where their farthest one, walked about
    the vertical axis through that middle, just fits into the field of view.
    """
    center = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - center, axis=1).max())
    camera = np.array(camera_from_object, np.float64)
    camera[:3, 3] = [0, 0, 1.05 * radius / np.sin(fov / 2)] - camera[:3, :3] @ center
    focal = min(size) / 2 / np.tan(fov / 2)
    return camera, np.array([focal, focal, size[1] / 2, size[0] / 2])


def mesh_pictures(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    colors: Sequence[Float[np.ndarray, "n 3"]],
    intrinsics: Float[np.ndarray, "4"],
    size: tuple[int, int],
    *,
    fine: int = 2,
    background: float = 1.0,
) -> list[Int[np.ndarray, "h w 3"]]:
    """Pictures in bytes, over a gray, of a mesh in camera space: one a set of colors.

    ``fine`` is the number of samples along a pixel's side; a gray of one is white.
    """
    height, width = size[0] * fine, size[1] * fine
    scaled = np.asarray(intrinsics, np.float64) * fine
    vertices = np.asarray(vertices, np.float64)
    seen = zbuffer.face_map(vertices, faces, scaled, (height, width))
    row, column = np.nonzero(seen.face >= 0)
    face = faces[seen.face[row, column]]
    ray = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], -1)
    ray[:, :2] = (ray[:, :2] - scaled[2:]) / scaled[:2]
    point = ray * zbuffer.depth_map(seen)[row, column][:, None]
    share = zbuffer.barycentric(vertices[face], point)[..., None]
    light = _light(np.sum(share * vertex_normals(vertices, faces)[face], 1))[:, None]
    pictures = []
    for albedo in colors:
        out = np.full((height, width, 3), background)
        out[row, column] = np.sum(share * np.asarray(albedo)[face], 1) * light
        pixels = out.reshape(size[0], fine, size[1], fine, 3).mean((1, 3))
        pictures.append(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    return pictures


def _light(normal: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k"]:
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    key, fill = np.maximum(normal @ _KEY, 0), np.maximum(normal @ _FILL, 0)
    return _AMBIENT + _KEY_SHARE * key + _FILL_SHARE * fill
