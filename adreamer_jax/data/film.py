"""A film of anything becomes frames of one size.

Videos are read as they are meant to be seen: turned by their rotation mark, with square
pixels, and at an even rate though the camera's own was uneven.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from PIL import Image, ImageOps, UnidentifiedImageError

from adreamer_jax.data.flow import area
from adreamer_jax.types import Float

__all__ = [
    "Film",
    "fit_size",
    "open_picture",
    "picture_files",
    "read_film",
]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LEAST = 16  # pixels: what flow and pictures of a training need


class Film(NamedTuple):
    """Frames of one size, and which pictures of the source they are."""

    images: Float[np.ndarray, "t h w 3"]  # uint8
    fps: float
    indices: list[int]
    source_size: tuple[int, int]
    names: tuple[str, ...] = ()  # of all pictures of a folder, without their endings
    goes_on: bool = False  # behind the last frame taken, before any `stop`


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
    names = ()
    if path.is_dir():
        files = picture_files(path)
        names = tuple(file.stem for file in files)
        shown, rate = pictures(path, files), fps or 24.0
    elif path.is_file():
        rate = fps or video_rate(path)
        shown = evenly(video(path), rate)
    else:
        raise ValueError(
            f"the film must be a video file or a folder of pictures, got {str(path)!r} "
            "which does not exist; check --config.prepare.source"
        )
    images, indices, size, source_size = [], [], None, None
    goes_on = False
    for number, (index, picture) in enumerate(shown):
        if number < start * rate:
            continue
        if stop and number >= stop * rate:
            break
        goes_on = len(images) == most
        if goes_on:
            break
        size = size or checked_size(picture.shape[:2], longest)
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
    return Film(np.stack(images), rate, indices, source_size, names, goes_on)


def fit_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Height and width with a longest side, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def checked_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size of the frames; a ValueError where one side would be next to nothing."""
    fitted = fit_size(size, longest)
    if min(fitted) < LEAST:
        raise ValueError(
            f"frames must have at least {LEAST} pixels on either side, got "
            f"{fitted[1]} x {fitted[0]} of a film of {size[1]} x {size[0]}; raise "
            "--config.prepare.longest, or crop the film"
        )
    return fitted


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names."""
    found = [
        p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != "."
    ]

    def order(path: Path) -> tuple:
        digits = "".join(c if c.isdecimal() else " " for c in path.stem).split()
        return [int(d) for d in digits], path.name

    return sorted(found, key=order)


def pictures(folder: Path, files: list[Path]) -> Iterator[tuple[int, np.ndarray]]:
    """A folder's pictures, turned as their camera says, with their numbers."""
    if not files:
        raise ValueError(
            f"a folder of pictures must hold {', '.join(PICTURES)} files, got none in "
            f"{folder}; check --config.prepare.source"
        )
    for index, path in enumerate(files):
        yield index, rgb(open_picture(path), path)


def rgb(picture: Image.Image, path: Path) -> np.ndarray:
    """A picture's colors as uint8; grays of 16 bits keep their upper half."""
    if picture.mode == "F":
        raise ValueError(
            f"{path} must have 8 or 16 bits a color, got floating point; convert it"
        )
    if picture.mode[0] == "I":  # also what PNG files of 16 bits open as
        gray = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255)
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1)
    return np.asarray(picture.convert("RGB"))


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
        container = av.open(f"file:{path}")  # else 12:30.mp4 is by the protocol 12
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
