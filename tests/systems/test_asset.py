"""Surfaces out of functions: closed, outward, in the right place and space."""

import jax.numpy as jnp
import numpy as np
import trimesh

from adreamer_jax.systems.animatable import asset


def ball(points):
    return jnp.linalg.norm(points - jnp.array([0.21, 0.013, -0.107]), axis=-1) - 0.487


def test_a_ball_is_a_closed_outward_mesh_in_its_place(monkeypatch):
    monkeypatch.setattr(asset, "_CHUNK", 4096)
    vertices, faces = asset.extract(ball, [-1.0] * 3, [1.0, 0.8, 0.6], 24)
    assert np.abs(ball(jnp.asarray(vertices))).max() < 0.01
    mesh = trimesh.Trimesh(vertices, faces)
    assert mesh.is_watertight and mesh.volume > 0.9 * 4 / 3 * np.pi * 0.487**3


def test_a_shape_that_leaves_the_box_is_closed_at_its_side(monkeypatch):
    monkeypatch.setattr(asset, "_CHUNK", 4096)
    vertices, faces = asset.extract(ball, [-1.0] * 3, [0.3, 1.0, 1.0], 24)
    assert trimesh.Trimesh(vertices, faces).is_watertight
    assert vertices[:, 0].max() < 0.45


def test_no_surface_is_an_empty_mesh(monkeypatch):
    monkeypatch.setattr(asset, "_CHUNK", 512)
    vertices, faces = asset.extract(lambda p: ball(p) + 9.0, [-1.0] * 3, [1.0] * 3, 6)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3)
    kept = asset.largest_parts(vertices, faces, least=0.1)
    assert len(kept[1]) == 0


def test_crumbs_are_left_out():
    big = trimesh.creation.icosphere(subdivisions=2)
    crumb = trimesh.creation.icosphere(subdivisions=0, radius=0.05)
    vertices = np.concatenate([crumb.vertices + 2.0, big.vertices])
    faces = np.concatenate([crumb.faces, big.faces + len(crumb.vertices)])
    kept, triangles = asset.largest_parts(vertices, faces, least=0.1)
    assert len(kept) == len(big.vertices) and len(triangles) == len(big.faces)
    np.testing.assert_allclose(kept[triangles], big.vertices[big.faces])
    everything, _ = asset.largest_parts(vertices, faces, least=0.01)
    assert len(everything) == len(vertices)


def test_motions_and_cameras_of_another_space_do_the_same_to_points():
    draw = np.random.default_rng(0)
    turn = trimesh.transformations.random_rotation_matrix(draw.uniform(size=3))
    turn[:3, 3] = [0.3, -0.2, 0.5]
    scale, origin = 2.5, np.array([0.4, 1.0, -0.3])
    points = draw.normal(size=(7, 3))

    def apply(matrix, p):
        return p @ matrix[:3, :3].T + matrix[:3, 3]

    there = lambda p: p * scale + origin
    motion = asset._conjugated(turn[None], scale, origin)[0]
    np.testing.assert_allclose(
        apply(motion, there(points)), there(apply(turn, points)), atol=1e-5
    )
    camera = asset._cameras_of_object(turn[None], scale, origin)[0]
    np.testing.assert_allclose(
        apply(camera, there(points)), scale * apply(turn, points), atol=1e-5
    )
    placed = asset._placed(turn[None], scale, origin)[0]
    np.testing.assert_allclose(placed[:3, 3], there(turn[:3, 3]), atol=1e-6)
    np.testing.assert_allclose(placed[:3, :3], turn[:3, :3], atol=1e-6)


def test_a_hollow_that_nobody_can_see_is_filled(monkeypatch):
    monkeypatch.setattr(asset, "_CHUNK", 4096)
    shell = lambda p: jnp.maximum(ball(p), -0.25 - ball(p))
    vertices, _ = asset.extract(shell, [-1.0] * 3, [1.0] * 3, 24)
    assert np.abs(ball(jnp.asarray(vertices))).max() < 0.01
    half = lambda p: jnp.maximum(shell(p), p[:, 2] + 0.1)
    vertices, _ = asset.extract(half, [-1.0] * 3, [1.0] * 3, 24)
    assert ball(jnp.asarray(vertices)).min() < -0.2  # an open bowl stays one
