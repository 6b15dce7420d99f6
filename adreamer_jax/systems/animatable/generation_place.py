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


class _Body(NamedTuple):
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
    here = Place(1.0, np.zeros(3), 1.0)
    if not (drawn.any() and kept.any()):
        return here
    ours, theirs = _body(drawn), _body(kept)
    far, axes = reach * radius, np.stack([up, ahead]) * radius

    def place(log_scale: float, steps: tuple[float, float]) -> Place:
        scale, shift = float(np.exp(log_scale)), np.asarray(steps) @ axes
        moved = middle + scale * (ours.points - middle) + shift
        back = middle + (theirs.points - middle - shift) / scale
        there = np.minimum(_at(theirs.away, moved), far) @ ours.share
        and_back = np.minimum(scale * _at(ours.away, back), far) @ theirs.share
        out = np.abs(moved).max() > max(1.0, np.abs(ours.points).max())
        miss = np.inf if out else (there + and_back) / (2.0 * far)
        return Place(scale, shift, float(miss))

    low, high = np.log(scales)
    found = (0.0, 0.0, 0.0)
    best = place(found[0], found[1:])
    for number, step in enumerate(_STEPS):
        if number == 0:
            wide = np.append(np.linspace(low, high, 7), 0.0)
            grid = product(wide, _around(UP, step), _around(AHEAD, step))
        else:
            near = [(x - step, x, x + step) for x in found]
            grid = product(np.clip(near[0], low, high), *near[1:])
        for candidate in grid:
            now = place(candidate[0], candidate[1:])
            if now.miss < best.miss:
                best, found = now, candidate
    return best


def largest_part(cells: Bool[np.ndarray, "c c c"]) -> Bool[np.ndarray, "c c c"]:
    """The largest of the parts that hang together; what floats apart is left out."""
    parts = np.zeros(cells.shape, np.int32)
    ndimage.label(cells, output=parts)
    sizes = np.bincount(parts.ravel())[1:]
    return parts == 1 + np.argmax(sizes) if len(sizes) else cells


def _body(cells: Bool[np.ndarray, "c c c"]) -> _Body:
    side = len(cells)
    points = (np.argwhere(cells) + 0.5) / side * 2.0 - 1.0
    share = 1.0 / local_thickness(cells)[cells] ** 2
    away = np.asarray(ndimage.distance_transform_edt(~cells)) * (2.0 / side)
    return _Body(points, share / share.sum(), away)


def _at(
    values: Float[np.ndarray, "c c c"], points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
    """Values between the centers of cells; those of the border outside of the cube."""
    index = (points + 1.0) * (len(values) / 2.0) - 0.5
    return ndimage.map_coordinates(values, index.T, order=1, mode="nearest")


def _around(most: float, step: float) -> Float[np.ndarray, "n"]:
    return step * np.arange(-round(most / step), round(most / step) + 1)
