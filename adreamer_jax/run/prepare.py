"""The job `prepare`: a film in, a clip folder out.

The film is only read and an existing clip is never touched. A picture beside the frames
shows a person whether the masks are good.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adreamer_jax.core.image import grid
from adreamer_jax.data.clip import MIN_FRAMES, write_clip
from adreamer_jax.data.film import Film, read_film
from adreamer_jax.data.lab4d import is_lab4d, read_lab4d
from adreamer_jax.data.masks import first_mask, follow_mask, read_masks
from adreamer_jax.run.progress import say, timed
from adreamer_jax.types import Bool, Clip, Float

__all__ = ["film_clip", "mask_sheet", "prepare"]


def prepare(config: Any, workdir: str | Path) -> None:
    """Write the clip that a recipe describes, at its `data.clip` or the work folder."""
    options = getattr(config, "prepare", None)
    if options is None or not options.source:
        raise ValueError(
            "--job=prepare must know its film, got none; write --config="
            "configs/prepare.py --config.prepare.source=film.mp4 --config.data.clip=new"
        )
    folder = Path(config.data.clip or workdir).expanduser()
    if folder.exists():
        raise ValueError(
            f"the folder of a new clip must not exist yet, got {str(folder)!r}; choose "
            "another --config.data.clip"
        )
    source = Path(options.source).expanduser()
    if is_lab4d(source):
        check_unused(options)
        clip = read_lab4d(
            source,
            longest=options.longest,
            prompt=options.prompt,
            **({"fps": options.fps} if options.fps else {}),
        )
    else:
        clip = film_clip(source, folder.name, options)
    write_clip(clip, folder)
    Image.fromarray(mask_sheet(clip)).save(folder / "masks.png")
    height, width = clip.masks.shape[1:]
    say(
        f"{folder}: {len(clip.images)} frames of {width} x {height}; look at "
        f"{folder / 'masks.png'}, then train with --config.data.clip={folder}"
    )


def check_unused(options: Any) -> None:
    """Refuse settings that mean nothing to a sequence of Lab4D."""
    for key in ("masks", "box", "start", "stop", "intrinsics"):
        if options[key]:
            raise ValueError(
                f"--config.prepare.{key} must be left out for a sequence that Lab4D "
                "has processed, which has masks and cameras of its own, got "
                f"{options[key]!r}"
            )


def film_clip(source: Path, name: str, options: Any) -> Clip:
    """A clip of a video or a folder of pictures."""
    with timed("reading the film"):
        film = read_film(
            source,
            longest=options.longest,
            most=options.most,
            fps=options.fps,
            start=options.start,
            stop=options.stop,
        )
    if len(film.images) < MIN_FRAMES:
        raise ValueError(
            f"a clip must have at least {MIN_FRAMES} frames, got {len(film.images)} of "
            f"{source}; film longer, or raise --config.prepare.fps or stop"
        )
    if film.goes_on:
        seconds = len(film.images) / film.fps
        say(
            f"{source} goes on after the {seconds:.1f} s of which the clip is made "
            f"({len(film.images)} frames, {film.fps:g} a second). A lower "
            "--config.prepare.fps or a higher --config.prepare.most takes in more"
        )
    return Clip(
        name=name,
        fps=film.fps,
        prompt=options.prompt,
        images=film.images,
        masks=film_masks(film, options),
        camera_from_object=None,
        intrinsics=film_intrinsics(film, tuple(options.intrinsics)),
        cameras="none",
        source=source.name,
    )


def film_masks(film: Film, options: Any) -> Bool[np.ndarray, "t h w"]:
    """Masks as given, or followed from a first one, given or cut out of a box."""
    if options.masks:
        masks, complete = read_masks(Path(options.masks).expanduser(), film)
        if complete:
            return masks
        first = masks[0]
    else:
        scale = film.images.shape[2] / film.source_size[1]
        box = tuple(float(v) * scale for v in options.box) or None
        if box is not None and len(box) != 4:
            raise ValueError(
                "--config.prepare.box must be (left, top, right, bottom) in pixels, "
                f"got {tuple(options.box)}"
            )
        first = first_mask(film.images[0], box)
    with timed("following the object"):
        return follow_mask(film.images, first)


def film_intrinsics(
    film: Film, values: tuple[float, ...]
) -> Float[np.ndarray, "4"] | None:
    """Given intrinsics in the clip's pixels."""
    if not values:
        return None
    if len(values) != 4 or min(values[:2]) <= 0:
        raise ValueError(
            "--config.prepare.intrinsics must be (fx, fy, cx, cy) in film pixels, "
            f"got {values}"
        )
    height, width = film.source_size
    x, y = film.images.shape[2] / width, film.images.shape[1] / height
    return np.array(values, np.float32) * np.array([x, y, x, y], np.float32)


def mask_sheet(clip: Clip, *, number: int = 12) -> np.ndarray:
    """Some frames of a clip with everything but the object pale."""
    frames = np.unique(np.linspace(0, len(clip.images) - 1, number).astype(int))
    ground = clip.images // 4 + 180
    shown = np.where(clip.masks[..., None], clip.images, ground)[frames]
    columns = 4
    blank = np.full_like(shown[0], 255)
    cells = [*shown, *[blank] * (-len(shown) % columns)]
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return grid([[np.ascontiguousarray(p) for p in row] for row in rows])
