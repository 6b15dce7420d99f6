"""Bones and capsules come out as they went in."""

import numpy as np
import pytest

from adreamer_jax.data.anatomy_parts import DOWN, Parts, X, Y, Z, across, side_of, slant


def test_a_body_keeps_the_order_and_the_numbers_of_its_parts():
    parts = Parts()
    parts.bone("body", None, 0 * X)
    parts.bone("tail1", "body", -Z)
    parts.add("tail1", -Z, -2 * Z, 0.2, 0.1, "dark", flat=Y, thin=0.5, belly=DOWN)
    parts.ball("body", Y, 0.3, "coat")
    body = parts.done(grounded=True)
    assert body.bones == ("body", "tail1") and body.parents == (-1, 0)
    assert body.paint == ("dark", "coat") and body.grounded
    np.testing.assert_array_equal(body.heads, [0 * X, -Z])
    np.testing.assert_array_equal(body.bone, [1, 0])
    np.testing.assert_array_equal(body.start, [-Z, Y])
    np.testing.assert_array_equal(body.end, [-2 * Z, Y])
    np.testing.assert_array_equal(body.start_radius, [0.2, 0.3])
    np.testing.assert_array_equal(body.end_radius, [0.1, 0.3])
    np.testing.assert_array_equal(body.flat_axis, [Y, X])
    np.testing.assert_array_equal(body.flatness, [0.5, 1.0])
    np.testing.assert_array_equal(body.belly, [DOWN, 0 * X])


@pytest.mark.parametrize("angle", [-30.0, 0.0, 45.0, 90.0])
def test_a_slant_rises_by_its_angle_to_the_front_or_the_back(angle):
    for back in (False, True):
        x, rise, ahead = slant(angle, back=back)
        ahead = -ahead if back else ahead
        assert x == 0.0
        np.testing.assert_allclose(np.degrees(np.arctan2(rise, ahead)), angle)


def test_left_is_at_plus_x():
    assert side_of("front left") == 1.0 and side_of("hind right") == -1.0


def test_across_is_at_right_angles_and_near():
    way, near = np.array([1.0, 2.0, -0.5]), np.array([0.2, 1.0, 1.0])
    found = across(way, near)
    np.testing.assert_allclose(found @ way, 0.0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found), 1.0)
    assert found @ near > 0
    np.testing.assert_allclose(found @ np.cross(way, near), 0.0, atol=1e-12)
