"""Surface distances: closed forms on spheres and planes, laws of the alignments."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from adreamer_jax.core import shape


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def square(height=0.0):
    """A flat square, one half cut into many more triangles than the other."""
    xs = np.concatenate([[-1.0], np.linspace(0, 1, 9)])
    ys = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(xs, ys, indexing="ij")
    vertices = np.stack([x, y, np.full_like(x, height)], -1).reshape(-1, 3)
    a = (np.arange(9)[:, None] * 9 + np.arange(8)).reshape(-1)
    faces = np.concatenate(
        [np.stack([a, a + 1, a + 10], 1), np.stack([a, a + 10, a + 9], 1)]
    )
    return vertices, faces


def rigid(rng):
    return Rotation.from_rotvec(rng.normal(size=3)).as_matrix(), rng.normal(size=3)


def test_areas_of_a_square_add_up():
    assert shape.face_areas(*square()).sum() == pytest.approx(4.0)


def test_normals_are_unit_even_where_there_is_no_face():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9.0]])
    normals = shape.vertex_normals(vertices, np.array([[0, 1, 2], [1, 1, 2]]))
    assert np.allclose(normals[:3], [0, 0, 1]) and np.allclose(normals[3], [0, 1, 0])


def test_samples_lie_on_the_surface_and_are_even_by_area(rng):
    vertices, faces = square(0.3)
    points = shape.sample_surface(vertices, faces, 4000, rng)
    np.testing.assert_allclose(points[:, 2], 0.3)
    assert abs(np.mean(points[:, 0] < 0) - 0.5) < 1e-3  # slices of equal area
    np.testing.assert_allclose(points.mean(0)[:2], 0, atol=0.03)
    np.testing.assert_allclose(points[:, :2].var(0), 1 / 3, atol=0.02)


def test_places_move_with_the_mesh(rng):
    vertices, faces = square()
    places = shape.sample_places(shape.face_areas(vertices, faces), 100, rng)
    rotation, shift = rigid(rng)
    there = shape.points_at(vertices @ rotation.T + shift, faces, places)
    here = shape.points_at(vertices, faces, places)
    np.testing.assert_allclose(there, here @ rotation.T + shift, atol=1e-12)
    np.testing.assert_allclose(places.weight.sum(1), 1)
    assert places.weight.min() >= 0


def test_a_mesh_without_area_is_refused(rng):
    with pytest.raises(ValueError, match="area must be positive"):
        shape.sample_places(np.zeros(3), 10, rng)


def test_chamfer_of_concentric_spheres_is_twice_the_gap(rng):
    ball = trimesh.creation.icosphere(4)
    inner = shape.sample_surface(ball.vertices, ball.faces, 20_000, rng)
    outer = 1.5 * shape.sample_surface(ball.vertices, ball.faces, 20_000, rng)
    forward, backward = shape.nearest(inner, outer)[0], shape.nearest(outer, inner)[0]
    assert shape.chamfer(forward, backward) == pytest.approx(1.0, abs=0.01)
    assert shape.f_score(forward, backward, 0.49) == 0.0
    assert shape.f_score(forward, backward, 0.52) > 0.99


def test_chamfer_of_offset_planes_is_twice_the_offset(rng):
    low = shape.sample_surface(*square(0.0), 20_000, rng)
    high = shape.sample_surface(*square(0.2), 20_000, rng)
    both = shape.nearest(low, high)[0], shape.nearest(high, low)[0]
    assert shape.chamfer(*both) == pytest.approx(0.4, rel=0.01)


def test_f_score_is_the_harmonic_mean_and_survives_empty_sides():
    near, far = np.zeros(3), np.ones(3)
    mixed = np.array([0.0, 1.0])
    assert shape.f_score(near, near, 0.5) == 1.0
    assert shape.f_score(near, mixed, 0.5) == pytest.approx(2 / 3)
    assert shape.f_score(far, far, 0.5) == 0.0
    assert shape.f_score(np.zeros(0), near, 0.5) == 0.0
    assert shape.f_score(near, np.zeros(0), 0.5) == 0.0


def test_nearest_agrees_with_a_slow_loop(rng):
    points, others = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    distance, index = shape.nearest(points, others)
    for i, point in enumerate(points):
        slow = np.linalg.norm(others - point, axis=1)
        assert index[i] == slow.argmin()
        assert distance[i] == pytest.approx(slow.min())


def test_similarity_is_found_exactly(rng):
    points = rng.normal(size=(40, 3))
    rotation, shift = rigid(rng)
    found = shape.similarity_fit(points, 2.5 * points @ rotation.T + shift)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, shift, atol=1e-12)
    assert found.scale == pytest.approx(2.5)


def test_fits_never_mirror(rng):
    points = rng.normal(size=(40, 3))
    mirrored = points * [-1, 1, 1]
    for fit in (shape.similarity_fit, shape.rigid_fit):
        assert np.linalg.det(fit(points, mirrored).rotation) == pytest.approx(1.0)


def test_similarity_is_the_least_squares_one(rng):
    source, target = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    best = shape.similarity_fit(source, target)

    def cost(fit):
        return np.sum((shape.apply_similarity(fit, source) - target) ** 2)

    for _ in range(50):
        turn = Rotation.from_rotvec(0.05 * rng.normal(size=3)).as_matrix()
        other = shape.Similarity(
            turn @ best.rotation,
            best.translation + 0.05 * rng.normal(size=3),
            best.scale * (1 + 0.05 * rng.normal()),
        )
        assert cost(other) >= cost(best) - 1e-9


def test_rigid_fit_keeps_lengths(rng):
    points = rng.normal(size=(40, 3))
    fit = shape.rigid_fit(points, 3.0 * points)
    assert fit.scale == 1.0
    np.testing.assert_allclose(fit.rotation, np.eye(3), atol=1e-12)


def test_icp_undoes_a_small_motion(rng):
    box = trimesh.creation.box(extents=(1.0, 0.6, 0.3))
    target = shape.sample_surface(box.vertices, box.faces, 3000, rng)
    turn = Rotation.from_rotvec([0.1, -0.15, 0.2]).as_matrix()
    moved = target @ turn.T + [0.05, 0.03, -0.04]
    found = shape.icp(moved, target)
    back = shape.apply_similarity(found, moved)
    assert np.sqrt(np.mean((back - target) ** 2)) < 1e-3
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


def test_depth_scale_makes_medians_equal(rng):
    points, target = rng.uniform(1, 3, (50, 3)), rng.uniform(4, 9, (60, 3))
    scaled = points * shape.depth_scale(points, target)
    assert np.median(scaled[:, 2]) == pytest.approx(np.median(target[:, 2]))


def test_areas_of_vertices_add_up_to_the_surface_and_are_thirds_of_their_faces():
    vertices, faces = square()
    areas = shape.vertex_areas(vertices, faces)
    assert np.isclose(areas.sum(), 4.0)
    slow = np.zeros(len(vertices))
    for face, area in zip(faces, shape.face_areas(vertices, faces), strict=True):
        slow[face] += area / 3.0
    np.testing.assert_allclose(areas, slow)


def test_every_edge_of_a_mesh_is_listed_once():
    _, faces = square()
    edges = shape.mesh_edges(faces)
    slow = {tuple(sorted((f[i], f[i - 1]))) for f in faces.tolist() for i in range(3)}
    assert len(edges) == len(slow) and set(map(tuple, edges.tolist())) == slow
