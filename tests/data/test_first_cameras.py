"""First cameras from silhouettes and flow, on an animal of ellipsoids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.data import first_cameras
from adreamer_jax.data.cameras import SIDE_VIEW, constant_camera

FRAMES, SIZE = 24, 72
INTRINSICS = np.array([SIZE, SIZE, SIZE / 2, SIZE / 2], np.float32)
# trunk, neck and head, four legs, tail: centers and radii, longest along z
CENTERS = np.array(
    [[0, 0, 0], [0, 0.35, 0.75], [0.16, -0.4, 0.5], [-0.16, -0.4, 0.5],
     [0.16, -0.4, -0.5], [-0.16, -0.4, -0.5], [0, 0.2, -0.85]]
)  # fmt: skip
RADII = np.array(
    [[0.25, 0.25, 0.7], [0.14, 0.3, 0.2], [0.08, 0.35, 0.1], [0.08, 0.35, 0.1],
     [0.08, 0.35, 0.1], [0.08, 0.35, 0.1], [0.06, 0.08, 0.25]]
)  # fmt: skip


def cameras(degrees, facing=20.0, tilt=15.0):
    """camera_from_object of a turn of so many degrees before a camera."""
    angles = facing + degrees * (np.arange(FRAMES) / (FRAMES - 1) - 0.5)
    turned = Rotation.from_euler("y", angles[:, None], degrees=True).as_matrix()
    down = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3] = down @ SIDE_VIEW @ turned
    poses[:, 2, 3] = 2.6
    return poses


def surface(pose):
    """The nearest point of the animal on the ray of each pixel, else NaN."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([x - SIZE / 2, y - SIZE / 2, np.full_like(x, SIZE)], -1) / SIZE
    turned = pose[:3, :3]
    way, start = rays @ turned, -turned.T @ pose[:3, 3]
    w, s = way[:, :, None] / RADII, (start - CENTERS) / RADII
    a, b, c = (w * w).sum(-1), (w * s).sum(-1), (s * s).sum(-1) - 1
    inside = b * b - a * c
    depth = (-b - np.sqrt(np.where(inside > 0, inside, np.nan))) / a
    depth = np.where(np.isnan(depth), np.inf, depth).min(-1)
    return start + np.where(np.isinf(depth), np.nan, depth)[..., None] * way


def filmed(poses):
    """Masks, and exact flow to the next frames."""
    points = [surface(pose) for pose in poses]
    masks = np.stack([~np.isnan(p[..., 0]) for p in points])
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    flow = {}
    for gap in first_cameras.GAPS:
        values = np.zeros((FRAMES, SIZE, SIZE, 2), np.float16)
        for t in range(FRAMES - gap):
            seen = points[t] @ poses[t + gap][:3, :3].T + poses[t + gap][:3, 3]
            there = seen[..., :2] / seen[..., 2:] * SIZE + SIZE / 2
            values[t] = np.nan_to_num(there - np.stack([x, y], -1))
        flow[gap] = values, masks.astype(np.float16)
    return masks, flow


@pytest.fixture(scope="module")
def views():
    return first_cameras.views_of(*_arguments(-100.0))


def _arguments(degrees):
    masks, flow = filmed(cameras(degrees))
    return masks, INTRINSICS, flow


def errors(found, true):
    """Degrees between two paths after the best constant rotation."""
    true, found = true[:, :3, :3], found[:, :3, :3].astype(float)
    constant = Rotation.from_matrix(np.swapaxes(true, 1, 2) @ found).mean()
    left = Rotation.from_matrix(found).inv() * Rotation.from_matrix(true) * constant
    return np.degrees(left.magnitude())


def turn(degrees, facing=20.0):
    return first_cameras.steady_turn(*np.radians([degrees, facing]))


def judged(steady, views):
    return float(jax.jit(first_cameras.objective)(steady, views))


@pytest.mark.parametrize("degrees", [-100.0, 70.0])
def test_a_turn_is_found_from_nothing(degrees, tmp_path, monkeypatch):
    monkeypatch.setattr(first_cameras, "RATES", (0, 90, -90, 180, -180))
    masks, intrinsics, flow = _arguments(degrees)
    found = first_cameras.found_cameras(masks, intrinsics, flow, tmp_path)
    assert found.shape == (FRAMES, 4, 4) and found.dtype == np.float32
    assert np.median(errors(found, cameras(degrees))) < 6
    # the mirror plane is known, too: within these of the true facing, or from behind
    forward = found[FRAMES // 2, 2, :3] @ cameras(degrees)[FRAMES // 2, 2, :3]
    assert abs(forward) > np.cos(np.radians(25))

    monkeypatch.setattr(first_cameras, "searched", None)  # the second time it is read
    again = first_cameras.found_cameras(masks, intrinsics, flow, tmp_path)
    np.testing.assert_array_equal(again, found)


def test_the_true_turn_is_better_than_none_and_than_the_other_way(views):
    true = judged(turn(-100.0), views)
    for other in (turn(0.0), turn(100.0), turn(100.0, -20.0), turn(-200.0)):
        assert true < judged(other, views) - 0.02


def test_without_flow_the_other_way_looks_nearly_alike(views):
    """It is the flow that tells left from right: seen mirrored in depth."""
    blind = views._replace(trust=jnp.zeros_like(views.trust))
    gap = judged(turn(100.0, -20.0), views) - judged(turn(-100.0), views)
    without = judged(turn(100.0, -20.0), blind) - judged(turn(-100.0), blind)
    assert without < 0.6 * gap


@pytest.fixture(scope="module")
def fitted(views):
    """The true turn, with the object's origin where the boxes do not show it."""
    return jax.jit(first_cameras.bend)(turn(-100.0), views)[0]


@jax.jit
def told(steady, views):
    share = first_cameras.hull(steady, views)
    return share, *first_cameras.agreement(steady, views, share)


def test_the_cones_of_the_true_turn_fill_the_silhouettes(views, fitted):
    assert told(fitted, views)[1] > 0.8 > told(turn(0.0), views)[1] + 0.1


def test_flow_is_foretold_by_the_true_turn(views, fitted):
    assert told(fitted, views)[2] < 0.5 * told(turn(0.0), views)[2]


def test_a_hull_is_the_same_on_both_sides(views, fitted):
    share = np.asarray(told(fitted, views)[0])
    np.testing.assert_array_equal(share, share[::-1])


def test_boxes_are_as_wide_as_foretold(views):
    facing = first_cameras.angles(turn(-100.0), views.time)
    across = first_cameras.angles(turn(-100.0, -70.0), views.time)
    right, wrong = (
        float(jnp.var(views.width - first_cameras.foretold_width(angle)))
        for angle in (facing, across)
    )
    assert right < 0.01 < 0.1 < wrong
    np.testing.assert_allclose(
        first_cameras.foretold_width(jnp.array([0.0, np.pi / 2, np.pi])),
        np.log([1.0, first_cameras.SLENDER, 1.0]),
        atol=1e-6,
    )


def test_slopes_are_finite_and_those_of_the_objective(views):
    start, step = turn(-60.0), 0.02
    slope = jax.jit(jax.grad(first_cameras.objective))(start, views)
    for part in jax.tree.leaves(slope):
        assert np.isfinite(part).all() and np.abs(part).max() > 0
    ahead, behind = (
        judged(start._replace(rate=start.rate + d), views) for d in (step, -step)
    )
    rise = (ahead - behind) / (2 * step)
    assert abs(slope.rate - rise) < 0.25 * abs(rise)


def test_a_still_object_is_not_turned(tmp_path, monkeypatch):
    monkeypatch.setattr(first_cameras, "RATES", (0, 60, -60))
    masks, intrinsics, flow = _arguments(0.0)
    found = first_cameras.found_cameras(masks, intrinsics, flow, tmp_path)
    assert errors(found, cameras(0.0)).max() < 8


def test_a_clip_of_three_frames_without_flow_has_cameras(tmp_path, monkeypatch):
    monkeypatch.setattr(first_cameras, "RATES", (60, -60))
    monkeypatch.setattr(first_cameras, "STEPS", 3)
    masks = _arguments(-100.0)[0][:3]
    found = first_cameras.found_cameras(masks, INTRINSICS, {}, tmp_path)
    assert found.shape == (3, 4, 4) and np.isfinite(found).all()


def test_where_neither_way_is_better_one_pose_stays(views, monkeypatch, tmp_path):
    monkeypatch.setattr(first_cameras, "CLEARLY", np.inf)
    monkeypatch.setattr(first_cameras, "RATES", (100, -100))
    monkeypatch.setattr(first_cameras, "FACINGS", (20,))
    monkeypatch.setattr(first_cameras, "STEPS", 1)
    masks, intrinsics, flow = _arguments(-100.0)
    found = first_cameras.found_cameras(masks, intrinsics, flow, tmp_path)
    np.testing.assert_array_equal(found, constant_camera(masks, intrinsics))
