"""MVDream's camera numbers against twins of the conventions they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.mvdream import BLENDER_FROM_OBJECT, camera_tokens


def ours(azimuth, elevation, distance=2.0):
    args = (jnp.asarray(x, jnp.float32) for x in (azimuth, elevation, distance, 0.7))
    return camera_tokens(orbit(*args, size=(8, 8))).reshape(4, 4)


def looking_home(place, up):
    """Camera-to-world with OpenGL axes at a place, looking at the origin."""
    back = place / np.linalg.norm(place)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back, place], axis=1)


def finished(upper):
    """Four rows, the translation of length one."""
    upper = upper.copy()
    upper[:, 3] /= np.linalg.norm(upper[:, 3])
    return np.concatenate([upper, [[0, 0, 0, 1]]])


def z_up_orbit(azimuth, elevation):
    """A camera of a z-up world whose azimuth 0 stands on +x and grows toward +y."""
    place = [
        np.cos(elevation) * np.cos(azimuth),
        np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
    ]
    return finished(looking_home(np.array(place), np.array([0.0, 0, 1])))


def trained_orbit(azimuth, elevation):
    """A camera as in training: made in a y-up world from +z, then y and z swapped."""
    place = [
        np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
        np.cos(elevation) * np.cos(azimuth),
    ]
    upper = looking_home(np.array(place), np.array([0.0, 1, 0]))
    return finished(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ upper)


ANGLES = [(0.0, 0.0), (0.3, 0.26), (np.pi / 2, -0.17), (3.0, 0.7), (-2.0, 0.1)]


@pytest.mark.parametrize(("azimuth", "elevation"), ANGLES)
def test_an_orbit_is_the_orbit_of_a_z_up_world(azimuth, elevation):
    np.testing.assert_allclose(
        ours(azimuth, elevation), z_up_orbit(azimuth, elevation), atol=1e-6
    )


@pytest.mark.parametrize(("azimuth", "elevation"), ANGLES)
def test_training_cameras_are_ours_a_quarter_turn_later(azimuth, elevation):
    """Azimuth 0 of the training cameras stands at -y, ours at the front, +x."""
    np.testing.assert_allclose(
        ours(azimuth - np.pi / 2, elevation),
        trained_orbit(azimuth, elevation),
        atol=1e-6,
    )


def test_the_front_camera_in_plain_numbers():
    expected = [[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(ours(0.0, 0.0), expected, atol=1e-6)


def test_distance_is_not_told():
    near, far = ours(0.4, 0.2, 1.5), ours(0.4, 0.2, 9.0)
    np.testing.assert_allclose(near, far, atol=1e-6)


def test_the_world_map_turns_and_does_not_mirror():
    """Fields of the published code have y down: (y, -z, -x) of theirs, ours turned."""
    assert np.linalg.det(BLENDER_FROM_OBJECT) == pytest.approx(1.0)
    field_from_blender = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    object_from_field = np.diag([1, -1, -1])
    np.testing.assert_array_equal(
        object_from_field @ field_from_blender, BLENDER_FROM_OBJECT.T
    )


def test_batches_and_a_camera_at_the_origin():
    cameras = orbit(
        jnp.zeros((2, 4)), jnp.zeros((2, 4)), jnp.ones((2, 4)), jnp.ones((2, 4)),
        size=(8, 8),
    )  # fmt: skip
    assert camera_tokens(cameras).shape == (2, 4, 16)
    home = cameras.replace(camera_from_object=jnp.eye(4)[None])
    total = lambda pose: camera_tokens(home.replace(camera_from_object=pose)).sum()
    slope = jax.jit(jax.grad(total))
    assert bool(jnp.isfinite(camera_tokens(home)).all())
    moved = jnp.eye(4)[None].at[:, 2, 3].set(1.0)
    assert bool(jnp.isfinite(slope(moved)).all())
