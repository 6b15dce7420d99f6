"""Classifier-free guidance: its identities, its order, its rescaling."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior import guide

VIEWS = orbit(
    jnp.arange(4.0), jnp.zeros(4), jnp.full(4, 2.0), jnp.full(4, 0.7), size=(8, 8)
)


def random(seed):
    return jax.random.normal(jax.random.key(seed), (4, 3, 3, 2))


def test_scale_one_is_the_plain_prediction_and_zero_the_one_without_text():
    without, with_prompt = random(0), random(1)
    found = guide.guided(without, with_prompt, scale=1.0)
    np.testing.assert_allclose(found, with_prompt, atol=1e-6)
    np.testing.assert_array_equal(
        guide.guided(without, with_prompt, scale=0.0), without
    )


def test_both_halves_see_the_same_views_and_only_the_text_differs():
    def denoise(latents, t, context, cameras):
        pose = cameras.camera_from_object[:, 0, 0]
        return latents + (t + 10 * context[:, 0, 0] + pose)[:, None, None, None]

    contexts = jnp.stack([jnp.zeros((5, 2)), jnp.ones((5, 2))])
    without, with_prompt = guide.predict_pair(
        denoise, random(0), jnp.array(7), contexts, VIEWS
    )
    pose = VIEWS.camera_from_object[:, 0, 0][:, None, None, None]
    np.testing.assert_allclose(without, random(0) + 7 + pose, atol=1e-5)
    np.testing.assert_allclose(with_prompt - without, np.full((4, 3, 3, 2), 10.0), 1e-5)


def test_a_fully_rescaled_estimate_has_the_spread_of_the_reference():
    clean, reference = 7.0 * random(0) + 1.0, random(1)
    full = guide.rescaled(clean, reference, amount=1.0)
    spread = np.std(np.asarray(reference), ddof=1)
    np.testing.assert_allclose(np.std(np.asarray(full), ddof=1), spread, rtol=1e-5)
    none = guide.rescaled(clean, reference, amount=0.0)
    np.testing.assert_array_equal(none, clean)
    half = guide.rescaled(clean, reference, amount=0.5)
    np.testing.assert_allclose(half, 0.5 * (full + clean), rtol=1e-5)


def test_one_factor_for_all_views_of_a_scene():
    """A factor for each view apart would brighten one view against the others."""
    clean = random(0) * jnp.array([1.0, 2.0, 3.0, 4.0])[:, None, None, None]
    ratio = guide.rescaled(clean, random(1), amount=1.0) / clean
    np.testing.assert_allclose(
        ratio, np.full(ratio.shape, ratio[0, 0, 0, 0]), rtol=1e-5
    )


def test_the_spread_is_unbiased_and_safe_for_a_constant():
    small = jnp.array([0.0, 1.0]).reshape(1, 1, 1, 2)
    reference = jnp.array([0.0, 2.0]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(
        guide.rescaled(small, reference, amount=1.0), 2 * small, rtol=1e-6
    )
    flat = guide.rescaled(jnp.ones((1, 2, 2, 1)), random(0), amount=1.0)
    assert bool(jnp.isfinite(flat).all())
