"""Where a drawn animal stands among the bones of the extracted one.

The prior draws an animal that fills its pictures, about the middle of the extracted
one. There its legs need not be where the extracted one has legs: a horse's long tail
moves the middle back, and a cow's hind legs hang on the bones of that tail. So the
drawn animal is shifted and scaled within the mirror plane until limbs lie on limbs.
Animals differ in thickness, so cells count in inverse proportion to the square of the
thickness of their part: a limb and the trunk by their lengths, not by their volumes.
On the host, once a run.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from adreamer_jax.systems.animatable.upkeep import local_thickness
from adreamer_jax.types import Bool, Float

UP, AHEAD = 0.5, 0.5  # the farthest shifts, in radii
_STEPS = (0.1, 0.05, 0.025)  # of the search: radii, and the logarithm of the scale


class Place(NamedTuple):
    """How a drawn animal is moved: x becomes middle + scale (x - middle) + shift."""

    scale: float
    shift: Float[np.ndarray, "3"]
    miss: float  # 0: it lies where the extracted one lies, 1: nowhere near


class Body(NamedTuple):
    """Cells of the cube [-1, 1]^3 that something fills."""

    points: Float[np.ndarray, "n 3"]  # centers of its cells
    share: Float[np.ndarray, "n"]  # of its length that a cell stands for
    away: Float[np.ndarray, "c c c"]  # distance to it


def best_place(
    drawn: Bool[np.ndarray, "c c c"],
    kept: Bool[np.ndarray, "c c c"],
    *,
    middle: Float[np.ndarray, "3"],
    radius: float,
    up: Float[np.ndarray, "3"],
    ahead: Float[np.ndarray, "3"],
    reach: float,
    scales: tuple[float, float],
) -> Place:
    """The place at which the drawn body lies nearest to the kept one.

    Both fill cells of the cube [-1, 1]^3. The mean distance from each body to the other
    is least, where no distance counts more than ``reach`` (in radii, as shifts are): a
    trunk that the other lacks decides nothing. The identity where one of them is empty;
    no place moves a part out of the cube that is in it.
    """
    if not (drawn.any() and kept.any()):
        return Place(1.0, np.zeros(3), 1.0)
    ours, theirs = body_of(drawn), body_of(kept)
    axes, border = np.stack([up, ahead]) * radius, max(1.0, np.abs(ours.points).max())

    def place(log_scale: float, *steps: float) -> Place:
        scale, shift = float(np.exp(log_scale)), np.asarray(steps) @ axes
        moved = middle + scale * (ours.points - middle) + shift
        if np.abs(moved).max() > border:
            return Place(scale, shift, np.inf)
        here = {"middle": middle, "scale": scale, "shift": shift}
        return Place(scale, shift, misfit(ours, theirs, **here, far=reach * radius))

    low, high = np.log(scales)
    wide = np.append(np.linspace(low, high, 7), 0.0)
    grid = product(wide, _around(UP, _STEPS[0]), _around(AHEAD, _STEPS[0]))
    found, best = (0.0, 0.0, 0.0), place(0.0, 0.0, 0.0)
    for step in _STEPS[1:]:
        for candidate in grid:
            now = place(*candidate)
            if now.miss < best.miss:
                best, found = now, candidate
        near = [(x - step, x, x + step) for x in found]
        grid = product(np.clip(near[0], low, high), *near[1:])
    return min(
        [best, *(place(*candidate) for candidate in grid)], key=lambda place: place.miss
    )


def misfit(
    ours: Body,
    theirs: Body,
    *,
    middle: Float[np.ndarray, "3"],
    scale: float = 1.0,
    shift: Float[np.ndarray, "3"] | float = 0.0,
    far: float,
) -> float:
    """Mean distance from each body, ours moved, to the other, as a share of ``far``."""
    moved = middle + scale * (ours.points - middle) + shift
    back = middle + (theirs.points - middle - shift) / scale
    there = np.minimum(_at(theirs.away, moved), far) @ ours.share
    and_back = np.minimum(scale * _at(ours.away, back), far) @ theirs.share
    return float(there + and_back) / (2.0 * far)


def largest_part(cells: Bool[np.ndarray, "c c c"]) -> Bool[np.ndarray, "c c c"]:
    """The largest of the parts that hang together; what floats apart is left out."""
    parts = np.zeros(cells.shape, np.int32)
    ndimage.label(cells, output=parts)
    sizes = np.bincount(parts.ravel())[1:]
    return parts == 1 + np.argmax(sizes) if len(sizes) else cells


def body_of(cells: Bool[np.ndarray, "c c c"]) -> Body:
    """The body of cells of which at least one is filled."""
    side = len(cells)
    points = (np.argwhere(cells) + 0.5) / side * 2.0 - 1.0
    share = 1.0 / local_thickness(cells)[cells] ** 2
    away = np.asarray(ndimage.distance_transform_edt(~cells)) * (2.0 / side)
    return Body(points, share / share.sum(), away)


def _at(
    values: Float[np.ndarray, "c c c"], points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
    """Values between the centers of cells; those of the border outside of the cube."""
    index = (points + 1.0) * (len(values) / 2.0) - 0.5
    return ndimage.map_coordinates(values, index.T, order=1, mode="nearest")


def _around(most: float, step: float) -> Float[np.ndarray, "n"]:
    return step * np.arange(-round(most / step), round(most / step) + 1)
