"""A film of anything becomes frames and masks of one size.

Videos are read as they are meant to be seen: turned by their rotation mark, with square
pixels, and at an even rate though the camera's own was uneven. Without masks the object
is cut out of the first frame by color (GrabCut, inside a box) and followed by optical
flow, each frame being cut anew around where the flow says that the object is; one good
mask of the first frame does the most for the rest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from PIL import Image, ImageOps, UnidentifiedImageError

from adreamer_jax.data.flow import area, flow_at, look_up
from adreamer_jax.types import Bool, Float

__all__ = [
    "Film",
    "first_mask",
    "fit_size",
    "follow_mask",
    "read_film",
    "read_masks",
]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
NO_BOX = (0, 0, 1, 1)  # not looked at when a labeled picture is given
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Film(NamedTuple):
    """Frames of one size, and which pictures of the source they are."""

    images: Float[np.ndarray, "t h w 3"]  # uint8
    fps: float
    indices: list[int]
    source_size: tuple[int, int]


def read_film(
    path: str | Path,
    *,
    longest: int,
    most: int,
    fps: float = 0.0,
    start: float = 0.0,
    stop: float = 0.0,
) -> Film:
    """Frames of a video file or a folder of pictures, shrunk to a longest side.

    `fps` 0 takes the video's own rate (24 for pictures), `stop` 0 the end; at most
    `most` frames are taken from `start` on (seconds).
    """
    path = Path(path)
    if path.is_dir():
        shown, rate = pictures(path), fps or 24.0
    elif path.is_file():
        rate = fps or video_rate(path)
        shown = evenly(video(path), rate)
    else:
        raise ValueError(
            f"the film must be a video file or a folder of pictures, got {str(path)!r} "
            "which does not exist; check --config.prepare.source"
        )
    images, indices, size, source_size = [], [], None, None
    for number, (index, picture) in enumerate(shown):
        if number < start * rate:
            continue
        if len(images) == most or (stop and number >= stop * rate):
            break
        size = size or fit_size(picture.shape[:2], longest)
        source_size = source_size or picture.shape[:2]
        if picture.shape[:2] != source_size:
            raise ValueError(
                f"pictures of {path} must have one size, got {picture.shape[:2]} after "
                f"{source_size}; sort out the odd ones"
            )
        images.append(area(picture, size))
        indices.append(index)
    if source_size is None:
        raise ValueError(
            f"{path} must show something between {start} s and its end or stop, got "
            "no frame; change --config.prepare.start and stop"
        )
    return Film(np.stack(images), rate, indices, source_size)


def fit_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Height and width with a longest side, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names."""
    found = [
        p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != "."
    ]

    def order(path: Path) -> tuple:
        digits = "".join(c if c.isdigit() else " " for c in path.stem).split()
        return [int(d) for d in digits], path.name

    return sorted(found, key=order)


def pictures(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Pictures of a folder, turned as their camera says, with their numbers."""
    files = picture_files(folder)
    if not files:
        raise ValueError(
            f"a folder of pictures must hold {', '.join(PICTURES)} files, got none in "
            f"{folder}; check --config.prepare.source"
        )
    for index, path in enumerate(files):
        yield index, np.asarray(open_picture(path).convert("RGB"))


def open_picture(path: Path) -> Image.Image:
    """A picture file, damage being an error."""
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise ValueError(
            f"{path} must be a whole picture, got {error}; remove or mend it"
        ) from None


def video_rate(path: Path) -> float:
    """Mean frames per second of a video, at most 30."""
    with open_video(path) as container:
        rate = container.streams.video[0].average_rate
    return min(float(rate), 30.0) if rate else 24.0


def open_video(path: Path) -> InputContainer:
    """An opened video file that does have pictures."""
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError) as error:
        raise ValueError(
            f"{path} must be a video file, got {error}; convert it to mp4"
        ) from None
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path} must hold pictures, got sound alone")
    return container


def video(path: Path) -> Iterator[tuple[int, float, np.ndarray]]:
    """Number, time in seconds and picture of every frame, as it is to be seen."""
    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        aspect = float(stream.sample_aspect_ratio or 1)
        try:
            for number, frame in enumerate(container.decode(stream)):
                picture = frame.to_ndarray(format="rgb24")
                height, width = picture.shape[:2]
                if aspect != 1:
                    picture = area(picture, (height, round(width * aspect)))
                # A mark of -90 asks for a quarter turn clockwise.
                turned = np.rot90(picture, round(frame.rotation / 90))
                time = frame.time if frame.time is not None else number / 24.0
                yield number, time, np.ascontiguousarray(turned)
        except FFmpegError as error:
            raise ValueError(
                f"{path} must be a whole video, got {error}; copy or convert it anew"
            ) from None


def evenly(
    frames: Iterator[tuple[int, float, np.ndarray]], rate: float
) -> Iterator[tuple[int, np.ndarray]]:
    """The frame on show at every tick of an even clock."""
    grace = 5e-4  # time stamps are rounded
    begin, end, tick, last = 0.0, 0.0, 0, None
    for number, time, picture in frames:
        begin = time if last is None else begin
        while last is not None and begin + tick / rate < time - grace:
            yield last
            tick += 1
        last, end = (number, picture), time
    if last is not None and begin + tick / rate < end + grace:
        yield last


def read_masks(path: str | Path, film: Film) -> tuple[Bool[np.ndarray, "t h w"], bool]:
    """Given masks of a film, and whether they are all there or the first frame's alone.

    A folder holds one picture for each picture of the source; a file is the mask of the
    first frame.
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
    return np.stack([read_mask(files[index], film) for index in film.indices]), True


def read_mask(path: Path, film: Film) -> Bool[np.ndarray, "h w"]:
    """A mask at a film's size.

    In a picture of colors by index (a palette) everything but the first color is the
    object, else all that is brighter than half.
    """
    picture = open_picture(path)
    values = np.asarray(picture if picture.mode == "P" else picture.convert("L"))
    mask = values > (0 if picture.mode == "P" else 127)
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
