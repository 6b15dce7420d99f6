"""Warps: rest stays put, one bone goes and comes back, quaternions have no sign."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import rigid, rotation
from adreamer_jax.scene import warp
from adreamer_jax.scene.bones import BonesSpec, init_bones
from adreamer_jax.types import Rigid

BLENDS = [warp.dual_blend, warp.linear_blend]


def make(count=4):
    key = jax.random.key(0)
    center = jax.random.uniform(key, (count, 3), minval=-0.5, maxval=0.5)
    spec = BonesSpec(count=count, delta_width=8)
    return init_bones(key, spec, center=center, scale=jnp.full(count, 0.2))


def motions(*shape, size=1.0, seed=1):
    a, b = jax.random.split(jax.random.key(seed))
    turn = size * jax.random.normal(a, (*shape, 3))
    shift = 0.3 * size * jax.random.normal(b, (*shape, 3))
    return Rigid(rotation.from_vector(turn), shift)


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


@pytest.fixture(scope="module")
def points():
    return jax.random.uniform(jax.random.key(3), (2, 30, 3), minval=-1.0, maxval=1.0)


@pytest.fixture(scope="module")
def weights():
    raw = jax.random.normal(jax.random.key(4), (2, 30, 4))
    return jax.nn.softmax(raw, axis=-1)


@pytest.mark.parametrize("blend", BLENDS)
def test_the_rest_pose_is_the_identity(points, blend):
    rest = rigid.identity((2, 4))
    back, weights, _ = warp.to_rest(
        make(), rest, points, time=jnp.zeros(2), blend=blend
    )
    close(back, points)
    close(weights.sum(-1), 1.0)
    close(warp.to_posed(make(), rest, points, blend=blend)[0], points)


@pytest.mark.parametrize("blend", BLENDS)
def test_one_bone_goes_there_and_back(points, blend):
    bones, motion = make(1), motions(2, 1)
    there, _, _ = warp.to_posed(bones, motion, points, blend=blend, with_delta=False)
    close(there, rigid.apply(jax.tree.map(lambda x: x[:, :1], motion), points))
    back, _, _ = warp.to_rest(bones, motion, there, blend=blend, with_delta=False)
    close(back, points)


@pytest.mark.parametrize("blend", BLENDS)
def test_bones_that_move_alike_move_everything_rigidly(points, weights, blend):
    one = motions(2, 1)
    alike = jax.tree.map(lambda x: jnp.repeat(x, 4, axis=1), one)
    close(blend(alike, weights, points), rigid.apply(one, points))
    back, _, _ = warp.to_rest(
        make(), alike, rigid.apply(one, points), blend=blend, with_delta=False
    )
    close(back, points)


def test_the_sign_of_a_quaternion_is_free(points, weights):
    motion = motions(2, 4)
    flip = jnp.array([1.0, -1.0, -1.0, 1.0])[:, None]
    flipped = motion.replace(rotation=motion.rotation * flip)
    close(
        warp.dual_blend(motion, weights, points),
        warp.dual_blend(flipped, weights, points),
    )


def test_both_blends_agree_for_shifts(points, weights):
    still = rigid.identity((2, 4))
    shift = jax.random.normal(jax.random.key(5), (2, 4, 3))
    motion = still.replace(translation=shift)
    expected = points + jnp.einsum("fnb,fbc->fnc", weights, shift)
    for blend in BLENDS:
        close(blend(motion, weights, points), expected)


def test_the_linear_blend_is_the_mean_of_the_moved_points(points, weights):
    motion = motions(2, 4)
    moved = jax.vmap(lambda p: rigid.apply(motion, p[:, None]), 1, 1)(points)
    close(
        warp.linear_blend(motion, weights, points),
        jnp.einsum("fnb,fnbc->fnc", weights, moved),
    )


def test_dual_quaternions_keep_volume_where_the_linear_blend_collapses():
    """Half and half of a turn by 0 and by 170 degrees about x: the radius survives."""
    turn = jnp.array([[0.0, 0, 0], [np.radians(170.0), 0, 0]])
    motion = Rigid(rotation.from_vector(turn)[None], jnp.zeros((1, 2, 3)))
    half, point = jnp.full((1, 1, 2), 0.5), jnp.array([[[0.0, 1.0, 0.0]]])
    dual, linear = (jnp.linalg.norm(b(motion, half, point)) for b in BLENDS)
    assert dual == pytest.approx(1.0, abs=1e-5)
    assert linear == pytest.approx(np.cos(np.radians(85.0)), abs=1e-5)


def test_small_motions_come_back_nearly(points):
    bones, motion = make(), motions(2, 4, size=0.05)
    there, _, _ = warp.to_posed(bones, motion, points, with_delta=False)
    back, _, _ = warp.to_rest(bones, motion, there, with_delta=False)
    gone = np.linalg.norm(there - points, axis=-1).mean()
    assert np.linalg.norm(back - points, axis=-1).mean() < 0.2 * gone


@pytest.mark.parametrize("blend", BLENDS)
def test_gradients_are_finite_at_rest_and_reach_the_motion(points, blend):
    bones = make()

    def pulled(turn, points):
        motion = Rigid(rotation.from_vector(turn), 0.1 * turn)
        rest, _, extra = warp.to_rest(
            bones, motion, points, time=jnp.zeros(2), blend=blend
        )
        return jnp.sum(rest**2) + jnp.sum(extra)

    gradient = jax.jit(jax.grad(pulled, (0, 1)))(jnp.zeros((2, 4, 3)), points)
    for leaf in gradient:
        assert np.all(np.isfinite(leaf)) and np.any(leaf)


def test_angles_of_motions():
    turn = jnp.array([[0.0, 0, 0], [0.0, 0.7, 0], [3.0, 0, 0]])
    motion = Rigid(rotation.from_vector(turn), jnp.ones((3, 3)))
    close(warp.mean_rotation_angle(motion), [0.0, 0.7, 3.0])
