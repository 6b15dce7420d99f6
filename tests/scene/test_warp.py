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


def carried_back(bones, motion, there, blend, **how):
    guess, _, _ = warp.to_rest(bones, motion, there, blend=blend, with_delta=False)
    return warp.preimage(
        bones, motion, there, guess, blend=blend, with_delta=False, **how
    )


@pytest.mark.parametrize("blend", BLENDS)
def test_the_preimage_is_what_the_forward_warp_carried(points, blend):
    bones, motion = make(), motions(2, 4, size=0.1)
    bones = bones.replace(log_scale=jnp.full_like(bones.log_scale, jnp.log(0.5)))
    there, _, _ = warp.to_posed(bones, motion, points, blend=blend, with_delta=False)
    guess, _, _ = warp.to_rest(bones, motion, there, blend=blend, with_delta=False)
    back, gap = carried_back(bones, motion, there, blend, steps=4)
    off = lambda rest: np.linalg.norm(rest - points, axis=-1)
    assert off(guess).max() > 0.05
    assert np.asarray(gap).max() < 1e-3
    assert off(back).max() < 1e-4


def test_the_gap_tells_that_no_preimage_was_found():
    """Between two sharp bones that part, all of the way is one thin sheet at rest."""
    center = jnp.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
    spec = BonesSpec(count=2, delta_width=8)
    bones = init_bones(jax.random.key(0), spec, center=center, scale=jnp.full(2, 0.1))
    apart = rigid.identity((1, 2)).replace(
        translation=jnp.array([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    )
    points = jnp.array([[[-1.5, 0.0, 0.0], [1.5, 0.0, 0.0], [0.02, 0.0, 0.0]]])
    rest, gap = carried_back(bones, apart, points, warp.dual_blend)
    close(rest[0, :2], center)
    close(gap[0, :2], 0.0)
    assert gap[0, 2] > 0.5
    assert np.all(np.isfinite(rest))


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("moved", ["points", "turn", "center"])
def test_the_gradient_of_the_preimage_is_that_of_finite_differences(moved, blend):
    at = dict(
        points=jax.random.uniform(jax.random.key(7), (1, 5, 3), minval=-0.5),
        turn=0.2 * jax.random.normal(jax.random.key(8), (1, 4, 3)),
        center=make().center,
    )

    def value(changed):
        now = at | {moved: changed}
        motion = Rigid(rotation.from_vector(now["turn"]), 0.1 * now["turn"])
        bones = make().replace(center=now["center"])
        rest, _ = carried_back(bones, motion, now["points"], blend, steps=12)
        return jnp.sum(jnp.sin(3.0 * rest))

    step = jax.random.normal(jax.random.key(9), at[moved].shape)
    ahead, behind = (jax.jit(value)(at[moved] + s * 2e-3 * step) for s in (1.0, -1.0))
    slope = jnp.sum(jax.jit(jax.grad(value))(at[moved]) * step)
    assert slope == pytest.approx(float(ahead - behind) / 4e-3, rel=0.02, abs=0.02)


def test_a_collapsed_warp_has_finite_gradients():
    """Two bones turned by half a turn against each other leave no volume between."""
    turn = jnp.array([[[0.0, 0, 0], [np.pi - 1e-3, 0, 0]]])
    point = jnp.array([[[0.0, 0.3, 0.0]]])
    center = jnp.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
    spec = BonesSpec(count=2, delta_width=8)
    bones = init_bones(jax.random.key(0), spec, center=center, scale=jnp.ones(2))

    def pulled(turn):
        motion = Rigid(rotation.from_vector(turn), jnp.zeros((1, 2, 3)))
        return jnp.sum(carried_back(bones, motion, point, warp.linear_blend)[0] ** 2)

    assert np.all(np.isfinite(jax.jit(jax.grad(pulled))(turn)))


def test_angles_of_motions():
    turn = jnp.array([[0.0, 0, 0], [0.0, 0.7, 0], [3.0, 0, 0]])
    motion = Rigid(rotation.from_vector(turn), jnp.ones((3, 3)))
    close(warp.mean_rotation_angle(motion), [0.0, 0.7, 3.0])
