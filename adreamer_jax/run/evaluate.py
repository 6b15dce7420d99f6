"""Measure a finished run against what is known about its clip: evaluation.json.

Reads the exported products (`export/<stage>`) and the clip, hands arrays to
`run/score.py` and adds nothing of its own to the numbers. What a clip has no truth for
is left out: filmed clips get pictures and marked points, rendered ones shape and root
poses. The *rigid twin* is the run's own rest shape carried along stiffly by the run's
own cameras; only a model whose motion is right beats it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax.numpy as jnp
import numpy as np
import trimesh

from adreamer_jax.core.zbuffer import face_map
from adreamer_jax.data.clip import Truth, read_clip, read_truth
from adreamer_jax.data.flow import flow_at, gray_object
from adreamer_jax.run import score
from adreamer_jax.run.files import write_text
from adreamer_jax.run.progress import say
from adreamer_jax.run.score import Mesh
from adreamer_jax.run.track import MovingMesh, from_asset, tracks_of, write_tracks
from adreamer_jax.types import (
    Asset,
    Camera,
    Clip,
    Float,
    Params,
    Picture,
    System,
    TrainState,
)

__all__ = [
    "EVERY",
    "Products",
    "evaluate",
    "evaluate_export",
    "export_folder",
    "pictures_of",
    "read_products",
]

EVERY = 7  # every k-th frame: 7 does not fall in step with a gait of 12 or 15 frames
LONG_SIDE = 128  # of the pictures that are compared
PROTOCOL = "banmo"


# --------------------------------------------------------------------------- products
class Products(NamedTuple):
    """What evaluation needs of an export folder."""

    folder: Path
    camera_from_object: Float[np.ndarray, "t 4 4"]
    intrinsics: Float[np.ndarray, "t 4"]
    rest: Mesh | None


def export_folder(folder: str | Path, *, stage: str = "extract") -> Path:
    """The folder with cameras and meshes: the given one, or one of a work folder."""
    folder = Path(folder)
    for candidate in (folder, folder / "export" / stage):
        if (candidate / "meshes").is_dir() or (candidate / "cameras.npz").is_file():
            return candidate
    raise ValueError(
        f"the folder to evaluate must hold meshes/ or export/{stage}/meshes/, got "
        f"{str(folder)!r}; finish the run or export it with --job=export first"
    )


def read_products(folder: Path, clip: Clip) -> Products:
    """Cameras and rest mesh of an export folder, checked against the clip's length."""
    path = folder / "cameras.npz"
    if not path.is_file():
        raise ValueError(
            f"{folder} must hold cameras.npz, got none; export with --job=export first"
        )
    with np.load(path) as content:
        cameras, intrinsics = content["camera_from_object"], content["intrinsics"]
    if len(cameras) != len(clip.masks):
        raise ValueError(
            f"{path} must have one camera a frame of the clip ({len(clip.masks)}), got "
            f"{len(cameras)}; evaluate against the clip that the run was made from"
        )
    rest = read_mesh(folder / "canonical.ply")
    return Products(folder, cameras.astype(float), intrinsics.astype(float), rest)


def read_mesh(path: Path) -> Mesh | None:
    """Vertices and faces of a file; None where it holds no surface or is not there."""
    if not path.is_file():
        return None
    try:
        mesh = trimesh.load_mesh(path, process=False)
        vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    except Exception as error:  # trimesh raises many kinds for a damaged file
        raise ValueError(
            f"{path} must be a whole mesh file, got {error}; export it anew"
        ) from None
    good = len(faces) > 0 and np.isfinite(vertices).all()
    return (vertices, faces) if good else None


def mesh_at(products: Products, frame: int) -> Mesh | None:
    """The exported surface of a frame in its camera space."""
    return read_mesh(products.folder / "meshes" / f"{frame:05d}.ply")


def twin_at(products: Products, frame: int) -> Mesh | None:
    """The rest surface under a frame's root pose, without any motion of its own."""
    if products.rest is None:
        return None
    vertices, faces = products.rest
    camera = products.camera_from_object[frame]
    return vertices @ camera[:3, :3].T + camera[:3, 3], faces


# --------------------------------------------------------------------------- sections
def measure_shape(
    products: Products, truth: Truth, size: tuple[int, int], frames: range
) -> dict[str, Any]:
    """Shape figures of the run, and the main ones of its rigid twin."""
    reference = score.make_reference(truth, size)
    out = score.score_shape(reference, lambda frame: mesh_at(products, frame), frames)
    if products.rest is None:
        return {"shape": out}
    twin = score.score_shape(reference, lambda frame: twin_at(products, frame), frames)
    kept = ("chamfer_percent", "to_truth_percent", "from_truth_percent", "f1", "f2")
    return {"shape": out, "rigid_twin": {name: twin[name] for name in kept}}


def measure_silhouettes(
    products: Products, clip: Clip, frames: range
) -> dict[str, Any]:
    """Mask IoU of the exported surfaces' outlines; a missing surface covers nothing."""
    values = []
    for frame in frames:
        mesh, mask = mesh_at(products, frame), clip.masks[frame]
        outline = np.zeros_like(mask)
        if mesh is not None:
            intrinsics = products.intrinsics[frame]
            outline = face_map(*mesh, intrinsics, mask.shape).face >= 0
        values.append(score.mask_iou(outline, mask))
    return {"mesh_iou": float(np.mean(values))}


def measure_pictures(
    picture_at: Callable[[int], Picture], clip: Clip, frames: range
) -> dict[str, Any]:
    """Mask IoU, PSNR and SSIM of rendered training views, and frame by frame."""
    rows = []
    for frame in frames:
        picture = picture_at(frame)
        mask = np.asarray(picture.mask)
        whole = clip.masks[frame].astype(np.float32)
        shown = clip.images[frame].astype(np.float32) / 255 * whole[..., None]
        small, cover = (shrink(x, mask.shape) for x in (shown, whole))
        rows.append(score.score_picture(np.asarray(picture.color), mask, small, cover))
    names = ("mask_iou", "psnr", "ssim")
    per_frame = {name: [row[name] for row in rows] for name in names}
    return score.average(rows) | {"frames": list(frames), "per_frame": per_frame}


def shrink(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A picture at another number of pixels, each the mean of those it covers."""
    height, width = shape[:2]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def measure_points(
    clip: Clip, marks: score.Marks, moving: MovingMesh | None, folder: Path
) -> dict[str, Any]:
    """PCK of the model's tracks and of three trivial ways to carry marked points.

    The model's tracks are left in keypoints.json beside the meshes.
    """
    forward, backward = neighbor_flows(clip)
    out = {
        "stay": score.pck(marks, score.stay_put(marks), clip.masks),
        "box": score.pck(marks, score.mask_box_shift(marks, clip.masks), clip.masks),
        "flow": score.pck(
            marks, score.flow_chain(marks, forward, backward), clip.masks
        ),
    }
    if moving is None:
        return out
    starts = {frame: points[:, :2] for frame, points in marks.items()}
    # any guess beats none here: take the nearest surface however far it is
    tracks = tracks_of(moving, starts, reach=float(np.hypot(*moving.size)))
    write_tracks(tracks, folder / "keypoints.json")
    found = {s: {t: tracks[s][t] for t in marks if t != s} for s in marks}
    return score.pck(marks, found, clip.masks) | out


def neighbor_flows(
    clip: Clip,
) -> tuple[Callable[[int], np.ndarray], Callable[[int], np.ndarray]]:
    """Flow (DIS) to the next frame and to the one before, of the object cut out.

    The cut out object makes the stronger rival: its rim is not held by the backdrop.
    """
    grays = [gray_object(*pair) for pair in zip(clip.images, clip.masks, strict=True)]
    there, back = (flow_at(grays, step) for step in (1, -1))
    return there.__getitem__, back.__getitem__


# ---------------------------------------------------------------------------- the whole
def evaluate_export(
    folder: str | Path,
    clip: Clip | str | Path,
    truth: Truth | None = None,
    *,
    every: int = EVERY,
    picture_at: Callable[[int], Picture] | None = None,
    make_asset: Callable[[], Asset] | None = None,
) -> dict[str, Any]:
    """All figures of an export folder (or a work folder) against a clip.

    truth: the embedded clip's; a clip in a folder brings its own. picture_at: renders a
    training frame; without it only the meshes' outlines are scored. make_asset: gives
    the animatable model, needed to carry marked points.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}; 7 is a good choice")
    clip = clip if isinstance(clip, Clip) else read_clip(clip)
    if truth is None and clip.folder is not None:
        truth = read_truth(clip.folder)
    folder = export_folder(folder)
    products = read_products(folder, clip)
    frames = range(0, len(clip.masks), every)
    out: dict[str, Any] = {
        "clip": clip.name,
        "protocol": PROTOCOL,
        "every": every,
        "points": score.POINTS,
        "silhouettes": measure_silhouettes(products, clip, frames),
    }
    if picture_at is not None:
        out["pictures"] = measure_pictures(picture_at, clip, frames)
    if truth is None:
        return out
    if truth.vertices is not None:
        out |= measure_shape(products, truth, clip.masks.shape[1:3], frames)
    if truth.camera_from_object is not None:
        found, given = products.camera_from_object, clip.camera_from_object
        out["root_pose"] = score.score_poses(found, truth.camera_from_object, given)
    if truth.keypoints is not None:
        moving = from_asset(make_asset()) if make_asset is not None else None
        out["keypoints"] = measure_points(clip, truth.keypoints.frames, moving, folder)
    return out


def pictures_of(
    system: System,
    state: TrainState,
    frozen: Params,
    products: Products,
    size: tuple[int, int],
    *,
    long_side: int = LONG_SIDE,
) -> Callable[[int], Picture]:
    """A function that renders a training frame, its longer side at most `long_side`."""
    share = min(1.0, long_side / max(size))
    small = (round(size[0] * share), round(size[1] * share))
    scale = np.array([small[1] / size[1], small[0] / size[0]])

    def picture_at(frame: int) -> Picture:
        focal, center = np.split(products.intrinsics[frame], 2)
        pose = products.camera_from_object[frame]
        camera = Camera(
            camera_from_object=jnp.asarray(pose, jnp.float32),
            focal=jnp.asarray(focal * scale, jnp.float32),
            center=jnp.asarray(center * scale, jnp.float32),
            size=small,
        )
        return system.render(state, frozen, camera, float(frame))

    return picture_at


def evaluate(
    system: System,
    state: TrainState,
    frozen: Params,
    clip: Clip,
    truth: Truth | None,
    workdir: str | Path,
    *,
    every: int = EVERY,
) -> dict[str, Any]:
    """Evaluate a work folder with its model; write evaluation.json and return it."""
    products = read_products(export_folder(workdir), clip)
    out = evaluate_export(
        workdir,
        clip,
        truth,
        every=every,
        picture_at=pictures_of(system, state, frozen, products, clip.masks.shape[1:3]),
        make_asset=lambda: system.asset(state, frozen),
    )
    write_evaluation(Path(workdir), out)
    say(summary(out))
    return out


def write_evaluation(
    workdir: Path, figures: dict[str, Any], *, stage: str = ""
) -> None:
    """Write figures into evaluation.json: a second stage's under its own name.

    The first stage's stand at the top; each stage leaves the other's as they are.
    """
    path = workdir / "evaluation.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    others = {k: v for k, v in known.items() if (k == "generate") != bool(stage)}
    new = {stage: figures} if stage else figures
    write_text(path, json.dumps(others | new, indent=1) + "\n")


def summary(out: dict[str, Any]) -> str:
    """The main figures in one line."""
    parts = []
    if "shape" in out:
        shape = out["shape"]
        parts.append(
            f"Chamfer {shape['chamfer_percent']:.2f} %, F@2% {shape['f2']:.3f}"
        )
        if shape["unseen"]["f2"] is not None:
            parts.append(f"never seen {shape['unseen']['f2']:.3f}")
    if "root_pose" in out:
        parts.append(f"root pose {out['root_pose']['rotation_median_deg']:.2f} deg")
    if "pictures" in out:
        pictures = out["pictures"]
        parts.append(f"IoU {pictures['mask_iou']:.3f}, PSNR {pictures['psnr']:.1f} dB")
    if "pck@0.1" in out.get("keypoints", {}):
        points = out["keypoints"]
        parts.append(f"PCK {points['pck@0.1']:.2f}/{points['pck@0.2']:.2f}")
    return ", ".join(parts)
