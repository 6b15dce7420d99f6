"""The clip folder: pictures, masks and cameras of one object, read and written.

This is a border: whatever a person may have got wrong in a folder is said here in one
sentence that names the file and the remedy, before anything is computed. Pixel centers
are at +0.5; cameras are OpenCV, `camera_from_object`. Training reads `read_clip` alone;
`read_truth` is for evaluation.
"""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adreamer_jax.types import Clip, Float, Int

__all__ = ["MIN_FRAMES", "Keypoints", "Truth", "read_clip", "read_truth", "write_clip"]

MIN_FRAMES = 8  # with fewer there is no motion to take a skeleton from
VERSION = 1
CAMERA_WORDS = ("exact", "noisy", "none")


class Keypoints(NamedTuple):
    """Marked points of a filmed clip: pixel x, y and a visibility of 0 or 1."""

    names: tuple[str, ...]
    frames: dict[int, Float[np.ndarray, "points 3"]]


class Truth(NamedTuple):
    """What is exactly known about a benchmark clip; None where it is not known."""

    vertices: Float[np.ndarray, "t n 3"] | None  # camera space of each frame
    faces: Int[np.ndarray, "m 3"] | None
    camera_from_object: Float[np.ndarray, "t 4 4"] | None
    intrinsics: Float[np.ndarray, "4"] | None
    keypoints: Keypoints | None


def read_clip(folder: str | Path) -> Clip:
    """Read and check a clip folder; the first thing wrong in it is a ValueError."""
    folder = Path(folder)
    header = read_header(folder)
    count, size = header["num_frames"], tuple(header["size"])
    frames = list_numbered(folder / "frames", ".png", count)
    masks = list_numbered(folder / "masks", ".png", count)
    return Clip(
        name=header["name"],
        fps=float(header["fps"]),
        prompt=header["prompt"],
        images=np.stack([read_frame(path, size) for path in frames]),
        masks=np.stack([read_mask(path, size) for path in masks]),
        camera_from_object=read_cameras(folder, header["cameras"], count),
        intrinsics=check_intrinsics(header["intrinsics"], folder / "clip.json"),
        cameras=header["cameras"],
        folder=folder,
        source=str(header.get("source", "")),
        licence=str(header.get("licence", "")),
        features=read_features(folder / "features", count),
    )


def read_header(folder: Path) -> dict[str, Any]:
    """The checked content of clip.json."""
    if not folder.is_dir():
        raise ValueError(
            f"the clip must be an existing folder, got {str(folder)!r}; check "
            "config.data.clip, or make a clip from a video with --job=prepare"
        )
    path = folder / "clip.json"
    if not path.is_file():
        raise ValueError(
            f"a clip folder must hold clip.json, got none in {str(folder)!r}; make a "
            "clip from a video or a folder of images with --job=prepare"
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # covers both bad JSON and bad UTF-8
        raise ValueError(f"{path} must be JSON, got {error}; write it anew") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} must hold a JSON object, got {header!r}")
    check_header(header, path)
    return header


def check_header(header: dict[str, Any], path: Path) -> None:
    """Refuse a clip.json whose entries are missing or not what the format says."""
    wanted = {
        "version": (is_int, f"{VERSION}"),
        "name": (lambda v: isinstance(v, str) and bool(v), "a text"),
        "fps": (lambda v: is_number(v) and v > 0, "a positive number"),
        "size": (is_size, "[height, width] in pixels, each at least 16"),
        "num_frames": (is_int, "a whole number"),
        "intrinsics": (lambda v: True, "[fx, fy, cx, cy] in pixels or null"),
        "prompt": (lambda v: isinstance(v, str), "a text"),
        "cameras": (lambda v: v in CAMERA_WORDS, " or ".join(CAMERA_WORDS)),
    }
    for key, (is_right, rule) in wanted.items():
        if key not in header:
            raise ValueError(f"{path} must hold {key!r} ({rule}); add it")
        if not is_right(header[key]):
            raise ValueError(f"{key!r} in {path} must be {rule}, got {header[key]!r}")
    if header["version"] != VERSION:
        raise ValueError(
            f"'version' in {path} must be {VERSION}, got {header['version']}; "
            "this program reads that version of the clip format only"
        )
    if header["num_frames"] < MIN_FRAMES:
        raise ValueError(
            f"a clip must have at least {MIN_FRAMES} frames, got num_frames = "
            f"{header['num_frames']} in {path}; film a longer clip"
        )


def is_int(value: Any) -> bool:
    """Whether a JSON value is a whole number (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return (is_int(value) or isinstance(value, float)) and bool(np.isfinite(value))


def is_size(value: Any) -> bool:
    """Whether a JSON value is a height and a width."""
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(is_int(v) and v >= 16 for v in value)


def list_numbered(folder: Path, suffix: str, count: int) -> list[Path]:
    """The files 00000 to count - 1 of a folder, refusing gaps and leftovers."""
    if not folder.is_dir():
        remedy = "; make masks with --job=prepare" if folder.name == "masks" else ""
        raise ValueError(f"a clip must hold the folder {folder.name}/{remedy}")
    found = sorted(
        p for p in folder.iterdir() if p.suffix == suffix and p.name[0] != "."
    )
    if len(found) != count:
        raise ValueError(
            f"{folder} must hold as many {suffix} files as num_frames says, got "
            f"{len(found)} for {count}; masks/ and frames/ need one file a frame"
        )
    for index, path in enumerate(found):
        if path.name != f"{index:05d}{suffix}":
            raise ValueError(
                f"files of {folder} must be named 00000{suffix}, 00001{suffix} and so "
                f"on, got {path.name} where {index:05d}{suffix} belongs; rename them"
            )
    return found


def read_png(path: Path, modes: tuple[str, ...], size: tuple[int, int]) -> np.ndarray:
    """The pixels of one PNG of the given mode and size, damage being an error."""
    try:
        with Image.open(path) as file:
            file.load()
            picture = file.copy()
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(
            f"{path} must be a whole PNG, got {error}; copy or make the file anew"
        ) from None
    if picture.mode not in modes:
        raise ValueError(
            f"{path} must be a PNG of mode {modes[0]}, got {picture.mode}; "
            f"save it as 8-bit {'RGB' if modes[0] == 'RGB' else 'grey'}"
        )
    if (picture.height, picture.width) != size:
        raise ValueError(
            f"{path} must have the clip's size {size[0]} x {size[1]} (height x width), "
            f"got {picture.height} x {picture.width}; frames and masks need one size"
        )
    return np.asarray(picture)


def read_frame(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One frame as uint8 RGB."""
    return read_png(path, ("RGB",), size)


def read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One mask as booleans; a mask without a single object pixel is refused."""
    values = read_png(path, ("L", "1"), size)
    values = values.astype(np.uint8) * (255 if values.dtype == bool else 1)
    if not values.any():
        raise ValueError(
            f"mask of frame {int(path.stem)} must show the object, got an empty one "
            f"in {path}; cut the clip to the frames that show it, or mend the mask"
        )
    if values.max() < 128:
        raise ValueError(
            f"object pixels of {path} must be 255, got at most {values.max()}; "
            "store masks as 0 and 255"
        )
    return values >= 128


def read_cameras(folder: Path, word: str, count: int) -> np.ndarray | None:
    """The root poses of a clip; None where clip.json says that there are none."""
    if word == "none":
        return None
    path = folder / "cameras.npz"
    if not path.is_file():
        raise ValueError(
            f"{path} must be there, since clip.json says cameras are {word!r}; "
            "add it, or write 'none' into clip.json"
        )
    return check_cameras(load_array(path, "camera_from_object"), count, path)


def load_array(path: Path, name: str | None = None) -> np.ndarray:
    """One array of an npy or npz file, damage being an error."""
    try:
        content = np.load(path, allow_pickle=False)
        if name is None:
            return np.asarray(content)
        with content:
            return content[name]
    except KeyError:
        raise ValueError(f"{path} must hold an array named {name!r}; add it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(
            f"{path} must be a whole numpy file, got {error}; write it anew"
        ) from None


def check_cameras(cameras: np.ndarray, count: int, path: Path) -> np.ndarray:
    """Refuse cameras that are not one rigid transform a frame, object in front."""
    if cameras.shape != (count, 4, 4) or cameras.dtype.kind not in "fiu":
        raise ValueError(
            f"camera_from_object in {path} must have the shape ({count}, 4, 4), one "
            f"matrix of numbers a frame, got {cameras.shape} of {cameras.dtype}"
        )
    cameras = cameras.astype(np.float32)
    rotations = cameras[:, :3, :3]
    gram = rotations @ rotations.transpose(0, 2, 1)
    finite = np.all(np.isfinite(cameras), (1, 2))
    straight = np.linalg.det(np.where(finite[:, None, None], rotations, 0)) > 0
    orthogonal = np.all(abs(gram - np.eye(3)) < 1e-3, (1, 2))
    last_row = np.all(abs(cameras[:, 3] - [0, 0, 0, 1]) < 1e-6, 1)
    rigid = straight & orthogonal & last_row
    for good, rule in (
        (finite, "finite numbers"),
        (rigid, "rigid: a rotation, a translation and the row 0 0 0 1"),
        (
            cameras[:, 2, 3] > 0,
            "OpenCV camera_from_object with the object's origin in front (z > 0)",
        ),
    ):
        if not good.all():
            frame = int(np.argmin(good))
            raise ValueError(
                f"cameras in {path} must be {rule}, got "
                f"{np.round(cameras[frame], 4).tolist()} at frame {frame}"
            )
    return cameras


def check_intrinsics(value: Any, path: Path) -> np.ndarray | None:
    """Focal lengths and center as float32, or None where they are not known."""
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 4 and all(map(is_number, value))):
        raise ValueError(
            f"'intrinsics' in {path} must be four numbers [fx, fy, cx, cy] in pixels "
            f"or null, got {value!r}"
        )
    if min(value[:2]) <= 0:
        raise ValueError(
            f"focal lengths in {path} must be positive pixels, got {value[:2]}; "
            "write null when they are not known"
        )
    return np.asarray(value, np.float32)


def read_features(folder: Path, count: int) -> np.ndarray | None:
    """The clip's own feature maps, or None where it brings none."""
    if not folder.is_dir():
        return None
    maps = [load_array(path) for path in list_numbered(folder, ".npy", count)]
    for index, value in enumerate(maps):
        if value.ndim != 3 or value.shape != maps[0].shape:
            raise ValueError(
                f"features in {folder} must all be [height, width, channels] of one "
                f"shape, got {value.shape} at frame {index} and {maps[0].shape} before"
            )
        if not (np.issubdtype(value.dtype, np.floating) and np.isfinite(value).all()):
            raise ValueError(
                f"feature maps in {folder} must be finite floats, got others at frame "
                f"{index}; compute it anew or remove the folder"
            )
    return np.stack(maps)


def read_truth(folder: str | Path) -> Truth | None:
    """The truth of a benchmark clip, for evaluation alone; None where there is none."""
    folder = Path(folder) / "truth"
    if not folder.is_dir():
        return None

    def optional(name: str) -> np.ndarray | None:
        path = folder / name
        return load_array(path) if path.is_file() else None

    points = folder / "keypoints.json"
    return Truth(
        vertices=optional("vertices.npy"),
        faces=optional("faces.npy"),
        camera_from_object=optional("camera_from_object.npy"),
        intrinsics=optional("intrinsics.npy"),
        keypoints=read_keypoints(points) if points.is_file() else None,
    )


def read_keypoints(path: Path) -> Keypoints:
    """Key points by frame from a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = {
        int(frame): np.asarray(points, np.float32)
        for frame, points in content["frames"].items()
    }
    return Keypoints(tuple(content["names"]), dict(sorted(frames.items())))


def write_clip(clip: Clip, folder: str | Path) -> Path:
    """Write a clip as a new folder, all of it or nothing; never over an old one."""
    folder = Path(folder)
    if folder.exists():
        raise ValueError(
            f"the folder of a new clip must not exist yet, got {str(folder)!r}; "
            "choose another name"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        write_parts(clip, draft)
        draft.chmod(0o755)  # mkdtemp makes folders for one user alone
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder


def write_parts(clip: Clip, folder: Path) -> None:
    """Write pictures, masks, cameras, features and clip.json into a folder."""
    (folder / "frames").mkdir()
    (folder / "masks").mkdir()
    for i, (image, mask) in enumerate(zip(clip.images, clip.masks, strict=True)):
        Image.fromarray(image).save(folder / "frames" / f"{i:05d}.png")
        pixels = np.where(mask, 255, 0).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "masks" / f"{i:05d}.png")
    if clip.camera_from_object is not None:
        cameras = np.asarray(clip.camera_from_object, np.float32)
        np.savez(folder / "cameras.npz", camera_from_object=cameras)
    if clip.features is not None:
        (folder / "features").mkdir()
        for i, value in enumerate(clip.features):
            np.save(folder / "features" / f"{i:05d}.npy", value.astype(np.float16))
    text = json.dumps(header_of(clip), indent=1)
    (folder / "clip.json").write_text(text + "\n", encoding="utf-8")


def header_of(clip: Clip) -> dict[str, Any]:
    """What clip.json says about a clip."""
    known = clip.intrinsics
    return {
        "version": VERSION,
        "name": clip.name,
        "fps": float(clip.fps),
        "size": [int(side) for side in clip.images.shape[1:3]],
        "num_frames": len(clip.images),
        "intrinsics": None if known is None else [float(v) for v in known],
        "prompt": clip.prompt,
        "cameras": clip.cameras,
        "source": clip.source,
        "licence": clip.licence,
    }
