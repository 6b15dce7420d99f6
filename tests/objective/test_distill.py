"""Distillation: its identities, and that a known score is followed to its mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.objective import distill

SHARES = jnp.cumprod(1.0 - jnp.linspace(0.03, 0.29, 100) ** 2)  # a of 100 steps
SHAPE = (4, 3, 3, 2)


def random(seed):
    return jax.random.normal(jax.random.key(seed), SHAPE)


def gaussian(mean, spread):
    """The exact clean estimate of pictures that are normal: E[x | z]."""

    def estimate(z, t):
        a = SHARES[t]
        gain = jnp.sqrt(a) * spread**2 / (a * spread**2 + 1.0 - a)
        return mean + gain * (z - jnp.sqrt(a) * mean)

    return estimate


def test_the_window_narrows_as_published():
    knots = {"low": ((0.0, 0.98), (0.5, 0.02)), "high": ((0.0, 0.98), (0.5, 0.5))}
    np.testing.assert_allclose(distill.time_window(0.0, **knots), 0.98, rtol=1e-5)
    np.testing.assert_allclose(distill.time_window(0.25, **knots), (0.5, 0.74), 1e-5)
    for progress in (0.5, 1.0):
        window = distill.time_window(progress, **knots)
        np.testing.assert_allclose(window, (0.02, 0.5), rtol=1e-5)


def test_times_fill_the_window_and_stay_in_the_schedule():
    window = (jnp.float32(0.2), jnp.float32(0.5))
    keys = jax.random.split(jax.random.key(0), 500)
    t = jax.vmap(lambda k: distill.sample_time(k, window, steps=100))(keys)
    assert t.min() == 20 and t.max() == 49 and len(np.unique(t)) == 30
    last = distill.sample_time(keys[0], (jnp.ones(()), jnp.ones(())), steps=100)
    assert last == 99


@pytest.mark.parametrize("t", [3, 50, 99])
def test_both_forms_are_the_published_gradients(t):
    """x0: sqrt((1 - a) / a) (e' - e) / n; sds: (1 - a) (e' - e) / n."""
    clean, noise, t = random(0), random(1), jnp.array(t)
    a = SHARES[t]
    estimate = gaussian(random(2), 0.7)
    z = distill.noised(clean, noise, a)
    np.testing.assert_allclose(z, a**0.5 * clean + (1 - a) ** 0.5 * noise, rtol=1e-5)
    heard = (z - jnp.sqrt(a) * estimate(z, t)) / jnp.sqrt(1 - a)

    def loss(clean, form):
        target = distill.clean_target(estimate, clean, noise, t, SHARES)
        weight = distill.form_weight(form, a)
        return distill.distill_loss(clean, target, weight=weight)

    factor = {"x0": jnp.sqrt((1 - a) / a), "sds": 1 - a}
    for form, scale in factor.items():
        found = jax.grad(loss)(clean, form)
        np.testing.assert_allclose(
            found, scale * (heard - noise) / clean.size, rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("chain", [1, 2, 5])
def test_who_knows_the_picture_says_it_from_every_time(chain):
    truth = random(3)
    seen = distill.clean_target(
        lambda z, t: truth, random(0), random(1), jnp.array(80), SHARES, chain=chain
    )
    np.testing.assert_allclose(seen, truth, atol=1e-6)


def test_a_chain_is_ddim():
    """A loop of numpy over the same times; a Gaussian's chain ends near its law."""
    clean, noise, estimate = random(0), random(1), gaussian(random(2), 0.5)
    found = distill.clean_target(estimate, clean, noise, jnp.array(90), SHARES, chain=3)
    a = np.asarray(SHARES, np.float64)
    z = np.sqrt(a[90]) * clean + np.sqrt(1 - a[90]) * noise
    for t, later in ((90, 60), (60, 30), (30, None)):
        x = np.asarray(estimate(jnp.asarray(z, jnp.float32), t), np.float64)
        if later is not None:
            e = (z - np.sqrt(a[t]) * x) / np.sqrt(1 - a[t])
            z = np.sqrt(a[later]) * x + np.sqrt(1 - a[later]) * e
    np.testing.assert_allclose(found, x, atol=1e-4)


def test_the_prior_is_never_differentiated():
    @jax.custom_jvp
    def opaque(z):
        return 0.3 * z

    @opaque.defjvp
    def refuse(primals, tangents):
        raise AssertionError("asked for a derivative of the prior")

    def loss(clean):
        target = distill.clean_target(
            lambda z, t: opaque(z), clean, random(1), jnp.array(40), SHARES, chain=2
        )
        return distill.distill_loss(clean, target)

    assert np.isfinite(jax.grad(loss)(random(0))).all()


@pytest.mark.parametrize("form", ["x0", "sds"])
def test_descent_ends_at_the_mean_of_a_known_law(form):
    mean = random(5)
    estimate = gaussian(mean, 0.3)

    def loss(x, key):
        time_key, noise_key = jax.random.split(key)
        t = distill.sample_time(time_key, (0.02, 0.98), steps=100)
        noise = jax.random.normal(noise_key, SHAPE)
        target = distill.clean_target(estimate, x, noise, t, SHARES)
        weight = distill.form_weight(form, SHARES[t])
        return x.size * distill.distill_loss(x, target, weight=weight)

    def step(x, i):
        rate = 0.5 / (1.0 + 0.05 * i)
        return x - rate * jax.grad(loss)(x, jax.random.fold_in(jax.random.key(0), i)), 0

    start = random(6)
    end, _ = jax.lax.scan(step, start, jnp.arange(400))
    assert jnp.linalg.norm(end - mean) < 0.1 * jnp.linalg.norm(start - mean)
