"""Skinning weights: the matrix form against the direct formula in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import rotation
from adreamer_jax.scene import skinning
from adreamer_jax.scene.bones import BonesSpec, init_bones
from adreamer_jax.types import Rigid

COUNT = 5


def make(seed=0):
    key = jax.random.key(seed)
    center = jax.random.uniform(key, (COUNT, 3), minval=-0.5, maxval=0.5)
    spec = BonesSpec(count=COUNT, delta_width=16)
    return init_bones(key, spec, center=center, scale=jnp.full(COUNT, 0.1))


def poses(*lead, seed=1):
    a, b = jax.random.split(jax.random.key(seed))
    q = rotation.normalize(jax.random.normal(a, (*lead, COUNT, 4)))
    return Rigid(q, jax.random.uniform(b, (*lead, COUNT, 3), minval=-0.5, maxval=0.5))


def twin(pose, log_scale, points):
    """Squared length of each point in each bone's frame, over its scales; float64."""
    out = np.zeros((len(points), COUNT))
    for b in range(COUNT):
        matrix = np.asarray(rotation.to_matrix(pose.rotation[b]), np.float64)
        local = (
            np.asarray(points, np.float64) - np.asarray(pose.translation[b])
        ) @ matrix
        out[:, b] = np.sum((local / np.exp(np.float64(log_scale[b]))) ** 2, axis=1)
    return out


@pytest.fixture(scope="module")
def points():
    return jax.random.uniform(jax.random.key(7), (60, 3), minval=-1.0, maxval=1.0)


@pytest.mark.parametrize("scale", [0.3, 0.02])
def test_the_matrix_form_is_the_direct_formula(points, scale):
    """Sharp bones as well: the logit errs by far less than one where it decides."""
    sizes = jnp.log(scale * jnp.array([[1.0, 0.5, 2.0]] * COUNT))
    pose = poses()
    ours = np.asarray(skinning.mahalanobis(pose, sizes, points))
    direct = twin(pose, sizes, points)
    near = direct < 100.0
    assert np.abs(ours - direct)[near].max(initial=0.0) < 0.02
    np.testing.assert_allclose(ours, direct, rtol=1e-3, atol=0.02)


def test_a_scale_away_along_an_axis_is_one():
    pose = poses()
    sizes = jnp.log(jnp.broadcast_to(jnp.array([0.1, 0.2, 0.3]), (COUNT, 3)))
    for axis, size in enumerate((0.1, 0.2, 0.3)):
        step = size * jnp.eye(3)[axis]
        point = pose.translation[2] + rotation.rotate(pose.rotation[2], step)
        distance = skinning.mahalanobis(pose, sizes, point[None])
        assert distance[0, 2] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("with_delta", [False, True])
def test_rows_sum_to_one(points, with_delta):
    time = jnp.array([0.2, 0.9])
    both = jnp.broadcast_to(points, (2, *points.shape))
    weights, extra = skinning.skin(
        make(), poses(2), both, time=time, with_delta=with_delta
    )
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert np.all(weights >= 0) and (extra is not None) == with_delta
    if with_delta:
        assert np.all(extra >= 0) and np.any(extra > 0)


def test_a_point_at_a_bone_belongs_to_it():
    pose = poses()
    weights, _ = skinning.skin(make(), pose, pose.translation, with_delta=False)
    assert np.array_equal(np.argmax(weights, axis=-1), np.arange(COUNT))


def test_without_correction_only_the_relative_place_counts(points):
    """Moving bones and points together changes nothing."""
    pose, turn = poses(), rotation.from_vector(jnp.array([0.4, -1.0, 0.3]))
    shift = jnp.array([0.2, 0.1, -0.3])
    moved = Rigid(
        rotation.multiply(turn, pose.rotation),
        rotation.rotate(turn, pose.translation) + shift,
    )
    here, _ = skinning.skin(make(), pose, points, with_delta=False)
    there, _ = skinning.skin(
        make(), moved, rotation.rotate(turn, points) + shift, with_delta=False
    )
    np.testing.assert_allclose(here, there, atol=1e-3)


def test_the_corrections_network_sees_bone_frames_and_the_time(points):
    """Against the plain concatenation that the shared first layer stands for."""
    from adreamer_jax.core.encoding import time_code
    from adreamer_jax.core.mlp import mlp

    bones, pose, time = make(), poses(1), jnp.array([0.3])
    ours = skinning.delta(bones, pose, points[None], time)[0]
    local = jnp.stack(
        [
            rotation.rotate(
                rotation.conjugate(pose.rotation[0, b]), points - pose.translation[0, b]
            )
            for b in range(COUNT)
        ],
        axis=1,
    ).reshape(len(points), -1)
    code = time_code(time, frequencies=bones.spec.frequencies)
    x = jnp.concatenate(
        [local, jnp.broadcast_to(code, (len(points), code.shape[-1]))], -1
    )
    np.testing.assert_allclose(ours, 0.1 * jax.nn.relu(mlp(bones.delta, x)), atol=1e-5)


def test_gradients_reach_points_bones_and_scales(points):
    def chosen(bones, pose, points):
        weights, _ = skinning.skin(bones, pose, points)
        return jnp.sum(weights[:, 0])

    gradient = jax.jit(jax.grad(chosen, (0, 1, 2)))(make(), poses(), points)
    bones, pose, at = gradient
    for leaf in (bones.log_scale, pose.rotation, pose.translation, at):
        assert np.all(np.isfinite(leaf)) and np.any(leaf)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(bones))
