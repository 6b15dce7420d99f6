"""Bones, joints and skeleton drawn over a picture.

A bone shows as the Gaussian of the surface that it carries, projected to first order:
covariance J C J^T with the projection's Jacobian J, outlined where it is one and a half
deviations. Lines join bones that are linked in the tree, from the middle of what one
leads through their joint to that of the other.
"""

from typing import NamedTuple

import cv2
import numpy as np

from adreamer_jax.core import zbuffer
from adreamer_jax.core.shape import vertex_areas
from adreamer_jax.run.mesh_picture import carried, palette
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset, Float, Int

__all__ = ["Blobs", "bone_blobs", "draw_bones"]

_SHIFT = 4  # cv2 draws at sixteenths of a pixel


class Blobs(NamedTuple):
    """Mean and covariance of the rest surface that each bone carries."""

    center: Float[np.ndarray, "bones 3"]
    covariance: Float[np.ndarray, "bones 3 3"]


def bone_blobs(asset: Asset) -> Blobs:
    """One Gaussian a bone, of the surface weighted by area and skinning."""
    areas = vertex_areas(np.asarray(asset.vertices, np.float64), asset.faces)
    share = asset.weights * areas[:, None]
    share = share / np.maximum(share.sum(0), 1e-30)
    center = share.T @ asset.vertices
    apart = asset.vertices[:, None] - center
    return Blobs(center, np.einsum("nb,nbi,nbj->bij", share, apart, apart))


def draw_bones(
    picture: Int[np.ndarray, "h w 3"],
    asset: Asset,
    skeleton: Skeleton,
    blobs: Blobs,
    camera_from_object: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "4"],
    frame: int,
) -> Int[np.ndarray, "h w 3"]:
    """A copy of the picture with the bones of one frame over it."""
    motion = camera_from_object @ asset.posed_from_rest[frame]
    center = np.einsum("bij,bj->bi", motion[:, :3, :3], blobs.center) + motion[:, :3, 3]
    turn = motion[:, :3, :3]
    covariance = turn @ blobs.covariance @ turn.transpose(0, 2, 1)
    shown = skeleton.alive & (center[:, 2] > 1e-3)
    fills, lines = picture.copy(), picture.copy()
    color = np.round(255 * palette(len(center))).astype(int).tolist()
    for bone in np.flatnonzero(shown):
        place, axes, angle = _ellipse(center[bone], covariance[bone], intrinsics)
        shape = place, axes, angle, 0, 360, color[bone]
        cv2.ellipse(fills, *shape, -1, cv2.LINE_AA, _SHIFT)
    out = cv2.addWeighted(fills, 0.55, lines, 0.45, 0)
    for bone in np.flatnonzero(shown):
        place, axes, angle = _ellipse(center[bone], covariance[bone], intrinsics)
        shape = place, axes, angle, 0, 360, color[bone]
        cv2.ellipse(out, *shape, 1, cv2.LINE_AA, _SHIFT)
    _draw_tree(out, skeleton, motion, intrinsics)
    return out


def _draw_tree(out, skeleton, motion, intrinsics):
    thick = max(1, round(out.shape[0] / 160))
    for bone, above in enumerate(skeleton.parent):
        if above < 0 or not (skeleton.alive[bone] and skeleton.alive[above]):
            continue
        path = np.stack(
            [
                carried(motion[bone], skeleton.middle[bone]),
                carried(motion[bone], skeleton.pivot[bone]),
                carried(motion[above], skeleton.middle[above]),
            ]
        )
        if (path[:, 2] < 1e-3).any():
            continue
        places = _fixed(zbuffer.project(path, intrinsics))
        for tone, width in ((255, thick + 2), (30, thick)):
            cv2.polylines(out, [places], False, (tone,) * 3, width, cv2.LINE_AA, _SHIFT)
        for tone, radius in ((30, thick + 1.5), (255, thick + 0.5)):
            place, size = tuple(map(int, places[1])), int(radius * 2**_SHIFT)
            cv2.circle(out, place, size, (tone,) * 3, -1, cv2.LINE_AA, _SHIFT)


def _fixed(pixel: Float[np.ndarray, "*b 2"]) -> Int[np.ndarray, "*b 2"]:
    # cv2 counts from pixel centers at whole numbers, and overflows far off the picture.
    return np.round((np.clip(pixel, -9e3, 9e3) - 0.5) * 2**_SHIFT).astype(np.int32)


def _ellipse(
    center: Float[np.ndarray, "3"],
    covariance: Float[np.ndarray, "3 3"],
    intrinsics: Float[np.ndarray, "4"],
) -> tuple[tuple[int, int], tuple[int, int], float]:
    focal, z = np.asarray(intrinsics)[:2], center[2]
    slope = np.zeros((2, 3))
    slope[[0, 1], [0, 1]] = focal / z
    slope[:, 2] = -focal * center[:2] / z**2
    spread, axes = np.linalg.eigh(slope @ covariance @ slope.T)
    radius = 1.5 * np.sqrt(np.maximum(spread, 0.04))
    angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
    place = _fixed(zbuffer.project(center, intrinsics))
    length = np.minimum(np.round(radius * 2**_SHIFT), 2**15).astype(int)
    (x, y), (first, second) = map(int, place), map(int, length)
    return (x, y), (first, second), float(angle)
