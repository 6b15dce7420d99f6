"""Optical flow between frames of a clip, with the confidence that it deserves.

`flow[gap][i]` takes a pixel of frame i to frame i + gap (gap may be negative), as x
and y in pixels of the maps' own size. Where there is no such frame, or the pixel is not
on the object in both, its confidence is zero. A pixel is trusted as far as flow there
and back returns to it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adreamer_jax.data.cache import cached, content_hash
from adreamer_jax.data.clip import load_array
from adreamer_jax.types import Bool, Clip, Float

__all__ = ["GAPS", "Flow", "compute_flow", "flow_cached", "read_flow"]

GAPS = (1, 2, 4, 8)
FALL = 50 / 256  # confidence is exp(-FALL * error in 256ths of the longest side)
LEAST = 0.25  # confidence below this is none
REACH = 16.0  # of the outline into the pictures, in 256ths of the longest side
OUTLINE = 0.3  # share of the outline's depth in the gray values
ASTRAY = 0.02  # cost of a way there and back beside that of all grays
RECIPE = 2  # part of the cache's name: raise it when this file computes other numbers

Field = dict[int, Float[np.ndarray, "h w 2"]]  # by frame
Both = tuple[np.ndarray, np.ndarray]  # flow there and back, between two frames
Flow = dict[int, tuple[Float[np.ndarray, "t h w 2"], Float[np.ndarray, "t h w"]]]


def compute_flow(
    images: Float[np.ndarray, "t h w 3"],
    masks: Bool[np.ndarray, "t h w"],
    gaps: Sequence[int] = GAPS,
    *,
    size: tuple[int, int] | None = None,
) -> Flow:
    """Flow and confidence (float16) to the frames each gap after and before a frame.

    Flow is found at the images' own size and then averaged down to `size`, weighted by
    confidence: a coarse pixel at the outline takes the object's motion alone.
    """
    if min(gaps, default=1) < 1:
        raise ValueError(f"flow gaps must be at least 1 frame, got {tuple(gaps)}")
    size = size or masks.shape[1:]
    looks = [look_of(*pair) for pair in zip(images, masks, strict=True)]
    known: dict[int, Field] = {}
    flow = {}
    for gap in sorted(gaps):
        found = flow_between(looks, gap, known)
        for step in (gap, -gap):
            flow[step] = trusted(found[step], found[-step], masks, step, size)
        known = found | {s: f for s, f in known.items() if abs(s) * 2 > gap}
    return flow


class Look(NamedTuple):
    """A frame as the search sees it."""

    mask: Float[np.ndarray, "h w"]
    gray: np.ndarray  # [h w] of bytes, like the next
    outlined: np.ndarray


def look_of(image: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> Look:
    """A frame's gray values, and those with the outline's depth.

    Thin limbs of one color hardly differ from place to place but in how far their
    outline is, and an even ground takes even that away within a patch.
    """
    gray = gray_object(image, mask)
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)
        for part in (mask, ~mask)
    )
    # pixels of 256ths, so that the outline reaches as far at every size
    unit = max(mask.shape) / 256
    depth = np.clip((inside - outside) / unit, -REACH, REACH) * (128 / REACH)
    mixed = (1 - OUTLINE) * gray + OUTLINE * (128 + depth)
    outlined = np.clip(mixed, 0, 255).astype(np.uint8)
    return Look(mask.astype(np.float32), gray, outlined)


def flow_between(
    looks: Sequence[Look], gap: int, known: dict[int, Field]
) -> dict[int, Field]:
    """Flow from every frame to those ``gap`` after and before it, by step and frame.

    Several searches are made, and every pixel takes the one that suits it best. Where
    the flow of half the gap is known, two of them in a row are where they start, and
    one of the answers: over many frames a search from nothing falls onto the wrong
    leg. Else a second round starts from the motion since the frame before.
    """
    half = gap // 2
    if gap % 2 == 0 and half in known:

        def chained(i: int) -> Both:
            return (
                _in_a_row(known[half], i, half),
                _in_a_row(known[-half], i + gap, -half),
            )

        return _round(looks, gap, lambda i: [chained(i)])

    still = np.zeros((*looks[0].gray.shape, 2), np.float32)
    first = _round(looks, gap, lambda i: [], lambda i: (still, still))

    def found(i: int) -> Both:
        return first[gap][i], first[-gap][i + gap]

    def steady(i: int) -> Both:
        there, back = found(i)
        before, after = first[-gap].get(i), first[gap].get(i + gap)
        return (
            there if before is None else -before,
            back if after is None else -after,
        )

    return _round(looks, gap, lambda i: [found(i)], steady)


def _round(
    looks: Sequence[Look],
    gap: int,
    answers: Callable[[int], list[Both]],
    start: Callable[[int], Both] | None = None,
) -> dict[int, Field]:
    """The best of given answers and of searches, for every pair of frames (i, i + gap).

    Searches start from ``start``, or where there is none from the first answer.
    """
    best: dict[int, Field] = {gap: {}, -gap: {}}
    for i in range(len(looks) - gap):
        ends, tries = (looks[i], looks[i + gap]), answers(i)
        tries = tries + _searches(*ends, *(start(i) if start else tries[0]))
        best[gap][i], best[-gap][i + gap] = _best(*ends, tries)
    return best


def _in_a_row(flow: Field, i: int, step: int) -> Float[np.ndarray, "h w 2"]:
    """Two flows one after the other, from frame i."""
    return flow[i] + look_up(flow[i + step], flow[i])


def _searches(
    first: Look, second: Look, there: np.ndarray, back: np.ndarray
) -> list[Both]:
    """Flows (there, back) between two frames, by gray values and with the outline."""
    finder = _finder()
    pictures = (first.gray, second.gray), (first.outlined, second.outlined)
    return [
        (finder.calc(a, b, there.copy()), finder.calc(b, a, back.copy()))
        for a, b in pictures
    ]


def _best(first: Look, second: Look, tries: list[Both]) -> list[np.ndarray]:
    """Of several flows there and back, at every pixel the one that suits best."""
    best = []
    for way, (here, target) in enumerate(((first, second), (second, first))):
        costs = [misfit(here, target, pair[way], pair[1 - way]) for pair in tries]
        choice = np.argmin(costs, axis=0)[None, ..., None]
        options = np.stack([pair[way] for pair in tries])
        best.append(np.take_along_axis(options, choice, axis=0)[0])
    return best


def misfit(
    here: Look, target: Look, there: Float[np.ndarray, "h w 2"], back: np.ndarray
) -> Float[np.ndarray, "h w"]:
    """How ill a flow fits: change of gray about a pixel, and error of there and back.

    A landing off the object is as bad as half of all grays. Ways there and back count
    in 256ths of the longest side, up to twenty.
    """
    change = np.abs(here.gray - look_up(target.gray.astype(np.float32), there)) / 255
    change = np.where(look_up(target.mask, there) > 0.5, change, 0.5)
    error = np.linalg.norm(there + look_up(back, there), axis=-1)
    error = np.minimum(error * 256 / max(error.shape), 20)
    total = cv2.blur((change + ASTRAY * error) * here.mask, (5, 5))
    return total / np.maximum(cv2.blur(here.mask, (5, 5)), 1e-3)


def gray_object(
    image: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> np.ndarray:
    """The object in gray values before an even ground, which cannot pull at its rim."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.where(mask, gray, 128).astype(np.uint8)


def flow_at(grays: Sequence[np.ndarray], step: int) -> Field:
    """Dense flow from every frame i to i + step, by i: one plain search."""
    finder = _finder()
    frames = range(max(0, -step), len(grays) - max(0, step))
    still = np.zeros((*grays[0].shape, 2), np.float32)
    return {i: finder.calc(grays[i], grays[i + step], still.copy()) for i in frames}


def _finder() -> cv2.DISOpticalFlow:
    """DIS stops two octaves early by default.

    Going on to full size costs three times as much and is worth it.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)
    return finder


def trusted(
    there: Field,
    back: Field,
    masks: Bool[np.ndarray, "t h w"],
    step: int,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of flow and confidence for every frame, zero where there is none."""
    maps = np.zeros((len(masks), *size, 2), np.float16)
    trust = np.zeros((len(masks), *size), np.float16)
    for i, values in there.items():
        sure = confidence(values, back[i + step], masks[i], masks[i + step])
        maps[i], trust[i] = shrink(values, sure, masks[i], size)
    return maps, trust


def confidence(
    there: Float[np.ndarray, "h w 2"],
    back: Float[np.ndarray, "h w 2"],
    mask: Bool[np.ndarray, "h w"],
    target_mask: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"]:
    """exp(-FALL * e) of the way there and back, zero off the object at either end."""
    landed = look_up(back, there)
    error = np.linalg.norm(there + landed, axis=-1) * 256 / max(mask.shape)
    sure = np.exp(-FALL * error) * mask
    sure *= look_up(target_mask.astype(np.float32), there) > 0.5
    return np.where(sure < LEAST, 0.0, sure).astype(np.float32)


def look_up(values: np.ndarray, flow: Float[np.ndarray, "h w 2"]) -> np.ndarray:
    """Values at the places that flow leads to; zero outside the picture."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    x, y = (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderValue=0)


def shrink(
    flow: Float[np.ndarray, "h w 2"],
    sure: Float[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Flow at a coarser size, in its pixels, and the object's mean confidence there."""
    height, width = mask.shape
    if size == (height, width):
        return flow * (sure > 0)[..., None], sure
    weight = area(sure, size)
    mean = area(flow * sure[..., None], size) / np.maximum(weight, 1e-6)[..., None]
    mean *= [size[1] / width, size[0] / height]
    share = area(mask.astype(np.float32), size)
    return mean, weight / np.maximum(share, 1e-6)


def area(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Means over the area of each pixel of another size."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def read_flow(clip: Clip, *, size: tuple[int, int] | None = None) -> Flow:
    """The flow to the next and previous frame that a clip brings along, if any."""
    if clip.folder is None or not (clip.folder / "flow").is_dir():
        return {}
    size = size or clip.masks.shape[1:]
    count, flow = len(clip.images), {}
    for sign, word in ((1, "forward"), (-1, "backward")):
        maps = np.zeros((count, *size, 2), np.float16)
        trust = np.zeros((count, *size), np.float16)
        for i in range(count - 1) if sign > 0 else range(1, count):
            path = clip.folder / "flow" / f"{word}_{i:05d}.npz"
            values, sure = load_array(path, "flow"), load_array(path, "confidence")
            if (
                values.shape != (*clip.masks[i].shape, 2)
                or sure.shape != values.shape[:2]
            ):
                raise ValueError(
                    f"flow in {path} must have the size {clip.masks[i].shape}, "
                    f"got {values.shape} and {sure.shape}; mend or remove flow/"
                )
            known = clip.masks[i] & np.isfinite(values).all(-1) & np.isfinite(sure)
            values = np.where(known[..., None], values, 0).astype(np.float32)
            sure = np.where(known, np.clip(sure, 0, 1), 0).astype(np.float32)
            maps[i], trust[i] = shrink(values, sure, clip.masks[i], size)
        flow[sign] = maps, trust
    return flow


def flow_cached(
    clip: Clip,
    folder: str | Path,
    *,
    gaps: Sequence[int] = GAPS,
    size: tuple[int, int] | None = None,
) -> Flow:
    """The flow of a clip: its own where it brings some, else computed once and kept."""
    name = content_hash(clip.images, clip.masks, tuple(gaps), size, RECIPE)

    def compute() -> dict[str, np.ndarray]:
        flow = compute_flow(clip.images, clip.masks, gaps, size=size)
        maps = {f"flow{gap}": pair[0] for gap, pair in flow.items()}
        return maps | {f"confidence{gap}": pair[1] for gap, pair in flow.items()}

    arrays = cached(Path(folder) / f"flow-{name}.npz", compute)
    flow = {
        sign * gap: (arrays[f"flow{sign * gap}"], arrays[f"confidence{sign * gap}"])
        for gap in gaps
        for sign in (1, -1)
    }
    return flow | read_flow(clip, size=size)
