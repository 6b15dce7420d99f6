"""A prior that knows the answer: the perfect score toward given pictures.

Where the only possible picture of a view is x, the noise in z is
``(z - sqrt(a) x) / sqrt(1 - a)``, whatever the text says. Sampling then ends in the
pictures and distillation pulls a model to them, so every part around a prior can be
tested against a known result, without weights.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from adreamer_jax.prior.load import Prior, color_code
from adreamer_jax.prior.noise import epsilon_of, make_schedule
from adreamer_jax.types import Array, Camera, Float, Params


def oracle_prior(
    picture_of: Callable[[Params, Camera], Float[Array, "v h w 3"]],
    *,
    image_size: int,
    num_views: int = 4,
) -> Prior:
    """A prior on pixels that believes in ``picture_of(weights, cameras)``.

    Its weights are whatever the pictures are made from.
    """
    schedule = make_schedule()
    as_clean = schedule.replace(prediction="sample")

    def encode(weights, image, mask=None):
        return color_code(image, mask)

    def denoise(weights, latents, t, context, cameras):
        clean = encode(weights, picture_of(weights, cameras))
        return epsilon_of(as_clean, clean, latents, t)

    return Prior(
        name="oracle",
        tokenize=lambda texts: np.zeros((len(texts), 1), np.int32),
        embed_text=lambda weights, ids: jnp.zeros((*ids.shape, 1)),
        encode=encode,
        decode=lambda weights, latents: 0.5 * latents + 0.5,
        denoise=denoise,
        schedule=schedule,
        image_size=image_size,
        latent_shape=(image_size, image_size, 3),
        num_views=num_views,
        is_random=False,
        denoise_together=lambda views: denoise,  # it knows each view by itself
    )
