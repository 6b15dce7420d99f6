"""Shaded mesh pictures: geometry, light, colors."""

import numpy as np
import pytest

from adreamer_jax.run import mesh_picture as mp
from tests.run.capsule import make_asset

K = np.array([40.0, 40.0, 16.0, 16.0])
SQUARE = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2.0]])
TOWARD = np.array([[0, 2, 1], [0, 3, 2]])  # counter-clockwise seen from the camera


def test_a_square_fills_the_pixels_of_its_projection():
    picture = mp.mesh_pictures(SQUARE, TOWARD, [np.zeros((4, 3))], K, (32, 32))[0]
    dark = (picture < 128).all(-1)
    assert dark[6:26, 6:26].all() and dark.sum() == 400


def test_colors_are_interpolated_and_sets_share_the_light():
    one = np.ones((4, 3)) * [[1.0], [0], [0], [1]]
    pictures = mp.mesh_pictures(SQUARE, TOWARD, [one, 0 * one + 0.5], K, (32, 32))
    row, flat = (
        pictures[0][16, 6:26, 0].astype(int),
        pictures[1][16, 6:26, 0].astype(int),
    )
    assert (np.diff(row) < 0).all()
    assert np.abs(row - np.linspace(2, 0, 41)[1::2] * flat).max() <= 2


def test_a_surface_that_faces_the_viewer_is_lit_and_one_that_turns_away_is_dim():
    gray = [np.full((4, 3), 0.8)]
    toward = mp.mesh_pictures(SQUARE, TOWARD, gray, K, (32, 32))[0][16, 16, 0]
    away = mp.mesh_pictures(SQUARE, TOWARD[:, ::-1], gray, K, (32, 32))[0][16, 16, 0]
    assert toward > away + 40 and away >= 0.5 * 0.8 * 255 - 1


def test_nothing_in_view_is_white():
    behind = SQUARE - [0, 0, 5]
    assert (
        mp.mesh_pictures(behind, TOWARD, [np.zeros((4, 3))], K, (8, 8))[0] == 255
    ).all()


def test_palette_tells_parts_apart():
    colors = mp.palette(25)
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + np.eye(25)
    assert apart.min() > 0.1 and colors.min() >= 0 and colors.max() <= 1
    assert np.array_equal(mp.palette(7), colors[:7])
    assert np.allclose(mp.part_colors(np.eye(25)), colors)


@pytest.mark.parametrize("angle", [np.pi / 2, np.pi, 0.3])
def test_walking_keeps_the_distance_and_turns_about_the_vertical(angle):
    asset, center = make_asset(), np.array([0.1, 0.2, -0.3])
    camera = asset.camera_from_object[0]
    walked = mp.turned(camera, angle, center)
    place, before = (np.linalg.inv(m)[:3, 3] - center for m in (walked, camera))
    assert np.isclose(np.linalg.norm(place), np.linalg.norm(before))
    assert np.isclose(place[1], before[1])
    assert np.allclose(walked[:3, :3] @ walked[:3, :3].T, np.eye(3))
    seen, was = mp.carried(walked, center), mp.carried(camera, center)
    assert np.allclose(seen, was)


def test_a_quarter_turn_leads_from_plus_z_to_plus_x():
    camera = make_asset().camera_from_object[0]  # stands on +z
    place = np.linalg.inv(mp.turned(camera, np.pi / 2, np.zeros(3)))[:3, 3]
    assert np.allclose(place, [3, 0, 0], atol=1e-9)


def test_framed_camera_sees_everything_at_every_turn():
    asset = make_asset()
    points = asset.vertices + np.array([3.0, 1.0, -2.0])
    camera, intrinsics = mp.framed(asset.camera_from_object[0], points, (64, 96))
    center = (points.min(0) + points.max(0)) / 2
    for angle in np.linspace(0, 6, 9):
        local = mp.carried(mp.turned(camera, angle, center), points)
        pixel = mp.zbuffer.project(local, intrinsics)
        assert (local[:, 2] > 0).all()
        assert (pixel > 0).all() and (pixel < [96, 64]).all()
