"""Limbs onto limbs: a body that was moved is found, whatever else the other one has."""

import numpy as np
import pytest

from adreamer_jax.systems.animatable import generation_place as gp

CELLS = 40
UP, AHEAD = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
ABOUT = {"middle": np.zeros(3), "radius": 0.8, "up": UP, "ahead": AHEAD}


def boxes(*pairs, scale=1.0, shift=(0.0, 0.0, 0.0)):
    """Cells of boxes (middle, half sides), moved as a place moves them."""
    axis = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    points = (points - np.asarray(shift)) / scale
    inside = [np.all(np.abs(points - m) <= h, axis=-1) for m, h in pairs]
    return np.any(inside, axis=0)


def quadruped(*more, thick=1.0, **moved):
    """A trunk, four legs and a head, and what else there is."""
    legs = [
        ((x, -0.2, z), (0.06, 0.25, 0.06)) for x in (-0.12, 0.12) for z in (-0.3, 0.3)
    ]
    trunk = ((0.0, 0.12, 0.0), (0.18 * thick, 0.12 * thick, 0.4))
    head = ((0.0, 0.28, 0.45), (0.08, 0.12, 0.12))
    return boxes(trunk, head, *legs, *more, **moved)


def place(drawn, kept, *, reach=0.25, scales=(0.7, 1.6)):
    return gp.best_place(drawn, kept, **ABOUT, reach=reach, scales=scales)


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1.0, (0.0, 0.0, 0.0)), (0.8, (0.0, 0.12, -0.08)), (1.2, (0.0, -0.08, 0.1))],
)
def test_a_moved_body_is_moved_back(scale, shift):
    found = place(quadruped(scale=scale, shift=shift), quadruped())
    assert found.scale == pytest.approx(1.0 / scale, rel=0.08)
    np.testing.assert_allclose(found.shift, -np.array(shift) / scale, atol=0.05)
    assert found.miss < 0.06


def test_neither_a_tail_nor_a_thick_trunk_moves_the_legs():
    tail = ((0.0, 0.2, -0.65), (0.05, 0.05, 0.25))
    drawn = quadruped(thick=1.5, shift=(0.0, -0.1, -0.16))
    found = place(drawn, quadruped(tail))
    np.testing.assert_allclose(found.shift, [0.0, 0.1, 0.16], atol=0.06)
    assert found.scale == pytest.approx(1.0, abs=0.1)


def test_what_it_misses_by_a_slow_twin():
    drawn = boxes(((0.0, 0.0, 0.0), (0.1, 0.3, 0.1)))
    kept = boxes(((0.0, 0.0, 0.0), (0.3, 0.1, 0.1)))
    found = place(drawn, kept, scales=(1.0, 1.0))
    np.testing.assert_array_equal(found.shift, 0.0)  # by symmetry
    points = [(np.argwhere(c) + 0.5) / CELLS * 2 - 1 for c in (drawn, kept)]
    far = 0.25 * 0.8
    total = 0.0
    for cells, ours, theirs in ((drawn, *points), (kept, *points[::-1])):
        share = 1.0 / gp.local_thickness(cells)[cells] ** 2
        gaps = [min(np.linalg.norm(theirs - p, axis=1).min(), far) for p in ours]
        total += share @ gaps / share.sum()
    assert found.miss == pytest.approx(total / (2 * far), rel=1e-5)


def test_no_part_leaves_the_cube():
    drawn = boxes(((0.0, 0.0, 0.5), (0.1, 0.1, 0.45)))
    kept = boxes(((0.0, 0.0, 0.8), (0.1, 0.1, 0.15)))
    found = place(drawn, kept)
    points = (np.argwhere(drawn) + 0.5) / CELLS * 2 - 1
    assert np.abs(found.scale * points + found.shift).max() <= 1.0


def test_an_empty_body_stays():
    nothing = np.zeros((CELLS,) * 3, bool)
    for pair in ((nothing, quadruped()), (quadruped(), nothing)):
        found = place(*pair)
        assert (found.scale, found.miss) == (1.0, 1.0) and not found.shift.any()


def test_what_floats_apart_is_left_out():
    body = quadruped()
    assert not gp.largest_part(np.zeros_like(body)).any()
    floating = body | boxes(((0.0, -0.8, 0.0), (0.1, 0.1, 0.1)))
    np.testing.assert_array_equal(gp.largest_part(floating), body)
    np.testing.assert_array_equal(gp.largest_part(body), body)
