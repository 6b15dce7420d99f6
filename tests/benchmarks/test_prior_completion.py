"""Completed views: what is shown stays, what is not shown is drawn."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import prior_completion

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.load import load_prior


def test_overlap_of_outlines():
    one = np.zeros((2, 4, 4))
    one[:, :2] = 1.0
    other = np.roll(one, 1, axis=1)
    np.testing.assert_allclose(prior_completion.overlap(one, one), 1.0)
    np.testing.assert_allclose(prior_completion.overlap(one, other), 1 / 3)
    assert not prior_completion.overlap(one, np.zeros_like(one)).any()


def test_shown_views_stay_and_the_others_follow_the_noise():
    prior, weights = load_prior("")
    texts = prior.embed_text(weights, prior.tokenize(["", "a red cat"]))
    four = jnp.ones(4)
    size = (prior.image_size,) * 2
    camera = orbit(jnp.arange(4) * jnp.pi / 2, 0.2 * four, 3 * four, 0.7 * four,
                   size=size)  # fmt: skip
    disc = np.hypot(*np.meshgrid(*[np.arange(size[0]) - size[0] / 2] * 2)) < 9
    mask = jnp.broadcast_to(jnp.asarray(disc, jnp.float32), (4, *size))
    true = prior.encode(weights, 0.5 * mask[..., None] * jnp.ones(3), mask)
    shown = jnp.array([True, False, False, False]).reshape(4, 1, 1, 1)
    draw = partial(prior_completion.complete, prior, weights, steps=2, rounds=2)
    first, second = (
        jax.jit(draw)(texts, camera, true, shown, jax.random.key(i)) for i in range(2)
    )
    np.testing.assert_allclose(first[0], mask[0], atol=1e-5)
    assert float(jnp.abs(first[1:] - second[1:]).max()) > 0.1
    assert np.all(np.isfinite(first))


def test_a_prior_without_alpha_is_refused():
    prior, weights = load_prior("")
    blind = prior._replace(decode_mask=None)
    arguments = (jnp.zeros(()),) * 5
    with pytest.raises(ValueError, match="object from background"):
        prior_completion.complete(blind, weights, *arguments, steps=1, rounds=1)
