"""Cameras: rays and projection undo one another, orbits stand where they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import camera
from adreamer_jax.types import Camera, Rays


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


@pytest.fixture
def cameras(key):
    azimuth, elevation = jax.random.uniform(key, (2, 6), minval=-1.2, maxval=1.2)
    distance = jnp.linspace(2.0, 5.0, 6)
    return camera.orbit(azimuth, elevation, distance, jnp.full(6, 0.7), size=(48, 64))


def test_points_on_a_ray_project_to_its_pixel(cameras, key):
    pixels = jax.random.uniform(key, (6, 10, 2)) * jnp.array([64.0, 48.0])
    rays = camera.camera_rays(cameras, pixels)
    depth = jax.random.uniform(key, (6, 10), minval=0.5, maxval=9.0)
    points = rays.origins + depth[..., None] * rays.directions
    seen, distance = camera.project(cameras, points)
    close(seen, pixels, atol=1e-3)
    close(distance, depth)  # a distance along a ray is its depth


def test_a_point_behind_the_camera_has_finite_pixels_and_gradient(cameras):
    one = jax.tree.map(lambda x: x[0], cameras)

    def pixel_sum(point):
        return jnp.sum(camera.project(one, point[None])[0])

    rotation, shift = one.camera_from_object[:3, :3], one.camera_from_object[:3, 3]
    for local in ([0.3, 0.1, -2.0], [0.3, 0.1, 0.0]):
        point = (jnp.array(local) - shift) @ rotation
        assert np.isfinite(pixel_sum(point))
        assert np.all(np.isfinite(jax.grad(pixel_sum)(point)))


def test_pixel_centers_go_row_by_row():
    centers = camera.pixel_centers((2, 3))
    close(
        centers,
        [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]],
    )


def test_azimuth_zero_stands_on_plus_z_and_grows_towards_plus_x():
    zero, right = jnp.zeros(()), jnp.asarray(jnp.pi / 2)
    for azimuth, eye in ((zero, [0, 0, 3]), (right, [3, 0, 0])):
        view = camera.orbit(
            azimuth, zero, jnp.asarray(3.0), jnp.asarray(0.8), size=(8, 8)
        )
        rays = camera.camera_rays(view, camera.pixel_centers((8, 8)))
        close(rays.origins[0], eye)
        # the middle of the picture looks at the origin
        close(jnp.mean(rays.directions, axis=0), -np.array(eye) / 3)
        # object up is picture up (small y), and a point to the viewer's right is right
        up, _ = camera.project(view, jnp.array([[0.0, 0.5, 0.0]]))
        assert up[0, 1] < 4
    front = camera.orbit(zero, zero, jnp.asarray(3.0), jnp.asarray(0.8), size=(8, 8))
    side, _ = camera.project(front, jnp.array([[0.5, 0.0, 0.0]]))
    assert side[0, 0] > 4


def test_the_field_of_view_is_vertical():
    view = camera.orbit(
        jnp.zeros(()),
        jnp.zeros(()),
        jnp.asarray(2.0),
        jnp.asarray(np.pi / 2),
        size=(10, 30),
    )
    pixel, _ = camera.project(view, jnp.array([[0.0, 2.0, 0.0]]))
    close(pixel, [[15.0, 0.0]], atol=1e-4)  # 45 degrees up is the picture's edge


def test_orbits_have_rotations_and_keep_their_target(cameras, key):
    r = cameras.camera_from_object[:, :3, :3]
    close(jnp.einsum("cij,ckj->cik", r, r), np.broadcast_to(np.eye(3), (6, 3, 3)))
    close(jnp.linalg.det(r), 1.0)
    target = jax.random.normal(key, (2, 3))
    some = jnp.array([0.3, 1.0])
    around = camera.orbit(
        some, 0.5 * some, some + 3, some, size=(20, 20), target=target
    )
    seen, depth = camera.project(around, target[:, None])
    close(seen, 10.0, atol=1e-4)
    close(depth[:, 0], some + 3)


def test_a_picture_of_another_size_shows_the_same(cameras):
    points = jnp.zeros((6, 1, 3)) + 0.3
    pixels, _ = camera.project(cameras, points)
    smaller = camera.with_size(cameras, (12, 32))
    assert smaller.size == (12, 32)
    close(camera.project(smaller, points)[0], pixels * jnp.array([0.5, 0.25]), 1e-4)


def test_rays_enter_and_leave_the_box_and_contain_its_inside(cameras, key):
    box = jnp.array([[-0.5, -0.3, -0.4], [0.6, 0.5, 0.2]])
    inside = jax.random.uniform(key, (6, 30, 3), minval=box[0], maxval=box[1])
    pixels, depth = camera.project(cameras, inside)
    rays = camera.clip_to_box(camera.camera_rays(cameras, pixels), box)
    assert np.all(rays.near <= depth + 1e-4) and np.all(depth <= rays.far + 1e-4)
    for at in (rays.near, rays.far):  # both ends lie on the box
        end = rays.origins + at[..., None] * rays.directions
        gap = jnp.min(jnp.abs(end[..., None, :] - box), axis=(-1, -2))
        close(gap, 0.0, atol=1e-4)


def test_a_box_for_every_camera(cameras):
    boxes = jnp.stack(
        [jnp.array([[-1.0] * 3, [1.0] * 3]) * s for s in (0.1, 0.2, 0.3)] * 2
    )
    rays = camera.camera_rays(cameras, jnp.full((6, 2, 2), 30.0))
    clipped = camera.clip_to_box(rays, boxes)
    for i in range(6):
        one = jax.tree.map(lambda x, i=i: x[i], rays)
        alone = camera.clip_to_box(one, boxes[i])
        close(clipped.near[i], alone.near)
        close(clipped.far[i], alone.far)


def test_a_ray_that_misses_is_empty_and_parallel_rays_are_fine():
    box = jnp.array([[-1.0] * 3, [1.0] * 3])
    origins = jnp.array([[0.0, 0, -3], [0.0, 2, -3], [0.0, 0, 3], [0.0, 0, 0]])
    directions = jnp.broadcast_to(jnp.array([0.0, 0, 1]), (4, 3))
    rays = Rays(origins, directions, jnp.zeros(4), jnp.ones(4))
    clipped = camera.clip_to_box(rays, box, nearest=0.1)
    close(clipped.near[0], 2.0)
    close(clipped.far[0], 4.0)
    close(clipped.far[1] - clipped.near[1], 0.0)  # beside the box
    close(clipped.far[2] - clipped.near[2], 0.0)  # the box is behind
    close(jnp.array([clipped.near[3], clipped.far[3]]), [0.1, 1.0])  # from within


def test_rays_carry_gradients_to_the_pose():
    def far_sum(shift):
        pose = jnp.eye(4).at[:3, 3].set(shift)
        view = Camera(pose, jnp.full(2, 20.0), jnp.full(2, 8.0), (16, 16))
        rays = camera.camera_rays(view, camera.pixel_centers((16, 16)))
        return jnp.mean(rays.origins @ jnp.array([1.0, 2.0, 3.0]))

    close(jax.grad(far_sum)(jnp.array([0.0, 0, 3])), [-1.0, -2.0, -3.0])


DRAWS = dict(elevation_deg=(-10.0, 40.0), fov_deg=(35.0, 60.0), fill=(0.8, 1.1))


@pytest.mark.parametrize("seed", range(4))
def test_drawn_views_stand_evenly_around_a_ball_that_fills_the_picture(seed):
    views = camera.sample_orbit(jax.random.key(seed), views=4, size=(20, 20), **DRAWS)
    turn, move = np.split(np.asarray(views.camera_from_object)[:, :3], [3], axis=2)
    eye = -np.einsum("vji,vj->vi", turn, move[..., 0])
    distance = np.linalg.norm(eye, axis=1)
    elevation = np.degrees(np.arcsin(eye[:, 1] / distance))
    assert np.ptp(distance) < 1e-5 and np.ptp(elevation) < 1e-3
    assert -10.0 <= elevation[0] <= 40.0
    azimuth = np.degrees(np.arctan2(eye[:, 0], eye[:, 2]))
    np.testing.assert_allclose(np.diff(azimuth) % 360, 90.0, atol=1e-3)
    center, _ = camera.project(views, jnp.zeros((4, 1, 3)))
    np.testing.assert_allclose(center[:, 0], 10.0, atol=1e-4)
    half_fov = np.arctan(10.0 / views.focal[0, 0])
    assert 35.0 <= 2 * np.degrees(half_fov) <= 60.0
    fill = np.arcsin(1.0 / distance[0]) / half_fov  # of angles: near that of sines
    assert 0.78 < fill < 1.12


@pytest.mark.parametrize("seed", range(4))
def test_the_first_of_drawn_views_stands_where_it_is_told(seed):
    toward = jnp.array([0.6, 0.3, -0.7])
    toward = toward / jnp.linalg.norm(toward)
    for spread in (0.0, 6.0):
        views = camera.sample_orbit(
            jax.random.key(seed), views=4, size=(20, 20), **DRAWS,
            toward=toward, spread_deg=spread,
        )  # fmt: skip
        turn, move = np.split(np.asarray(views.camera_from_object)[0, :3], [3], axis=1)
        eye = -turn.T @ move[:, 0]
        away = np.degrees(np.arccos(min(1.0, eye @ toward / np.linalg.norm(eye))))
        assert (away < 0.1) if spread == 0 else (0.1 < away < 1.5 * spread)
    high = camera.sample_orbit(
        jax.random.key(seed), views=4, size=(20, 20), **DRAWS,
        toward=jnp.array([0.0, 1.0, 0.0]),
    )  # fmt: skip
    turn, move = np.split(np.asarray(high.camera_from_object)[0, :3], [3], axis=1)
    eye = -turn.T @ move[:, 0]
    assert np.degrees(np.arcsin(eye[1] / np.linalg.norm(eye))) == pytest.approx(40.0)


def test_the_front_is_where_the_offset_says():
    np.testing.assert_allclose(
        camera.facing(jnp.array([0.0, 1.0, 0.0]), 0.0), np.eye(3), atol=1e-6
    )
    quarter = camera.facing(jnp.array([0.0, 2.0, 0.0]), jnp.pi / 2)
    np.testing.assert_allclose(quarter @ jnp.array([1.0, 0, 0]), [0, 0, 1], atol=1e-6)
    for up in ([0.3, 0.8, -0.5], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]):
        up = jnp.array(up) / jnp.linalg.norm(jnp.array(up))
        turn = camera.facing(up, 0.7)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        assert jnp.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(turn @ up, [0, 1, 0], atol=1e-5)


def test_cameras_of_another_space_see_the_same(key):
    turn = camera.facing(jnp.array([0.2, 0.9, 0.4]), 1.1)
    center, scale = jnp.array([0.4, -0.2, 0.1]), 0.6
    views = camera.sample_orbit(key, views=3, size=(16, 16), **DRAWS)
    points = jax.random.normal(key, (3, 5, 3)) * 0.3
    there = (points - center) @ turn.T / scale
    expected, _ = camera.project(views, there)
    found, depth = camera.project(camera.seen_from(views, turn, center, scale), points)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.all(depth > 0)
