"""Trivial predictions of a clip of a ball: the hull holds it, the others are exact."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from adreamer_jax.core.zbuffer import face_map
from adreamer_jax.data.clip import Truth
from adreamer_jax.types import Clip
from benchmarks import visual_hull as vh

INTRINSICS = np.array([60.0, 60.0, 32.0, 32.0])


@pytest.fixture(scope="module")
def ball():
    mesh = trimesh.creation.icosphere(3, radius=0.5)
    path = np.tile(np.eye(4), (6, 1, 1))
    path[:, :3, :3] = Rotation.from_euler(
        "y", np.linspace(0, np.pi, 6)[:, None]
    ).as_matrix()
    path[:, 2, 3] = 3.0
    vertices = np.stack(
        [vh.seen_by(camera, np.asarray(mesh.vertices)) for camera in path]
    )
    faces = np.asarray(mesh.faces)
    masks = np.stack(
        [face_map(v, faces, INTRINSICS, (64, 64)).face >= 0 for v in vertices]
    )
    clip = Clip(
        name="ball",
        fps=10.0,
        prompt="a ball",
        images=np.zeros((6, 64, 64, 3), np.uint8),
        masks=masks,
        camera_from_object=path,
        intrinsics=INTRINSICS,
        cameras="exact",
    )
    return clip, Truth(vertices, faces, path, INTRINSICS, None)


def test_spaces_are_each_others_inverse(ball):
    clip, _ = ball
    points = np.random.default_rng(0).normal(size=(5, 3))
    camera = clip.camera_from_object[2]
    np.testing.assert_allclose(vh.local(vh.seen_by(camera, points), camera), points)


def test_the_hull_of_a_ball_holds_the_ball(ball, monkeypatch):
    monkeypatch.setattr(vh, "CELLS", 48)
    vertices, faces = vh.hull(ball[0])
    radius = np.linalg.norm(vertices, axis=1)
    assert len(faces) > 100
    # rounder than the masks' cells allow, and rims where few cameras look from above
    assert 0.4 < np.median(radius) < 0.6


def test_stiff_and_ellipsoid_are_exact_for_a_ball_that_stands_still(ball, monkeypatch):
    monkeypatch.setattr(vh, "CELLS", 16)
    clip, truth = ball
    made = vh.predictions(clip, truth)
    for name in ("stiff", "ellipsoid"):
        vertices, _ = made[name](4)
        away = np.linalg.norm(vertices - clip.camera_from_object[4][:3, 3], axis=1)
        np.testing.assert_allclose(away, 0.5, atol=0.01)
