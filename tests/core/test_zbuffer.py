"""The rasteriser against rays cast one by one, and what a camera sees of a ball."""

import numpy as np
import pytest
import trimesh

from adreamer_jax.core import shape, zbuffer

INTRINSICS = np.array([40.0, 42.0, 16.0, 12.0])
SIZE = (24, 32)


def soup(count=14):
    """Random triangles in front of the camera."""
    rng = np.random.default_rng(1)
    corners = rng.normal(size=(count, 1, 3)) * [0.8, 0.6, 0.5] + [0, 0, 3]
    corners = corners + 0.5 * rng.normal(size=(count, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def cast(vertices, faces, x, y):
    """Nearest face and depth of one ray, by Cramer's rule triangle by triangle."""
    ray = np.array([(x - 16.0) / 40.0, (y - 12.0) / 42.0, 1.0])
    best, depth = -1, np.inf
    for i, (a, b, c) in enumerate(vertices[faces]):
        system = np.stack([ray, a - b, a - c], 1)
        if abs(np.linalg.det(system)) < 1e-12:
            continue
        z, u, v = np.linalg.solve(system, a)
        if u >= 0 and v >= 0 and u + v <= 1 and 0 < z < depth:
            best, depth = i, z
    return best, depth


def ball(radius=1.0, distance=4.0):
    mesh = trimesh.creation.icosphere(4, radius=radius)
    shift = np.array([0.0, 0.0, distance])
    return np.asarray(mesh.vertices) + shift, np.asarray(mesh.faces)


def test_every_pixel_agrees_with_a_ray_cast():
    vertices, faces = soup()
    seen = zbuffer.face_map(vertices, faces, INTRINSICS, SIZE)
    depth = zbuffer.depth_map(seen)
    assert (seen.face >= 0).sum() > 100
    for row, column in np.ndindex(*SIZE):
        face, z = cast(vertices, faces, column + 0.5, row + 0.5)
        assert seen.face[row, column] == face
        assert depth[row, column] == pytest.approx(z)


def test_planes_give_the_corners_depths_back():
    vertices, faces = soup()
    planes = zbuffer.screen_planes(vertices, faces, INTRINSICS)
    pixel = zbuffer.project(vertices, INTRINSICS)[faces]
    ones = np.ones((*pixel.shape[:2], 1))
    nearness = np.sum(np.concatenate([pixel, ones], -1) * planes[:, None], -1)
    np.testing.assert_allclose(1 / nearness, vertices[faces, 2], rtol=1e-9)


def test_triangles_behind_and_edge_on_are_left_out():
    behind = np.array([[0.0, 0, -2], [1, 0, -2], [0, 1, -2]])
    crossing = np.array([[0.0, 0, 2], [1, 0, -2], [0, 1, 2]])
    edge_on = np.array([[0.0, 0, 2], [0, 0, 3], [0, 1, 2.5]])
    for vertices in (behind, crossing, edge_on):
        seen = zbuffer.face_map(vertices, np.array([[0, 1, 2]]), INTRINSICS, SIZE)
        assert (seen.face == -1).all()
    nothing = zbuffer.face_map(
        np.zeros((0, 3)), np.zeros((0, 3), int), INTRINSICS, SIZE
    )
    assert (nothing.face == -1).all()
    assert np.isinf(zbuffer.depth_map(nothing)).all()


def test_neighboring_triangles_leave_no_gap_and_do_not_overlap():
    vertices = np.array([[-9.0, -9, 2], [9, -9, 2], [9, 9, 2], [-9, 9, 2]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    assert (zbuffer.face_map(vertices, faces, INTRINSICS, SIZE).face >= 0).all()


def test_barycentric_inverts_interpolation():
    rng = np.random.default_rng(2)
    corners, weight = rng.normal(size=(9, 3, 3)), rng.dirichlet(np.ones(3), 9)
    points = np.einsum("kc,kcx->kx", weight, corners)
    np.testing.assert_allclose(zbuffer.barycentric(corners, points), weight)


def test_a_camera_sees_the_known_cap_of_a_ball():
    vertices, faces = ball()
    rng = np.random.default_rng(0)
    places = shape.sample_places(shape.face_areas(vertices, faces), 4000, rng)
    seen = zbuffer.visible_places(
        vertices,
        faces,
        places,
        np.array([150.0, 150, 64, 64]),
        (128, 128),
        gap=0.008,
        rim=0.06,
    )
    # the cap in front of the tangent cone of a ball at distance d: (1 - r / d) / 2
    assert seen.mean() == pytest.approx((1 - 1 / 4) / 2, abs=0.015)
    depth = shape.points_at(vertices, faces, places)[:, 2]
    assert depth[seen].max() < 3.87
    assert seen[depth < 3.6].all()


def test_what_is_hidden_or_outside_is_not_seen():
    front, faces = ball(1.0, 4.0)
    small = (front - [0, 0, 4]) * 0.3 + [0, 0, 6]  # wholly behind the first
    aside = (front - [0, 0, 4]) * 0.3 + [5, 0, 4]  # wholly out of the picture
    vertices = np.concatenate([front, small, aside])
    both = np.concatenate([faces + i * len(front) for i in range(3)])
    rng = np.random.default_rng(0)
    places = shape.sample_places(np.ones(len(both)), 3000, rng)
    seen = zbuffer.visible_places(
        vertices,
        both,
        places,
        np.array([60.0, 60, 32, 32]),
        (64, 64),
        gap=0.01,
        rim=0.03,
    )
    part = places.face // len(faces)
    assert seen[part == 0].any()
    assert not seen[part > 0].any()
