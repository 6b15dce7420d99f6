"""Root poses: they start where they are told and turn the object about its origin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import camera, rotation
from adreamer_jax.scene import pose as poses

FRAMES = 8
SIZE = (40, 60)
K = jnp.array([50.0, 52.0, 31.0, 19.0])


def make(motion="cosine", **numbers):
    azimuth = jnp.linspace(0.0, 1.5, FRAMES)
    start = camera.orbit(
        azimuth, 0.2 + 0 * azimuth, 3 + azimuth, 0.6 + 0 * azimuth, size=SIZE
    )
    spec = poses.PoseSpec(motion=motion, terms=FRAMES, width=16, depth=4, **numbers)
    return poses.init_pose(
        jax.random.key(0),
        spec,
        camera_from_object=start.camera_from_object,
        intrinsics=K,
        size=SIZE,
    )


def pushed(pose, size):
    noise = lambda x: x + size * jax.random.normal(jax.random.key(4), x.shape)
    return pose.replace(correction=jax.tree.map(noise, pose.correction))


@pytest.mark.parametrize("motion", ["cosine", "frames", "mlp"])
def test_fresh_poses_are_the_given_ones(motion):
    pose = make(motion)
    np.testing.assert_allclose(poses.root_poses(pose), pose.initial, atol=1e-6)
    np.testing.assert_allclose(
        poses.intrinsics(pose), np.tile(K, (FRAMES, 1)), rtol=1e-6
    )


def test_no_two_layers_of_the_network_begin_alike():
    correction = make("mlp").correction
    trunk = np.asarray(correction["trunk"][0]["weight"]).reshape(-1)
    head = np.asarray(correction["head"][0]["weight"]).reshape(-1)
    some = min(len(trunk), len(head))
    assert abs(np.corrcoef(trunk[:some], head[:some])[0, 1]) < 0.3


@pytest.mark.parametrize("motion", ["cosine", "frames", "mlp"])
def test_corrected_poses_stay_rigid_and_differ(motion):
    pose = pushed(make(motion), 0.2)
    matrix = np.asarray(poses.root_poses(pose))
    turn = matrix[:, :3, :3]
    np.testing.assert_allclose(
        turn @ np.swapaxes(turn, 1, 2), np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(
        matrix[:, 3], np.tile([0, 0, 0, 1], (FRAMES, 1)), atol=1e-6
    )
    assert np.abs(matrix - pose.initial).max() > 0.01


def test_the_object_turns_about_its_own_origin():
    pose = make("frames")
    value = pose.correction.at[2, :3].set(jnp.array([0.3, 0.5, -0.2]))
    turned = poses.root_poses(pose.replace(correction=value))
    np.testing.assert_allclose(turned[:, :3, 3], pose.initial[:, :3, 3], atol=1e-6)
    angle = rotation.angle(
        rotation.from_matrix(turned[:, :3, :3]),
        rotation.from_matrix(pose.initial[:, :3, :3]),
    )
    expected = np.zeros(FRAMES)
    expected[2] = np.linalg.norm([0.3, 0.5, -0.2])
    np.testing.assert_allclose(angle, expected, atol=2e-3)


def test_all_cosines_together_reach_every_pose():
    """As many terms as frames: the smooth curve can be any curve."""
    target = jax.random.normal(jax.random.key(1), (FRAMES, 6))
    pose = make("cosine")
    time = (np.arange(FRAMES) + 0.5) / FRAMES
    basis = np.cos(np.pi * time[:, None] * np.arange(FRAMES))
    terms = jnp.asarray(np.linalg.solve(basis, np.asarray(target)), jnp.float32)
    ours = poses.root_poses(pose.replace(correction=terms))
    one_each = poses.root_poses(make("frames").replace(correction=target))
    np.testing.assert_allclose(ours, one_each, atol=1e-4)


def test_the_focal_factor_is_shared_and_zoom_may_vary():
    pose = make().replace(log_focal=jnp.log(2.0))
    k = poses.intrinsics(pose)
    np.testing.assert_allclose(k[:, :2], np.tile(2 * K[:2], (FRAMES, 1)), rtol=1e-5)
    np.testing.assert_allclose(k[:, 2:], np.tile(K[2:], (FRAMES, 1)))
    zoom = make(zoom=True)
    zoom = zoom.replace(zoom=jax.tree.map(lambda x: x + 0.5, zoom.zoom))
    assert np.std(poses.intrinsics(zoom)[:, 0]) > 0


def test_cameras_of_frames_at_another_size_see_the_same():
    pose = pushed(make(), 0.1)
    frames = jnp.array([5, 1])
    full = poses.clip_cameras(pose, frames, size=SIZE)
    half = poses.clip_cameras(pose, frames, size=(20, 30))
    points = jnp.zeros((2, 1, 3)) + 0.2
    np.testing.assert_allclose(
        camera.project(half, points)[0],
        0.5 * camera.project(full, points)[0],
        rtol=1e-5,
    )
    assert half.size == (20, 30)
    np.testing.assert_array_equal(
        full.camera_from_object, poses.root_poses(pose)[frames]
    )


@pytest.mark.parametrize("motion", ["cosine", "frames", "mlp"])
def test_fresh_poses_have_a_gradient(motion):
    def energy(pose):
        return jnp.sum(poses.root_poses(pose)[:, :3] * jnp.arange(12.0).reshape(3, 4))

    gradient = jax.jit(jax.grad(energy))(make(motion))
    leaves = jax.tree.leaves(gradient.correction)
    assert all(np.all(np.isfinite(g)) for g in leaves) and any(
        np.any(g) for g in leaves
    )
