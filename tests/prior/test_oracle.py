"""The prior that knows the answer: its score is the one of the known pictures."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.noise import add_noise, ddim_step, timesteps
from adreamer_jax.prior.oracle import oracle_prior

VIEWS = orbit(
    jnp.arange(4.0), jnp.zeros(4), jnp.full(4, 2.0), jnp.full(4, 0.7), size=(6, 6)
)


def painted(weights, cameras):
    """Every view in one color, which its direction decides."""
    place = cameras.camera_from_object[:, 2, :3]
    color = weights * (0.5 + 0.5 * place)
    return jnp.broadcast_to(color[:, None, None], (*color.shape[:1], 6, 6, 3))


PRIOR = oracle_prior(painted, image_size=6)


def test_it_names_the_noise_that_was_added():
    clean = PRIOR.encode(1.0, painted(1.0, VIEWS))
    noise = jax.random.normal(jax.random.key(0), clean.shape)
    t = jnp.full(4, 600)
    z = add_noise(PRIOR.schedule, clean, noise, t)
    context = PRIOR.embed_text(1.0, PRIOR.tokenize(["anything"] * 4))
    found = PRIOR.denoise(1.0, z, t, context, VIEWS)
    np.testing.assert_allclose(found, noise, atol=1e-5)


def test_sampling_ends_in_the_known_pictures():
    z = jax.random.normal(jax.random.key(1), (4, *PRIOR.latent_shape))
    steps = timesteps(PRIOR.schedule, 5)
    for t, t_before in zip(steps, [*steps[1:], -1], strict=True):
        noise = PRIOR.denoise(0.5, z, jnp.full(4, t), None, VIEWS)
        z = ddim_step(PRIOR.schedule, noise, z, t, t_before)
    # The chain stops at the least of the noise levels, 3 % of noise.
    np.testing.assert_allclose(PRIOR.decode(0.5, z), painted(0.5, VIEWS), atol=0.1)


def test_pixels_there_and_back():
    image = jax.random.uniform(jax.random.key(2), (4, 6, 6, 3))
    there = PRIOR.decode(1.0, PRIOR.encode(1.0, image))
    np.testing.assert_allclose(there, image, atol=1e-6)
