"""First guesses before any learning: cameras, intrinsics and the object's ellipsoid.

Given noisy cameras lose their jitter to a polynomial in time; a clip without cameras
has one upright side view that follows the boxes of the masks, from which
`first_cameras` goes on. Where cameras turn, the widths of the boxes say from where the
object is seen from its side. Boxes are in pixels, `(left, top, right, bottom)`, pixel
centers at +0.5; object space has y up.
"""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.types import Bool, Clip, Float

__all__ = [
    "constant_camera",
    "default_intrinsics",
    "initial_ellipsoid",
    "intrinsics_of",
    "mask_boxes",
    "side_axes",
    "smooth_cameras",
    "smooth_curve",
    "squared_width",
]

# The camera looks along +x of the object and sees its +z to the right: rows are the
# camera's axes x (right), y (down) and z (forward) in object space.
SIDE_VIEW = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
_WIDEST = 2e-3  # weight of the widest view, beside the variance of logs of widths


def default_intrinsics(size: tuple[int, int]) -> Float[np.ndarray, "4"]:
    """Intrinsics of an unknown camera: a focal length of the longest side, centered."""
    height, width = size
    focal = max(height, width)
    return np.array([focal, focal, width / 2, height / 2], np.float32)


def intrinsics_of(clip: Clip) -> Float[np.ndarray, "4"]:
    """The clip's intrinsics, else those of an unknown camera."""
    if clip.intrinsics is None:
        return default_intrinsics(clip.masks.shape[1:])
    return clip.intrinsics


def mask_boxes(masks: Bool[np.ndarray, "t h w"]) -> Float[np.ndarray, "t 4"]:
    """The box of every mask as left, top, right and bottom edge in pixels."""

    def edges(hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return hits.argmax(1), hits.shape[1] - hits[:, ::-1].argmax(1)

    left, right = edges(np.any(masks, 1))
    top, bottom = edges(np.any(masks, 2))
    return np.stack([left, top, right, bottom], 1).astype(np.float64)


def smooth_curve(
    values: Float[np.ndarray, "t c"], degree: int
) -> Float[np.ndarray, "t c"]:
    """The polynomial in time of a degree that lies nearest to each column."""
    count = len(values)
    time = np.linspace(-1.0, 1.0, count)
    basis = np.polynomial.chebyshev.chebvander(time, min(degree, count - 1))
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def smooth_cameras(
    camera_from_object: Float[np.ndarray, "t 4 4"], degree: int = 2
) -> Float[np.ndarray, "t 4 4"]:
    """Cameras without their jitter: near a steady turn, on a polynomial in time.

    Rotations are a turn of constant rate times a polynomial of rotation vectors, so
    that an orbit all the way round is as smooth as a quarter of it; translations are
    those of one point of the object plus a polynomial, since the origin may lie beside
    the object. Estimated cameras wander slowly, which only a low degree takes out.
    """
    smooth = np.broadcast_to(np.eye(4), camera_from_object.shape).copy()
    turns = Rotation.from_matrix(camera_from_object[:, :3, :3])
    smooth[:, :3, :3] = _near_steady(turns, degree).as_matrix()
    smooth[:, :3, 3] = _near_point(
        smooth[:, :3, :3], camera_from_object[:, :3, 3], degree
    )
    return smooth.astype(np.float32)


def _near_point(
    turns: Float[np.ndarray, "t 3 3"],
    translations: Float[np.ndarray, "t 3"],
    degree: int,
) -> Float[np.ndarray, "t 3"]:
    """Translations as ``R_t c`` and a polynomial in time, in least squares.

    A weak pull on c decides on short arcs, where the two are hard to tell apart.
    """
    count = len(turns)
    time = np.linspace(-1.0, 1.0, count)
    powers = np.polynomial.chebyshev.chebvander(time, min(degree, count - 1))
    basis = np.concatenate([turns, np.kron(powers[:, None], np.eye(3))], axis=2)
    basis = basis.reshape(3 * count, -1)
    pull = np.eye(3, basis.shape[1]) * np.sqrt(1e-3 * 3 * count)
    rows = np.concatenate([basis, pull])
    target = np.concatenate([translations.reshape(-1), np.zeros(3)])
    return (basis @ np.linalg.lstsq(rows, target, rcond=None)[0]).reshape(count, 3)


def _near_steady(turns: Rotation, degree: int, *, rounds: int = 4) -> Rotation:
    """The smooth rotations: residuals of the steady turn are fitted a few times."""
    count = len(turns)
    step = max(1, count // 8)  # of a stretch so long that its turn outweighs the jitter
    if count < 2:
        return turns
    rate = (turns[step:] * turns[:-step].inv()).as_rotvec().mean(0) / step
    steady = Rotation.from_rotvec(np.outer(np.arange(count) - count / 2, rate))
    fitted = steady * (steady.inv() * turns).mean()
    for _ in range(rounds):
        rest = (turns * fitted.inv()).as_rotvec()
        fitted = Rotation.from_rotvec(smooth_curve(rest, degree)) * fitted
    return fitted


def constant_camera(
    masks: Bool[np.ndarray, "t h w"],
    intrinsics: Float[np.ndarray, "4"],
    *,
    degree: int = 5,
    depth_degree: int = 1,
) -> Float[np.ndarray, "t 4 4"]:
    """One upright side view for a clip without cameras; the boxes move it about.

    The widest box spans the object from -1 to 1. Distances follow the height of the
    boxes, which a turn about the vertical leaves alone, and not their width; only its
    trend, since a gait and the perspective of a turn change heights by a tenth.
    """
    fx, fy, cx, cy = (float(v) for v in intrinsics)
    left, top, right, bottom = mask_boxes(masks).T
    widest = int((right - left).argmax())
    longest = max((right - left)[widest] / fx, (bottom - top)[widest] / fy)
    height = np.exp(smooth_curve(np.log(bottom - top)[:, None], depth_degree)[:, 0])
    depth = 2.0 / longest * height[widest] / height
    ray = np.stack([(left + right) / 2 - cx, (top + bottom) / 2 - cy], 1) / [fx, fy]
    cameras = np.broadcast_to(np.eye(4), (len(masks), 4, 4)).copy()
    cameras[:, :3, :3] = SIDE_VIEW
    cameras[:, :2, 3] = smooth_curve(ray, degree) * depth[:, None]
    cameras[:, 2, 3] = depth
    return cameras.astype(np.float32)


def initial_ellipsoid(
    masks: Bool[np.ndarray, "t h w"],
    camera_from_object: Float[np.ndarray, "t 4 4"],
    intrinsics: Float[np.ndarray, "4"],
    *,
    depth_ratio: float = 0.4,
    side: Float[np.ndarray, "3 3"] | None = None,
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """Center, half axes and axes (columns: side, down, depth) of a first shape.

    The silhouettes of a quarter turn say little about depth, so it is taken as a part
    of the smaller half extent of the side view instead of being carved. That view is
    told by the boxes' widths, or is the rotation ``side`` where it is known.
    """
    fx, fy, cx, cy = (float(v) for v in intrinsics)
    rotation = camera_from_object[:, :3, :3].astype(np.float64)
    left, top, right, bottom = mask_boxes(masks).T
    middle = np.stack([(left + right) / 2 - cx, (top + bottom) / 2 - cy], 1) / [fx, fy]
    rays = np.einsum("tji,tj->ti", rotation, np.c_[middle, np.ones(len(middle))])
    origins = -np.einsum("tji,tj->ti", rotation, camera_from_object[:, :3, 3])
    center = meeting_point(origins, rays)
    depth = (rotation @ center + camera_from_object[:, :3, 3])[:, 2]
    extents = np.stack([(right - left) / fx, (bottom - top) / fy], 1) * depth[:, None]
    axes = side_axes(rotation, extents[:, 0]) if side is None else side.T
    facing = np.abs(rotation[:, 2] @ axes[:, 2])
    nearest = facing > facing.max() - 1e-3  # all of them, where all are alike
    view = int(np.where(nearest, extents[:, 0], 0.0).argmax())
    half = extents[view] / 2
    half_axes = np.array([half[0], half[1], depth_ratio * half.min()])
    single = np.float32
    return center.astype(single), half_axes.astype(single), axes.astype(single)


def side_axes(
    rotation: Float[np.ndarray, "t 3 3"], width: Float[np.ndarray, "t"]
) -> Float[np.ndarray, "3 3"]:
    """Axes of the side view (columns: side, down, depth) in object space.

    An animal is longer than wide, so a turn makes its box narrower as the ellipse does
    that lies along its side: the axes at which boxes are as wide as foretold, for the
    slenderness that suits them best. One frame's box, which a leg or a tail makes wide,
    says less: the widest one is only where the search begins, and where it stays if
    cameras do not turn or nothing is longer than wide.
    """
    start = upright(rotation[int(width.argmax())].T)
    if start[1, 1] > -1 + 1e-6:
        return start  # no upright view: the vertical is not known
    angle = np.radians(np.arange(-90.0, 90.0))
    side = np.outer(np.cos(angle), start[:, 0]) + np.outer(np.sin(angle), start[:, 2])
    depth = np.outer(np.cos(angle), start[:, 2]) - np.outer(np.sin(angle), start[:, 0])
    along, across = side @ rotation[:, 0].T, depth @ rotation[:, 0].T
    best, found = np.inf, 0
    for slender in np.linspace(0.2, 1.0, 17):
        foretold = 0.5 * np.log(squared_width(along, across, slender) + 1e-6)
        missed = np.var(np.log(width) - foretold, axis=1)
        missed += _WIDEST * np.sin(angle) ** 2
        if missed.min() < best:
            best, found = missed.min(), int(missed.argmin())
    return np.stack([side[found], start[:, 1], depth[found]], 1)


def squared_width(along: Any, across: Any, slender: Any) -> Any:
    """Square of the width that an animal of length one is seen with, as an ellipse.

    ``along`` and ``across`` are how much of its side and of its depth lie along the
    picture's x axis, ``slender`` its width over its length; arrays of any library.
    """
    return along**2 + (slender * across) ** 2


def meeting_point(
    origins: Float[np.ndarray, "t 3"],
    rays: Float[np.ndarray, "t 3"],
    *,
    pull: float = 0.3,
) -> Float[np.ndarray, "3"]:
    """The point nearest to all rays, in least squares.

    A pull to the object's origin decides along the rays: they are nearly parallel, so
    noise in the cameras would otherwise carry the point far behind the object.
    """
    unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - unit[:, :, None] * unit[:, None]
    pulled = across.mean(0) + pull * np.eye(3)
    return np.linalg.solve(pulled, np.einsum("tij,tj->i", across, origins) / len(rays))


def upright(axes: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Camera axes with their down turned onto the object's -y, where they are near it.

    A view from a little above then gives no tilted shape; a view from the top, or
    cameras whose object space has another up, are left as they are.
    """
    down = np.array([0.0, -1.0, 0.0])
    if axes[:, 1] @ down < np.cos(np.radians(50)):
        return axes
    depth = axes[:, 2] - (axes[:, 2] @ down) * down
    depth /= np.linalg.norm(depth)
    return np.stack([np.cross(down, depth), down, depth], 1)
