"""Agreement with the clip: nothing for a perfect model, something otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.objective import reconstruct

R = (2, 7)
KEYS = jax.random.split(jax.random.key(0), 6)
WEIGHT = jax.random.uniform(KEYS[0], R) + 0.5
COLOR = jax.random.uniform(KEYS[1], (*R, 3))
PIXEL = 30.0 * jax.random.uniform(KEYS[2], (*R, 2))
DEPTH = 2.0 + jax.random.uniform(KEYS[3], R)
MASK = (jax.random.uniform(KEYS[4], R) > 0.4).astype(jnp.float32)
FEATURE = jax.random.normal(KEYS[5], (*R, 5))

# name -> (loss of the model's array alone, the perfect array)
TERMS = {
    "rgb": (lambda x: reconstruct.rgb_loss(x, COLOR, WEIGHT), COLOR),
    "mask": (lambda x: reconstruct.mask_loss(x, MASK), MASK),
    "flow": (
        lambda x: reconstruct.flow_loss(x, PIXEL, WEIGHT, unit=8.0, limit=2.0),
        PIXEL,
    ),
    "depth": (lambda x: reconstruct.depth_loss(x, DEPTH, WEIGHT), DEPTH),
    "feature": (lambda x: reconstruct.feature_loss(x, FEATURE, WEIGHT), FEATURE),
    "match": (
        lambda x: reconstruct.match_loss(x, PIXEL, WEIGHT, unit=8.0, limit=2.0),
        PIXEL,
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_perfect_is_zero_and_anything_else_costs(name):
    loss, perfect = TERMS[name]
    assert loss(perfect) == pytest.approx(0.0, abs=1e-6)
    off = perfect + 0.3 * jax.random.normal(jax.random.key(7), perfect.shape)
    assert loss(off) > 0.01
    assert loss(perfect + 0.5 * (off - perfect)) < loss(off)


@pytest.mark.parametrize("name", TERMS)
def test_the_gradient_is_finite_where_the_error_is_zero(name):
    loss, perfect = TERMS[name]
    assert np.all(np.isfinite(jax.grad(loss)(perfect)))


def test_the_mean_is_over_what_counts():
    value = jnp.array([1.0, 2.0, 100.0])
    mean = reconstruct.weighted_mean(value, jnp.array([3.0, 1.0, 0.0]))
    assert mean == pytest.approx(5 / 4)
    assert reconstruct.weighted_mean(value, jnp.zeros(3)) == 0


def test_object_and_background_have_their_own_means():
    target = jnp.zeros(100).at[:2].set(1.0)
    empty = reconstruct.mask_loss(jnp.zeros(100), target)
    full = reconstruct.mask_loss(jnp.ones(100), target)
    assert empty == pytest.approx(0.5) and full == pytest.approx(0.5)
    forgiving = reconstruct.mask_loss(jnp.ones(100), target, background=0.1)
    assert forgiving == pytest.approx(0.05)


def test_a_wrong_match_pulls_no_more_than_the_limit():
    target, weight = jnp.zeros((2, 2)), jnp.ones(2)
    flow = jnp.array([[3.0, 4.0], [300.0, 400.0]])
    loss = lambda f: reconstruct.flow_loss(f, target, weight, unit=5.0, limit=2.0)
    assert loss(flow) == pytest.approx((1.0 + 2.0) / 2)
    gradient = jax.grad(loss)(flow)
    assert np.any(gradient[0]) and not np.any(gradient[1])


def test_a_sharp_match_finds_the_point_with_the_same_descriptor():
    feature = jnp.eye(4)
    points = jax.random.normal(jax.random.key(0), (4, 3))
    find = lambda valid, t: reconstruct.matched_points(
        feature[1:3], feature, points, valid, temperature=jnp.asarray(t)
    )
    np.testing.assert_allclose(find(jnp.ones(4), 50.0), points[1:3], atol=1e-5)
    # dull: the mean of all; and candidates that do not count are never found
    np.testing.assert_allclose(find(jnp.ones(4), 0.0)[0], points.mean(0), atol=1e-5)
    without = find(jnp.array([1.0, 0.0, 1.0, 0.0]), 0.0)
    np.testing.assert_allclose(without[0], (points[0] + points[2]) / 2, atol=1e-5)
    assert np.all(np.isfinite(find(jnp.zeros(4), 5.0)))


def test_visibility_is_taught_only_where_light_arrives():
    logit, light = jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])
    gradient = jax.grad(reconstruct.visibility_loss)(logit, light)
    assert gradient[0] < 0 and gradient[1] == 0
    assert reconstruct.visibility_loss(jnp.full(2, 50.0), light) < 1e-6
    assert reconstruct.visibility_loss(jnp.full(2, -900.0), light) == pytest.approx(900)
    # the light itself is a fact, not a wish
    assert not np.any(jax.grad(reconstruct.visibility_loss, 1)(logit, light))
