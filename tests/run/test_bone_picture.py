"""Bones are drawn where they are."""

import numpy as np
import pytest

from adreamer_jax.run import bone_picture as bp
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.mesh_picture import palette
from tests.run.capsule import make_asset


@pytest.fixture(scope="module")
def made():
    asset = make_asset()
    return asset, asset_skeleton(asset), bp.bone_blobs(asset)


def test_blobs_hold_the_moments_of_the_surface(made):
    asset, skeleton, blobs = made
    mean = (skeleton.mass[:, None] * blobs.center).sum(0)
    from adreamer_jax.core.shape import vertex_areas

    areas = vertex_areas(asset.vertices.astype(float), asset.faces)
    assert np.allclose(mean, areas @ asset.vertices / areas.sum(), atol=1e-5)
    assert (np.linalg.eigvalsh(blobs.covariance) > 0).all()


def test_projected_ellipse_matches_projected_samples():
    rng, k = np.random.default_rng(0), np.array([300.0, 280.0, 50.0, 60.0])
    center, root = np.array([0.3, -0.2, 3.0]), 0.05 * rng.normal(size=(3, 3))
    points = center + rng.normal(size=(20000, 3)) @ root.T
    pixel = points[:, :2] / points[:, 2:] * k[:2] + k[2:]
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(pixel.T)))
    place, radius, _ = bp._ellipse(center, root @ root.T, k)
    assert np.allclose(np.array(radius) / 16 / 1.5, spread, rtol=0.03, atol=0.1)
    assert np.allclose(np.array(place) / 16 + 0.5, pixel.mean(0), atol=0.5)


def test_every_bone_leaves_its_color_and_the_input_is_kept(made):
    asset, skeleton, blobs = made
    white = np.full((192, 228, 3), 255, np.uint8)
    camera = asset.camera_from_object[0].copy()
    camera[2, 3] += 1.0  # far enough to see all
    out = bp.draw_bones(
        white, asset, skeleton, blobs, camera, asset.intrinsics[0] * 4, 0
    )
    assert (white == 255).all() and (out < 128).all(-1).any()
    for color in np.round(255 * palette(6)):
        assert (np.abs(out - color).max(-1) < 70).any()


def test_bones_behind_the_camera_are_not_drawn(made):
    asset, skeleton, blobs = made
    white = np.full((48, 57, 3), 255, np.uint8)
    camera = asset.camera_from_object[0].copy()
    camera[2, 3] = -5.0
    out = bp.draw_bones(white, asset, skeleton, blobs, camera, asset.intrinsics[0], 0)
    assert (out == 255).all()
