"""Folders that Lab4D's preprocessing made, read as one of our clips.

Lab4D spreads a sequence over `<database>/processed/<kind>/Full-Resolution/<sequence>`,
with kinds JPEGImages, Annotations, Cameras and Features, and keeps intrinsics in
`<database>/configs/<name>.config`. Its conventions end here: pixel centers at whole
numbers become centers at +0.5, and its object space, whose y points down and z away, is
turned to ours with y up.
"""

import configparser
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from adreamer_jax.data.clip import MIN_FRAMES, check_cameras, load_array
from adreamer_jax.data.film import fit_size
from adreamer_jax.types import Clip, Float

__all__ = ["is_lab4d", "read_lab4d"]

# Our object space from Lab4D's: half a turn about x. It is its own inverse.
OURS_FROM_LAB4D = np.diag([1.0, -1.0, -1.0, 1.0])


def is_lab4d(folder: str | Path) -> bool:
    """Whether a folder is the pictures of a sequence that Lab4D has processed."""
    folder = Path(folder).absolute()
    return (
        folder.parent.name == "Full-Resolution"
        and folder.parent.parent.name == "JPEGImages"
        and kind_folder(folder, "Annotations").is_dir()
    )


def kind_folder(folder: Path, kind: str) -> Path:
    """The folder of another kind of the same sequence."""
    folder = folder.absolute()
    return folder.parents[2] / kind / folder.parent.name / folder.name


def read_lab4d(
    folder: str | Path, *, longest: int = 256, fps: float = 10.0, prompt: str = ""
) -> Clip:
    """The clip in `<database>/processed/JPEGImages/Full-Resolution/<sequence>`.

    Frames where Lab4D found no object are left out; pictures are shrunk to a longest
    side and intrinsics with them.
    """
    folder = Path(folder)
    if not is_lab4d(folder):
        raise ValueError(
            "a Lab4D sequence must be processed/JPEGImages/Full-Resolution/<sequence> "
            f"with Annotations beside JPEGImages, got {str(folder)!r}"
        )
    files = sorted(folder.glob("*.jpg"))
    annotations = [
        load_array(kind_folder(folder, "Annotations") / f"{path.stem}.npy")
        for path in files
    ]
    seen = [i for i, labels in enumerate(annotations) if (labels == 1).any()]
    if len(seen) < MIN_FRAMES:
        raise ValueError(
            f"a clip must have at least {MIN_FRAMES} frames with an object, got "
            f"{len(seen)} of {len(files)} in {folder}"
        )
    pictures = [np.asarray(Image.open(files[i]).convert("RGB")) for i in seen]
    full = pictures[0].shape[:2]
    size = fit_size(full, longest)
    cameras = read_cameras(kind_folder(folder, "Cameras"), len(files))
    features = read_features(kind_folder(folder, "Features"), len(files))
    return Clip(
        name=folder.name,
        fps=fps,
        prompt=prompt,
        images=np.stack([shrunk(picture, size) for picture in pictures]),
        masks=np.stack(
            [shrunk((annotations[i] == 1) * np.float32(1), size) > 0.5 for i in seen]
        ),
        camera_from_object=None if cameras is None else cameras[seen],
        intrinsics=read_intrinsics(folder, full, size),
        cameras="none" if cameras is None else "noisy",
        source=f"Lab4D {folder.name}",
        features=None if features is None else features[seen],
    )


def shrunk(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture at a smaller size, by area."""
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def read_cameras(folder: Path, count: int) -> Float[np.ndarray, "t 4 4"] | None:
    """Root poses toward our object space, the registered ones where there are any."""
    for name in ("01-canonical.npy", "01.npy"):
        path = folder / name
        if path.is_file():
            values = check_cameras(load_array(path), count, path)
            return (values @ OURS_FROM_LAB4D).astype(np.float32)
    return None


def read_features(folder: Path, count: int) -> Float[np.ndarray, "t h w c"] | None:
    """Descriptors of whole pictures, if there are any; those of crops are not read."""
    path = folder / "full-256-dinov2-01.npy"
    if not path.is_file():
        return None
    values = load_array(path)
    if values.ndim != 4 or len(values) != count:
        raise ValueError(
            f"{path} must hold a map a frame, [{count}, h, w, c], got {values.shape}; "
            "process the sequence anew or remove the file"
        )
    return values


def read_intrinsics(
    folder: Path, full: tuple[int, int], size: tuple[int, int]
) -> Float[np.ndarray, "4"] | None:
    """fx fy cx cy at our size from `configs/<name>.config`, None where it says none.

    The name is the sequence's without its last number, and that number says which
    section, data_0 and so on, it has there.
    """
    name, _, number = folder.name.rpartition("-")
    path = folder.absolute().parents[3] / "configs" / f"{name}.config"
    parser = configparser.ConfigParser()
    if not parser.read(path) or not number.isdigit():
        return None
    text = parser.get(f"data_{int(number)}", "ks", fallback="")
    if not text.strip():
        return None
    values = [float(v) for v in text.replace(",", " ").split()]
    if len(values) != 4 or min(values[:2]) <= 0 or not np.isfinite(values).all():
        raise ValueError(
            f"ks of data_{int(number)} in {path} must be fx fy cx cy in pixels, got "
            f"{text!r}; correct or remove the line"
        )
    scale = np.array([size[1] / full[1], size[0] / full[0]])
    focal, center = np.array(values[:2]), np.array(values[2:])
    return np.r_[focal * scale, (center + 0.5) * scale].astype(np.float32)
