"""Rotations: group laws, round trips, and gradients where formulas are singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from adreamer_jax.core import rotation


def quaternions(key, *shape):
    return rotation.normalize(jax.random.normal(key, (*shape, 4)))


def close(a, b, atol=2e-6):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_unit_quaternions_are_a_group(key, shape):
    a, b, c = quaternions(key, 3, *shape)
    one = jnp.zeros((*shape, 4)).at[..., 0].set(1.0)
    multiply, inverse = rotation.multiply, rotation.conjugate
    close(multiply(multiply(a, b), c), multiply(a, multiply(b, c)))
    close(multiply(a, inverse(a)), one)
    close(multiply(a, one), a)
    close(inverse(multiply(a, b)), multiply(inverse(b), inverse(a)))


def test_multiplication_is_composition_of_turns(key):
    a, b = quaternions(key, 2, 7)
    v = jax.random.normal(key, (7, 3))
    close(
        rotation.rotate(rotation.multiply(a, b), v),
        rotation.rotate(a, rotation.rotate(b, v)),
        atol=5e-6,
    )


def test_everything_agrees_with_scipy(key):
    q = quaternions(key, 50)
    v = jax.random.normal(key, (50, 3))
    there = Rotation.from_quat(np.asarray(q)[:, [1, 2, 3, 0]])
    close(rotation.to_matrix(q), there.as_matrix())
    close(rotation.rotate(q, v), there.apply(np.asarray(v)), atol=5e-6)
    close(rotation.to_vector(q), there.as_rotvec(), atol=1e-5)
    turn = there.as_rotvec().astype(np.float32)
    again = rotation.from_vector(jnp.asarray(turn))
    close(rotation.to_matrix(again), there.as_matrix(), atol=5e-6)


def test_half_turns_and_all_others_come_back_from_their_matrix(key):
    half = jnp.eye(4)  # the identity, and half turns about x, y and z
    near = rotation.normalize(half + 1e-3 * jax.random.normal(key, (4, 4)))
    q = jnp.concatenate([half, near, quaternions(key, 50)])
    back = rotation.from_matrix(rotation.to_matrix(q))
    assert np.all(back[:, 0] >= 0)
    close(jnp.abs(jnp.sum(q * back, axis=-1)), 1.0)
    close(rotation.to_matrix(back), rotation.to_matrix(q))


def test_vectors_and_quaternions_are_inverse_below_half_a_turn(key):
    direction = rotation.normalize(jax.random.normal(key, (40, 3)))
    v = direction * jnp.linspace(0.0, 3.1, 40)[:, None]
    close(rotation.to_vector(rotation.from_vector(v)), v, atol=2e-5)


def test_a_quaternion_and_its_negative_are_one_rotation(key):
    q = quaternions(key, 20)
    close(rotation.to_vector(-q), rotation.to_vector(q))
    close(rotation.angle(q, -q), 0.0, atol=1e-3)


def test_the_angle_is_that_of_the_rotation_in_between(key):
    a = quaternions(key, 10)
    by = rotation.from_vector(
        jnp.linspace(0, 3, 10)[:, None] * jnp.array([0.6, 0, 0.8])
    )
    close(rotation.angle(a, rotation.multiply(a, by)), jnp.linspace(0, 3, 10), 1e-3)


def test_lengths_have_a_gradient_at_zero():
    zero = jnp.zeros(3)
    assert rotation.safe_norm(zero) == 0
    close(jax.grad(rotation.safe_norm)(zero), zero)
    close(
        jax.jacobian(rotation.normalize)(jnp.array([0.0, 2.0, 0.0])),
        np.diag([1, 0, 1]) / 2,
    )
    assert np.all(np.isfinite(jax.jacobian(rotation.normalize)(zero)))
    close(rotation.normalize(zero), zero)


def test_the_exponential_map_has_its_gradient_at_the_identity():
    zero = jnp.zeros(3)
    expected = np.concatenate([np.zeros((1, 3)), 0.5 * np.eye(3)])
    close(jax.jacobian(rotation.from_vector)(zero), expected)
    one = jnp.array([1.0, 0, 0, 0])
    back = jax.jacobian(rotation.to_vector)(one)
    close(back[:, 1:], 2 * np.eye(3))
    # the second derivative exists as well
    hessian = jax.hessian(lambda v: rotation.from_vector(v)[0])(zero)
    close(hessian, -0.25 * np.eye(3))


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        v = jnp.asarray(draw.normal(size=(4, 3)))
        small = 1e-5 * v  # the series takes over
        for at in (v, small):
            check_grads(jax.jit(rotation.from_vector), (at,), order=1, modes=["rev"])
        q = rotation.from_vector(v)
        turn = jax.jit(lambda q: rotation.to_vector(rotation.normalize(q)))
        check_grads(turn, (q,), order=1, modes=["rev"])
        check_grads(jax.jit(rotation.rotate), (q, v), order=1, modes=["rev"])


def test_series_and_formula_meet(key):
    direction = rotation.normalize(jax.random.normal(key, (3,)))
    with jax.enable_x64(True):
        direction = jnp.asarray(np.asarray(direction, np.float64))
        below = rotation.from_vector(0.99999e-4 * direction)
        above = rotation.from_vector(1.00001e-4 * direction)
        np.testing.assert_allclose(below[1:] / 0.99999, above[1:] / 1.00001, rtol=1e-12)
        np.testing.assert_allclose(below[0], above[0], rtol=1e-12)
