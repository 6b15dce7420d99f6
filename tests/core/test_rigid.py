"""Rigid motions: names cancel; dual quaternions move points like matrices do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from adreamer_jax.core import rigid, rotation
from adreamer_jax.types import Rigid


def motions(key, *shape):
    a, b = jax.random.split(key)
    q = rotation.normalize(jax.random.normal(a, (*shape, 4)))
    return Rigid(q, jax.random.normal(b, (*shape, 3)))


def close(a, b, atol=5e-6):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


def same(a, b):
    close(rigid.to_matrix(a), rigid.to_matrix(b))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_motions_are_a_group(key, shape):
    a, b, c = (motions(k, *shape) for k in jax.random.split(key, 3))
    same(
        rigid.compose(rigid.compose(a, b), c),
        rigid.compose(a, rigid.compose(b, c)),
    )
    one = rigid.identity(shape)
    same(rigid.compose(a, rigid.invert(a)), one)
    same(rigid.compose(rigid.invert(a), a), one)
    same(rigid.compose(one, a), a)


def test_composition_is_the_product_of_matrices(key):
    a_from_b, b_from_c = (motions(k, 6) for k in jax.random.split(key))
    a_from_c = rigid.compose(a_from_b, b_from_c)
    product = rigid.to_matrix(a_from_b) @ rigid.to_matrix(b_from_c)
    close(rigid.to_matrix(a_from_c), product)
    point_c = jax.random.normal(key, (6, 3))
    close(
        rigid.apply(a_from_c, point_c),
        rigid.apply(a_from_b, rigid.apply(b_from_c, point_c)),
    )


def test_matrices_come_back(key):
    motion = motions(key, 20)
    same(rigid.from_matrix(rigid.to_matrix(motion)), motion)


def test_dual_quaternions_move_points_alike(key):
    motion = motions(key, 20)
    points = jax.random.normal(key, (20, 3))
    dual = rigid.to_dual(motion)
    close(rigid.apply_dual(dual, points), rigid.apply(motion, points))
    # real and dual parts of a unit dual quaternion are perpendicular
    close(jnp.sum(dual[:, :4] * dual[:, 4:], axis=-1), 0.0)


@pytest.mark.parametrize("factor", [-1.0, 0.2, 7.0])
def test_neither_length_nor_sign_of_a_dual_quaternion_matters(key, factor):
    motion, points = motions(key, 9), jax.random.normal(key, (9, 3))
    moved = rigid.apply_dual(factor * rigid.to_dual(motion), points)
    close(moved, rigid.apply(motion, points), atol=2e-5)


def test_a_blend_of_two_shifts_is_the_shift_in_between():
    turn = rotation.from_vector(jnp.array([0.3, -0.2, 0.5]))
    ends = Rigid(jnp.stack([turn, turn]), jnp.array([[0.0, 0, 0], [1.0, 2, 3]]))
    dual = jnp.mean(rigid.to_dual(ends), axis=0)
    points = jnp.array([[0.1, 0.2, 0.3]])
    expected = rigid.apply(Rigid(turn[None], jnp.array([[0.5, 1.0, 1.5]])), points)
    close(rigid.apply_dual(dual[None], points), expected)


def test_gradients_are_finite_differences_at_the_identity_and_elsewhere():
    with jax.enable_x64(True):
        draw = np.random.default_rng(1)
        points = jnp.asarray(draw.normal(size=(3, 3)))

        def moved(turn, shift):
            motion = Rigid(rotation.from_vector(turn), shift)
            return rigid.apply_dual(rigid.to_dual(motion), points)

        for turn in (np.zeros((3, 3)), draw.normal(size=(3, 3))):
            shift = jnp.asarray(draw.normal(size=(3, 3)))
            check_grads(jax.jit(moved), (jnp.asarray(turn), shift), 1, modes=["rev"])


def test_a_vanishing_dual_quaternion_has_finite_gradients():
    # two opposite halves of a blend may cancel: nothing may become NaN
    gradient = jax.grad(lambda d: jnp.sum(rigid.apply_dual(d, jnp.ones((1, 3)))))
    assert np.all(np.isfinite(gradient(jnp.zeros((1, 8)))))
