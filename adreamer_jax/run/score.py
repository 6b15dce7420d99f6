"""What a reconstruction is worth: shape, pictures, root poses and tracked points.

Pure functions from arrays to flat dictionaries of numbers; `run/evaluate.py` reads the
files. The shape protocol is BANMo's: every frame by itself, the prediction is scaled by
the ratio of median depths and moved by rigid ICP onto the truth, then distances both
ways are taken between points spread evenly over either surface. Lengths are in percent
of the longest side of the truth's box in the object's axes. The truth's points are
places on its moving surface, so that *seen* (in some frame) and *never seen* belong to
a place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from adreamer_jax.core import shape
from adreamer_jax.core.image import ssim
from adreamer_jax.core.zbuffer import visible_places
from adreamer_jax.types import Bool, Float, Int

__all__ = [
    "LEVELS",
    "PCK_LEVELS",
    "POINTS",
    "Reference",
    "average",
    "flow_chain",
    "jitter",
    "make_reference",
    "mask_box_shift",
    "mask_iou",
    "pck",
    "root_errors",
    "rotation_errors",
    "score_mesh",
    "score_picture",
    "score_poses",
    "score_shape",
    "stay_put",
]

LEVELS = (1, 2, 5, 10)  # F-score thresholds in percent of the box's longest side
POINTS = 10_000  # on either surface
PCK_LEVELS = (0.1, 0.2)  # of the square root of the mask's area
BACKDROP = 0.5  # gray behind both pictures, so that only the object is compared

Mesh = tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "m 3"]]
Marks = Mapping[int, Float[np.ndarray, "p 3"]]  # frame -> x, y, visible
Tracks = Mapping[
    int, Mapping[int, Float[np.ndarray, "p 2"]]
]  # source -> target -> x, y


# ----------------------------------------------------------------------------- shape
class Reference(NamedTuple):
    """The true moving surface with its material points, ready to be compared with."""

    vertices: Float[np.ndarray, "t n 3"]  # camera space of each frame
    faces: Int[np.ndarray, "m 3"]
    camera_from_object: Float[np.ndarray, "t 4 4"]
    places: shape.Places
    seen: Bool[np.ndarray, "k"]


def longest_side(
    vertices: Float[np.ndarray, "n 3"], camera_from_object: Float[np.ndarray, "4 4"]
) -> float:
    """Longest side of the box, along the object's axes, of camera-space vertices."""
    rotation, translation = camera_from_object[:3, :3], camera_from_object[:3, 3]
    return float(np.ptp((vertices - translation) @ rotation, axis=0).max())


def make_reference(
    truth: Any, size: tuple[int, int], *, points: int = POINTS, seed: int = 0
) -> Reference:
    """The reference surface of a truth with vertices, faces, cameras and intrinsics.

    Places are spread by the mean area over the frames. One that some frame sees (its
    own z-buffer, two samples a pixel) is seen; 0.4 % of the side of slack covers the
    z-buffer's rounding and 3 % the surface that turns away within one sample of the
    outline.
    """
    vertices = np.asarray(truth.vertices, float)
    faces = np.asarray(truth.faces, np.int64)
    cameras = np.asarray(truth.camera_from_object, float)
    areas = np.mean([shape.face_areas(frame, faces) for frame in vertices], 0)
    places = shape.sample_places(areas, points, np.random.default_rng(seed))
    seen = np.zeros(points, bool)
    for frame, camera in zip(vertices, cameras, strict=True):
        side = longest_side(frame, camera)
        seen |= visible_places(
            frame, faces, places, truth.intrinsics, size,
            gap=0.004 * side, rim=0.03 * side,
        )  # fmt: skip
    return Reference(vertices, faces, cameras, places, seen)


def align(
    points: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "k 3"], tree: KDTree
) -> Float[np.ndarray, "n 3"]:
    """Points after BANMo's alignment: median depths made equal, then rigid ICP."""
    points = points * shape.depth_scale(points, target)
    return shape.apply_similarity(shape.icp(points, tree), points)


def score_mesh(
    reference: Reference, frame: int, mesh: Mesh | None, rng: np.random.Generator
) -> dict[str, float | None]:
    """All shape figures of one frame; a missing mesh misses everything by one side."""
    target = shape.points_at(
        reference.vertices[frame], reference.faces, reference.places
    )
    side = longest_side(reference.vertices[frame], reference.camera_from_object[frame])
    if mesh is None or len(mesh[1]) == 0:
        far, owner = np.full(len(target), side), np.arange(len(target))
        return figures(far, owner, far, reference.seen, side) | {"missing": 1.0}
    tree = KDTree(target)
    source = shape.sample_surface(
        np.asarray(mesh[0], float), np.asarray(mesh[1]), len(target), rng
    )
    source = align(source, target, tree)
    forward, owner = shape.nearest(source, tree)
    backward, _ = shape.nearest(target, source)
    return figures(forward, owner, backward, reference.seen, side) | {"missing": 0.0}


def figures(
    forward: Float[np.ndarray, "n"],
    owner: Int[np.ndarray, "n"],
    backward: Float[np.ndarray, "k"],
    seen: Bool[np.ndarray, "k"],
    side: float,
) -> dict[str, float | None]:
    """Chamfer and F-scores of the whole, and of the seen and the never-seen part.

    A part's precision counts the predicted points whose nearest true point (`owner`)
    belongs to it. None: the truth has no such part.
    """
    percent = 100.0 / side
    out: dict[str, float | None] = {
        "chamfer_percent": percent * shape.chamfer(forward, backward),
        "chamfer_units": shape.chamfer(forward, backward),
        "to_truth_percent": percent * float(np.mean(forward)),
        "from_truth_percent": percent * float(np.mean(backward)),
    }
    parts = (("", slice(None), slice(None)),)
    parts += tuple(
        (f"{n}.", p[owner], p) for n, p in (("seen", seen), ("unseen", ~seen))
    )
    for name, ahead, back in parts:
        some = len(backward[back]) > 0
        for level in LEVELS:
            limit = level / percent
            value = shape.f_score(forward[ahead], backward[back], limit)
            out[f"{name}f{level}"] = value if some else None
        if name:
            recall = percent * float(np.mean(backward[back])) if some else None
            out[f"{name}recall_percent"] = recall
            # where nothing predicted lies near a part, its own distance counts twice
            near = forward[ahead] if len(forward[ahead]) else backward[back]
            both = percent * shape.chamfer(near, backward[back]) if some else None
            out[f"{name}chamfer_percent"] = both
    return out


def average(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Means over rows, entry by entry, leaving out what is None."""
    out: dict[str, float | None] = {}
    for key in rows[0]:
        values = [value for row in rows if (value := row[key]) is not None]
        out[key] = float(np.mean(values)) if values else None
    return out


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary whose dotted keys have become one level of nesting."""
    out: dict[str, Any] = {}
    for key, value in flat.items():
        part, _, name = key.rpartition(".")
        (out.setdefault(part, {}) if part else out)[name] = value
    return out


def score_shape(
    reference: Reference,
    mesh_at: Callable[[int], Mesh | None],
    frames: Sequence[int],
    *,
    seed: int = 1,
) -> dict[str, Any]:
    """Mean shape figures over frames, with the main ones frame by frame."""
    rng = np.random.default_rng(seed)
    rows = [score_mesh(reference, frame, mesh_at(frame), rng) for frame in frames]
    mean = average(rows)
    del mean["missing"]
    return nest(mean) | {
        "frames": list(frames),
        "missing_frames": int(sum(row["missing"] or 0 for row in rows)),
        "seen_share": float(np.mean(reference.seen)),
        "per_frame": {k: [row[k] for row in rows] for k in ("chamfer_percent", "f2")},
    }


# -------------------------------------------------------------------------- pictures
def mask_iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union of two masks; two empty ones agree."""
    union = np.sum(one | other)
    return float(np.sum(one & other) / union) if union else 1.0


def score_picture(
    color: Float[np.ndarray, "h w 3"],
    coverage: Float[np.ndarray, "h w"],
    image: Float[np.ndarray, "h w 3"],
    mask: Float[np.ndarray, "h w"],
) -> dict[str, float | None]:
    """Mask IoU, PSNR and SSIM of a render and an image on one gray backdrop.

    Both are premultiplied: a pixel at the edge has no filmed ground in it.
    `psnr_object` looks at the pixels of either mask only: it does not grow with the
    amount of empty backdrop.
    """
    found = np.clip(color + (1 - coverage[..., None]) * BACKDROP, 0, 1)
    wanted = image + (1 - mask[..., None]) * BACKDROP
    square = np.mean((found - wanted) ** 2, -1)
    either = (coverage > 0.5) | (mask > 0.5)
    return {
        "mask_iou": mask_iou(coverage > 0.5, mask > 0.5),
        "psnr": psnr(float(square.mean())),
        "psnr_object": psnr(float(square[either].mean())) if either.any() else None,
        "ssim": float(ssim(*(jnp.asarray(x, jnp.float32) for x in (found, wanted)))),
    }


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB of colors in [0, 1]; at most 100."""
    return -10 * float(np.log10(max(mean_square, 1e-10)))


# ------------------------------------------------------------------------- root pose
def rotation_errors(
    found: Float[np.ndarray, "t 3 3"], true: Float[np.ndarray, "t 3 3"]
) -> Float[np.ndarray, "t"]:
    """Angles in radians between two rotation paths after the best constant rotation.

    The object's own axes are free: found = true @ constant, with the constant that is
    nearest in the least-squares sense (the mean of true^T found, made a rotation).
    """
    constant = Rotation.from_matrix(np.swapaxes(true, 1, 2) @ found).mean()
    left = Rotation.from_matrix(found).inv() * Rotation.from_matrix(true) * constant
    return left.magnitude()


def jitter(rotations: Float[np.ndarray, "t 3 3"]) -> float:
    """R.m.s. second difference of a rotation path, in radians per squared frame."""
    path = Rotation.from_matrix(rotations)
    speed = (path[1:] * path[:-1].inv()).as_rotvec()
    return float(np.sqrt(np.mean(np.sum(np.diff(speed, axis=0) ** 2, -1))))


def root_errors(
    found: Float[np.ndarray, "t 4 4"], true: Float[np.ndarray, "t 4 4"]
) -> dict[str, float]:
    """Rotation, position and jitter figures of one camera path against the true one.

    Positions are the camera's centers in object space after the best similarity, in
    percent of the mean distance to the object.
    """
    angle = np.degrees(rotation_errors(found[:, :3, :3], true[:, :3, :3]))
    centers, wanted = (
        -np.einsum("tji,tj->ti", path[:, :3, :3], path[:, :3, 3])
        for path in (found, true)
    )
    moved = shape.apply_similarity(shape.similarity_fit(centers, wanted), centers)
    miss = np.sqrt(np.mean(np.sum((moved - wanted) ** 2, -1)))
    distance = np.mean(np.linalg.norm(true[:, :3, 3], axis=-1))
    return {
        "rotation_median_deg": float(np.median(angle)),
        "rotation_rms_deg": float(np.sqrt(np.mean(angle**2))),
        "center_rms_percent": 100 * float(miss / distance),
        "jitter_deg": float(np.degrees(jitter(found[:, :3, :3]))),
    }


def score_poses(
    found: Float[np.ndarray, "t 4 4"],
    true: Float[np.ndarray, "t 4 4"],
    given: Float[np.ndarray, "t 4 4"] | None,
) -> dict[str, Any]:
    """Root-pose figures of a run, beside those of the cameras it was given."""
    found, true = np.asarray(found, float), np.asarray(true, float)
    out: dict[str, Any] = root_errors(found, true)
    out["truth_jitter_deg"] = float(np.degrees(jitter(true[:, :3, :3])))
    if given is not None:
        out["given_cameras"] = root_errors(np.asarray(given, float), true)
    return out


# ---------------------------------------------------------------------- marked points
def pck(
    marks: Marks, tracks: Tracks, masks: Bool[np.ndarray, "t h w"]
) -> dict[str, float]:
    """Share of marked points carried to within a part of the mask's size.

    All ordered pairs of marked frames count, and all points visible in both. Size is
    the square root of the target mask's area; a point that was not carried is a miss.
    """
    ratios, missing = [], 0
    for source, start in marks.items():
        for target, end in marks.items():
            if source == target:
                continue
            guess = np.asarray(tracks[source][target], float)
            away = np.linalg.norm(guess - end[:, :2], axis=-1)
            away = away[(start[:, 2] > 0) & (end[:, 2] > 0)]
            missing += int(np.sum(~np.isfinite(away)))
            ratios.append(away / np.sqrt(np.sum(masks[target])))
    ratio = np.concatenate(ratios)
    shares = {f"pck@{level}": float(np.mean(ratio <= level)) for level in PCK_LEVELS}
    return shares | {"correspondences": len(ratio), "missing": missing}


def pairs(
    marks: Marks, carry: Callable[[int, int], Float[np.ndarray, "p 2"]]
) -> dict[int, dict[int, Float[np.ndarray, "p 2"]]]:
    """Tracks between all pairs of marked frames by a function of source and target."""
    return {s: {t: carry(s, t) for t in marks if t != s} for s in marks}


def stay_put(marks: Marks) -> Tracks:
    """Points left where they are in the picture: the first trivial prediction."""
    return pairs(marks, lambda source, _: marks[source][:, :2])


def mask_box_shift(marks: Marks, masks: Bool[np.ndarray, "t h w"]) -> Tracks:
    """Points that keep their place in the mask's bounding box: the second."""

    def box(frame: int) -> tuple[np.ndarray, np.ndarray]:
        row, column = np.nonzero(masks[frame])
        low = np.array([column.min(), row.min()], float)
        return low, np.array([column.max(), row.max()]) + 1 - low

    boxes = {frame: box(frame) for frame in marks}

    def carry(source: int, target: int) -> np.ndarray:
        (low, extent), (new_low, new_extent) = boxes[source], boxes[target]
        return (marks[source][:, :2] - low) / extent * new_extent + new_low

    return pairs(marks, carry)


def flow_chain(
    marks: Marks,
    forward: Callable[[int], Float[np.ndarray, "h w 2"]],
    backward: Callable[[int], Float[np.ndarray, "h w 2"]],
) -> Tracks:
    """Points carried along optical flow, frame by frame: what a model has to beat.

    forward(i) is the flow from frame i to i + 1, backward(i) from i to i - 1. Points
    that leave the picture move with its border.
    """

    def carry(source: int, target: int) -> np.ndarray:
        points = np.array(marks[source][:, :2], float)
        step, flow = (1, forward) if target > source else (-1, backward)
        for frame in range(source, target, step):
            points = points + sample_bilinear(flow(frame), points)
        return points

    return pairs(marks, carry)


def sample_bilinear(
    picture: Float[np.ndarray, "h w c"], points: Float[np.ndarray, "p 2"]
) -> Float[np.ndarray, "p c"]:
    """Values at pixel positions (centers at +0.5), clamped at the border."""
    height, width = picture.shape[:2]
    place = np.clip(points - 0.5, 0, [width - 1, height - 1])
    x, y = np.minimum(place.astype(np.int64), [width - 2, height - 2]).T
    u, v = (place - np.stack([x, y], 1)).T[..., None]
    top = picture[y, x] * (1 - u) + picture[y, x + 1] * u
    bottom = picture[y + 1, x] * (1 - u) + picture[y + 1, x + 1] * u
    return top * (1 - v) + bottom * v
