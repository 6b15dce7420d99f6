"""First guesses of cameras: polynomials are kept, noise is not, boxes are covered."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.data.cameras import (
    SIDE_VIEW,
    constant_camera,
    default_intrinsics,
    initial_ellipsoid,
    intrinsics_of,
    mask_boxes,
    side_axes,
    smooth_cameras,
    smooth_curve,
)
from adreamer_jax.types import Clip

SIZE = (60, 80)


def turn(angle):
    """Rotations about the object's vertical, then into an upright camera."""
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    c, s = np.cos(angle), np.sin(angle)
    about_y = np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]])
    side = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]])
    return side @ np.moveaxis(about_y, 2, 0)


def orbit(count, *, arc):
    cameras = np.tile(np.eye(4), (count, 1, 1))
    cameras[:, :3, :3] = turn(np.linspace(-arc / 2, arc / 2, count))
    cameras[:, :3, 3] = [0.0, 0.0, 4.0]
    return cameras


def angles(first, second):
    """Angles of the rotations between two lists of rotations."""
    trace = np.einsum("tij,tij->t", first, second)
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))


def shadow(camera_from_object, intrinsics, half_axes):
    """Masks of an ellipsoid around the object's origin, by its dual conic."""
    calibration = np.array(
        [
            [intrinsics[0], 0, intrinsics[2]],
            [0, intrinsics[1], intrinsics[3]],
            [0, 0, 1],
        ]
    )
    height, width = SIZE
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    dual = np.diag([*np.square(half_axes), -1.0])
    masks = []
    for camera in camera_from_object:
        project = calibration @ camera[:3]
        conic = np.linalg.inv(project @ dual @ project.T)
        inside = np.einsum("hwi,ij,hwj->hw", pixels, conic, pixels)
        masks.append(np.sign(inside) == np.sign(np.linalg.det(conic)))
    return np.stack(masks)


def box_mask(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_smooth_curve_keeps_polynomials_and_short_clips():
    time = np.linspace(-1, 1, 30)
    values = np.stack([1 + time**5, time**2 - time], 1)
    np.testing.assert_allclose(smooth_curve(values, 5), values, atol=1e-12)
    np.testing.assert_allclose(smooth_curve(values[:4], 5), values[:4], atol=1e-12)


@pytest.mark.parametrize("arc", [np.pi / 2, 2 * np.pi])
def test_smoothing_keeps_a_smooth_path_and_takes_out_jitter(arc):
    exact = orbit(60, arc=arc)
    kept = smooth_cameras(exact)
    assert angles(kept[:, :3, :3], exact[:, :3, :3]).max() < np.radians(0.5)
    rng = np.random.default_rng(1)
    noisy = exact.copy()
    shakes = Rotation.from_rotvec(0.06 * rng.normal(size=(60, 3))).as_matrix()
    noisy[:, :3, :3] = shakes @ exact[:, :3, :3]
    noisy[:, :3, 3] += 0.1 * rng.normal(size=(60, 3))
    smooth = smooth_cameras(noisy)
    before = angles(noisy[:, :3, :3], exact[:, :3, :3])
    after = angles(smooth[:, :3, :3], exact[:, :3, :3])
    assert np.sqrt((after**2).mean()) < 0.5 * np.sqrt((before**2).mean())
    offset = smooth[:, :3, 3] - exact[:, :3, 3]
    assert np.sqrt((offset**2).mean()) < 0.05
    gram = smooth[:, :3, :3] @ smooth[:, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.tile(np.eye(3), (60, 1, 1)), atol=1e-5)


def test_smoothing_commutes_with_turning_the_object():
    exact = orbit(20, arc=1.0)
    rng = np.random.default_rng(2)
    shakes = Rotation.from_rotvec(0.2 * rng.normal(size=(20, 3))).as_matrix()
    exact[:, :3, :3] = shakes @ exact[:, :3, :3]
    turned = exact.copy()
    other = Rotation.from_rotvec([1.0, -0.7, 0.4]).as_matrix()
    turned[:, :3, :3] = exact[:, :3, :3] @ other
    np.testing.assert_allclose(
        smooth_cameras(turned)[:, :3, :3],
        smooth_cameras(exact)[:, :3, :3] @ other,
        atol=1e-5,
    )


@pytest.mark.parametrize("arc", [0.0, np.pi / 2, 2 * np.pi])
def test_smoothing_allows_an_origin_beside_the_object(arc):
    exact = orbit(40, arc=arc)
    exact[:, :3, 3] += exact[:, :3, :3] @ [0.5, 0.2, -0.4]
    kept = smooth_cameras(exact)
    # the weak pull on the origin costs up to some hundredths where it matters
    np.testing.assert_allclose(kept[:, :3, 3], exact[:, :3, 3], atol=0.03)


def test_smoothing_keeps_very_short_clips():
    for count in (1, 2, 3):
        cameras = orbit(count, arc=0.1)
        np.testing.assert_allclose(smooth_cameras(cameras), cameras, atol=1e-3)


def test_boxes_are_pixel_edges():
    boxes = mask_boxes(np.stack([box_mask(3, 5, 10, 9), box_mask(0, 0, 80, 60)]))
    np.testing.assert_array_equal(boxes, [[3, 5, 10, 9], [0, 0, 80, 60]])


def test_default_intrinsics_look_at_the_middle():
    np.testing.assert_array_equal(default_intrinsics(SIZE), [80, 80, 40, 30])


def test_constant_camera_puts_the_object_into_its_boxes():
    masks = np.stack([box_mask(10 + i, 20, 50 + i, 40) for i in range(12)])
    intrinsics = default_intrinsics(SIZE)
    cameras = constant_camera(masks, intrinsics)
    assert cameras.shape == (12, 4, 4)
    assert np.ptp(cameras[:, :3, :3], axis=0).max() == 0
    np.testing.assert_allclose(cameras[0, :3, :3] @ [0, 1, 0], [0, -1, 0])  # upright
    at = cameras[:, :3, 3]
    focal, center = intrinsics[:2], intrinsics[2:]
    pixels = focal * at[:, :2] / at[:, 2:] + center
    np.testing.assert_allclose(pixels[:, 0], 30 + np.arange(12), atol=1e-3)
    np.testing.assert_allclose(pixels[:, 1], 30, atol=1e-3)
    np.testing.assert_allclose(at[:, 2], 80 * 2 / 40, rtol=1e-4)  # 2 units, 40 pixels


def test_constant_camera_moves_away_when_boxes_shrink_and_not_when_they_turn():
    intrinsics = default_intrinsics(SIZE)
    shrinking = np.stack([box_mask(10, 10, 60, 50 - i) for i in range(20)])
    depth = constant_camera(shrinking, intrinsics)[:, 2, 3]
    assert depth[-1] > 1.5 * depth[0]
    turning = np.stack([box_mask(10 + i, 10, 60 - i, 50) for i in range(20)])
    assert np.ptp(constant_camera(turning, intrinsics)[:, 2, 3]) < 1e-5


@pytest.mark.parametrize("degree", [0, 5])
def test_ellipsoid_finds_center_length_and_height(degree):
    cameras = orbit(15, arc=np.pi / 2)
    cameras[:, :3, 3] += [0.2, -0.1, 0.0]
    intrinsics = np.array([90.0, 90.0, 40.0, 30.0])
    masks = shadow(cameras, intrinsics, (0.3, 0.5, 1.0))
    center, half_axes, axes = initial_ellipsoid(masks, cameras, intrinsics)
    np.testing.assert_allclose(center, 0, atol=0.08)
    np.testing.assert_allclose(half_axes[:2], [1.0, 0.5], rtol=0.1)
    np.testing.assert_allclose(half_axes[2], 0.4 * half_axes[1], rtol=1e-6)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(axes[:, 1], [0, -1, 0], atol=1e-6)
    assert abs(axes[2, 0]) > np.cos(0.2)  # the long side lies along z


def off_side(yaw, width):
    """Degrees between the side view that is told and the one along z."""
    depth = side_axes(turn(yaw), width)[:, 2]
    return np.degrees(np.arccos(min(1.0, abs(depth[0]))))


@pytest.mark.parametrize("slender", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("start", [-1.1, -0.3])
def test_the_side_is_told_by_all_widths_and_not_by_the_widest(slender, start):
    yaw = start + np.linspace(0, np.pi / 2, 40)
    width = np.sqrt(np.cos(yaw) ** 2 + (slender * np.sin(yaw)) ** 2)
    assert off_side(yaw, width) < 1.0
    rng = np.random.default_rng(0)
    noisy = width * np.exp(0.04 * rng.normal(size=40))
    noisy[np.argmin(abs(yaw))] *= 0.9
    noisy[np.argmin(abs(yaw - 0.5 * np.sign(start + 0.7)))] *= 1.3  # a leg thrown out
    assert off_side(yaw, noisy) < 12.0
    assert np.degrees(abs(yaw[np.argmax(noisy)])) > 25.0


def test_the_side_is_that_of_the_widest_view_where_nothing_else_tells_it():
    yaw = np.linspace(-0.5, 1.0, 31)
    round_ = 1 + 1e-3 * (np.arange(31) == 4)
    assert np.isclose(off_side(yaw, round_), np.degrees(abs(yaw[4])), atol=0.5)
    noise = np.random.default_rng(0).normal(size=31)
    assert off_side(np.zeros(31), np.exp(0.1 * noise)) < 0.5


def test_ellipsoid_of_one_constant_view_lies_in_its_box():
    masks = np.stack([box_mask(10, 20, 50, 40)] * 9)
    intrinsics = default_intrinsics(SIZE)
    cameras = constant_camera(masks, intrinsics)
    center, half_axes, axes = initial_ellipsoid(masks, cameras, intrinsics)
    np.testing.assert_allclose(center, 0, atol=1e-5)
    np.testing.assert_allclose(half_axes, [1.0, 0.5, 0.2], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-6)


def test_unknown_intrinsics_are_those_of_an_unknown_camera():
    image, mask = np.zeros((2, 30, 40, 3), np.uint8), np.ones((2, 30, 40), bool)
    clip = Clip("tiny", 8.0, "a dot", image, mask, None, None, "none")
    np.testing.assert_array_equal(intrinsics_of(clip), default_intrinsics((30, 40)))
    known = dataclasses.replace(clip, intrinsics=np.array([1.0, 2.0, 3.0, 4.0]))
    assert intrinsics_of(known) is known.intrinsics


def test_ellipsoid_of_a_known_side_is_that_of_the_widest_view_from_there():
    """Alike views: the widest one, as where the side is not known; else the nearest."""
    masks = np.stack([box_mask(10 + i, 20, 50 - i, 40) for i in (4, 2, 0, 3, 6)])
    intrinsics = default_intrinsics(SIZE)
    cameras = constant_camera(masks, intrinsics)
    known = initial_ellipsoid(masks, cameras, intrinsics, side=SIDE_VIEW)
    for a, b in zip(known, initial_ellipsoid(masks, cameras, intrinsics), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    c, s = np.cos(0.8), np.sin(0.8)
    turned = cameras.copy()
    turned[:4, :3, :3] = SIDE_VIEW @ [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    half = initial_ellipsoid(masks, turned, intrinsics, side=SIDE_VIEW)[1]
    assert half[0] < 0.8 * known[1][0]  # the last view, which is the narrowest


def test_ellipsoid_of_a_slightly_raised_view_stands_upright_and_one_from_above_not():
    masks = np.stack([box_mask(10, 20, 50, 40)] * 9)
    intrinsics = default_intrinsics(SIZE)
    for raised, is_upright in ((0.3, True), (1.5, False)):
        cameras = constant_camera(masks, intrinsics)
        c, s = np.cos(raised), np.sin(raised)
        cameras[:, :3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]] @ cameras[0, :3, :3]
        axes = initial_ellipsoid(masks, cameras, intrinsics)[2]
        assert (axes[1, 1] < -0.999) == is_upright
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)
