"""Masks of a film's object: given ones found, or one followed from frame to frame.

Without masks the object is cut out of the first frame by color (GrabCut, inside a box)
and followed by optical flow, each frame being cut anew around where the flow says that
the object is; one good mask of the first frame does the most for the rest.
"""

import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from adreamer_jax.data.film import Film, open_picture, picture_files
from adreamer_jax.data.flow import area, flow_at, look_up
from adreamer_jax.types import Bool, Float

__all__ = ["first_mask", "follow_mask", "read_masks"]

NO_BOX = (0, 0, 1, 1)  # not looked at when a labeled picture is given
Box = tuple[float, float, float, float]  # left, top, right, bottom


def read_masks(path: str | Path, film: Film) -> tuple[Bool[np.ndarray, "t h w"], bool]:
    """Given masks of a film, and whether they are all there or the first frame's alone.

    A folder holds one picture for each picture of the source (`mask_files`); a file is
    the mask of the first frame.
    """
    path = Path(path)
    if path.is_file():
        return np.stack([read_mask(path, film)]), False
    files = picture_files(path) if path.is_dir() else []
    if len(files) <= max(film.indices):
        raise ValueError(
            "masks must be one picture of the first frame or a folder with one for "
            f"each picture of the source, got {len(files)} in {str(path)!r} "
            f"and {max(film.indices) + 1} frames; check --config.prepare.masks"
        )
    chosen = mask_files(path, files, film)
    return np.stack([read_mask(file, film) for file in chosen]), True


def mask_files(folder: Path, files: list[Path], film: Film) -> list[Path]:
    """The mask of every frame: by its name, else by its place.

    Places count only where no mask can be missing or too many: as many as pictures, or
    numbered without a gap from 0 or 1 on, as of a video, whose end they need not reach.
    """
    named = {file.stem: file for file in files}
    wanted = [film.names[index] for index in film.indices] if film.names else []
    if wanted and all(name in named for name in wanted):
        return [named[name] for name in wanted]
    if film.names and len(files) != len(film.names):
        lacking = next(name for name in wanted if name not in named)
        raise ValueError(
            "masks must be named as the pictures of the film or be as many, got "
            f"{len(files)} in {folder} for {len(film.names)} and none named {lacking}"
        )
    if not film.names:
        _check_numbers(folder, files)
    return [files[index] for index in film.indices]


def _check_numbers(folder: Path, files: list[Path]) -> None:
    first = 1 if _number(files[0]) == 1 else 0
    for due, file in enumerate(files, start=first):
        if _number(file) != due:
            raise ValueError(
                "masks of a video must be numbered without a gap from its first frame "
                f"on (0 or 1), got {file.name} in {folder} where number {due} should "
                "be; add what is missing and take away what is no mask"
            )


def _number(file: Path) -> int | None:
    found = re.findall("[0-9]+", file.stem)
    return int(found[-1]) if found else None


def read_mask(path: Path, film: Film) -> Bool[np.ndarray, "h w"]:
    """A mask at a film's size.

    In a cut-out all that is opaque is the object, in a picture of colors by index (a
    palette) everything but the first color, else all that is brighter than half.
    """
    mask = shown_by(open_picture(path))
    if mask.shape != film.source_size:
        raise ValueError(
            f"{path} must have the frames' size {film.source_size}, got {mask.shape}; "
            "make it anew"
        )
    if not mask.any():
        raise ValueError(
            f"{path} must show the object in white, got an empty mask; mend it, or cut "
            "the film to the frames that show the object"
        )
    return area(mask.astype(np.float32), film.images.shape[1:3]) > 0.5


def shown_by(picture: Image.Image) -> Bool[np.ndarray, "h w"]:
    """What a mask picture says is the object."""
    if "A" in picture.getbands():
        opaque = np.asarray(picture.getchannel("A")) > 127
        if not opaque.all() and opaque.any():
            return opaque
    if picture.mode == "P":
        return np.asarray(picture) > 0
    return np.asarray(picture.convert("L")) > 127


def follow_mask(
    images: Float[np.ndarray, "t h w 3"], first: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "t h w"]:
    """Masks of the object that a mask shows in the first frame, carried on by flow.

    Colors are learned in the first frame alone: learned anew in every frame they would
    slowly take in the ground.
    """
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    back = flow_at(grays, -1)
    colors = color_models(images[0], first)
    masks = [first]
    for i in range(1, len(images)):
        there = look_up(masks[-1].astype(np.float32), back[i])
        mask = next_mask(images[i], there, colors)
        # A frame that loses the object (a blur, a flash) keeps what the flow says.
        lost = not 0.5 < mask.sum() / max((there > 0.5).sum(), 1) < 2.0
        masks.append(there > 0.5 if lost else mask)
        if not masks[-1].any():
            raise ValueError(
                f"the object must stay in sight, got nothing of it in frame {i}; stop "
                "the clip before with --config.prepare.stop, or give masks"
            )
    return np.stack(masks)


def first_mask(
    image: Float[np.ndarray, "h w 3"], box: Box | None = None, *, rounds: int = 8
) -> Bool[np.ndarray, "h w"]:
    """The object inside a box, by its colors against those outside.

    The box (pixels) must hold the whole object and leave some ground; without one it is
    the picture without a rim of a twentieth.
    """
    height, width = image.shape[:2]
    box = box or (0.05 * width, 0.05 * height, 0.95 * width, 0.95 * height)
    left, right = np.clip(np.rint([box[0], box[2]]), 0, width).astype(int)
    top, bottom = np.clip(np.rint([box[1], box[3]]), 0, height).astype(int)
    if (
        right - left < 4
        or bottom - top < 4
        or (right - left) * (bottom - top) >= (height * width)
    ):
        raise ValueError(
            "the box must be left, top, right, bottom in pixels, smaller than the "
            f"picture ({width} x {height}), got {box}; change --config.prepare.box"
        )
    labels = np.zeros((height, width), np.uint8)
    colors = np.zeros((1, 65)), np.zeros((1, 65))
    place = (int(left), int(top), int(right - left), int(bottom - top))
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, place, *colors, rounds, cv2.GC_INIT_WITH_RECT)
    mask = whole(labels == cv2.GC_PR_FGD)
    if mask.sum() < 16:
        raise ValueError(
            "the object must differ from the ground in color, got nothing in the box "
            f"{box} of the first frame; give --config.prepare.masks"
        )
    return mask


def color_models(
    image: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> tuple[np.ndarray, np.ndarray]:
    """GrabCut's models of the colors off and on the object, learned from a mask."""
    labels = np.where(mask, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    labels[~mask & grown(mask, 0.02)] = cv2.GC_PR_BGD
    colors = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, NO_BOX, *colors, 1, cv2.GC_INIT_WITH_MASK)
    return colors


def next_mask(
    image: Float[np.ndarray, "h w 3"],
    there: Float[np.ndarray, "h w"],
    colors: tuple[np.ndarray, np.ndarray],
) -> Bool[np.ndarray, "h w"]:
    """The object in a frame, near to where it should be and in the colors it had."""
    inside = there > 0.5
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[grown(inside, 0.02)] = cv2.GC_PR_BGD
    labels[inside] = cv2.GC_PR_FGD
    labels[~grown(~inside, 0.02)] = cv2.GC_FGD
    ground, coat = (model.copy() for model in colors)  # GrabCut writes into them
    cv2.grabCut(image, labels, NO_BOX, ground, coat, 1, cv2.GC_EVAL)
    return whole((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def grown(mask: Bool[np.ndarray, "h w"], share: float) -> Bool[np.ndarray, "h w"]:
    """A mask with a rim of a share of the picture's longest side."""
    reach = max(1, round(share * max(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def whole(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """A mask without specks and pinholes: parts of a twentieth of the largest stay."""
    kept = large_parts(mask, 0.05)
    holes = large_parts(~kept, 0.002)
    return ~holes


def large_parts(mask: Bool[np.ndarray, "h w"], share: float) -> np.ndarray:
    """Connected parts of at least a share of the largest one's area."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return np.zeros_like(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return np.isin(labels, 1 + np.flatnonzero(areas >= share * areas.max()))
