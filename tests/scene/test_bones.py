"""Bones: the rest pose is the mean, motions are about the bone's own center."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import rigid, rotation
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.scene import bones as bone

FRAMES = 12
TIMES = frame_time(jnp.arange(float(FRAMES)), FRAMES)


def make(motion="cosine", moving=0.0, count=4):
    key = jax.random.key(0)
    spec = bone.BonesSpec(
        count=count, motion=motion, terms=FRAMES - 1, width=16, depth=4
    )
    center = jax.random.uniform(key, (count, 3), minval=-0.5, maxval=0.5)
    fresh = bone.init_bones(
        key, spec, center=center, scale=jnp.linspace(0.1, 0.2, count)
    )
    noise = lambda x: x + moving * jax.random.normal(jax.random.key(1), x.shape)
    return fresh.replace(motion=jax.tree.map(noise, fresh.motion))


def same(a, b, atol=1e-5):
    np.testing.assert_allclose(rigid.to_matrix(a), rigid.to_matrix(b), atol=atol)


def test_fresh_bones_rest_at_their_centers_and_do_not_move():
    fresh = make()
    motion = bone.posed_from_rest(fresh, TIMES)
    assert motion.rotation.shape == (FRAMES, 4, 4)
    same(motion, rigid.identity((FRAMES, 4)))
    np.testing.assert_array_equal(bone.rest_pose(fresh).translation, fresh.center)
    np.testing.assert_allclose(
        jnp.exp(fresh.log_scale[:, 0]), jnp.linspace(0.1, 0.2, 4), rtol=1e-6
    )


def test_the_papers_network_starts_near_its_centers():
    fresh = make("mlp")
    np.testing.assert_allclose(
        bone.rest_pose(fresh).translation, fresh.center, atol=0.05
    )
    motion = bone.posed_from_rest(fresh, TIMES)
    moved = rigid.apply(motion, fresh.center) - fresh.center
    assert np.abs(moved).max() < 0.05


@pytest.mark.parametrize("motion", ["cosine", "mlp"])
def test_bones_posed_are_the_motion_after_the_rest(motion):
    moving = make(motion, 0.3)
    away = bone.posed_from_rest(moving, TIMES[:2])
    posed = bone.posed_bones(moving, away)
    back = rigid.compose(posed, rigid.invert(bone.rest_pose(moving)))
    same(back, away)
    points = jnp.ones((3,))
    np.testing.assert_allclose(
        rigid.apply(posed, points),
        rigid.apply(away, rigid.apply(bone.rest_pose(moving), points)),
        atol=1e-5,
    )


@pytest.mark.parametrize("motion", ["cosine", "mlp"])
def test_a_time_alone_is_a_time_among_others(motion):
    moving = make(motion, 0.3)
    alone = bone.posed_from_rest(moving, TIMES[3])
    assert alone.rotation.shape == (4, 4)
    same(alone, jax.tree.map(lambda x: x[3], bone.posed_from_rest(moving, TIMES)))


def test_the_clip_moves_about_its_rest_pose():
    """Cosines without the constant: shifts and small turns have no mean."""
    moving = make("cosine", 0.01)
    motion = bone.posed_from_rest(moving, TIMES)
    path = rigid.apply(motion, moving.center) - moving.center
    np.testing.assert_allclose(np.asarray(path).mean(0), 0.0, atol=1e-5)
    turns = rotation.to_vector(motion.rotation)
    np.testing.assert_allclose(np.asarray(turns).mean(0), 0.0, atol=1e-5)


def test_the_turn_is_about_the_bones_own_center():
    still = make("cosine")
    turned = still.replace(motion=still.motion.at[0, :, :3].set(0.8))
    motion = bone.posed_from_rest(turned, TIMES)
    moved = rigid.apply(motion, turned.center)
    np.testing.assert_allclose(
        moved, np.broadcast_to(turned.center, moved.shape), atol=1e-5
    )
    assert rotation.to_vector(motion.rotation).max() > 0.5


def test_fast_terms_are_held_back():
    still = make("cosine")
    sizes = []
    for term in (0, FRAMES - 2):
        pushed = still.replace(motion=still.motion.at[term, :, 3].set(1.0))
        path = rigid.apply(bone.posed_from_rest(pushed, jnp.zeros(())), still.center)
        sizes.append(float((path - still.center)[0, 0]))
    k = np.array([1, FRAMES - 1])
    np.testing.assert_allclose(
        sizes, 1 / np.sqrt(1 + (k / still.spec.falloff) ** 2), rtol=1e-4
    )


@pytest.mark.parametrize("motion", ["cosine", "mlp"])
def test_a_resting_bone_has_a_finite_gradient(motion):
    fresh = make(motion)

    def energy(bones):
        away = bone.posed_from_rest(bones, TIMES[:2])
        return jnp.sum(rigid.apply(away, jnp.ones(3))) + jnp.sum(
            rotation.to_vector(away.rotation)
        )

    gradient = jax.jit(jax.grad(energy))(fresh)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))
    assert any(np.any(g) for g in jax.tree.leaves(gradient.motion))
