"""Classifier-free guidance: the same noised views judged with and without the prompt.

Guidance exaggerates the difference that the prompt makes, ``e_u + s (e_y - e_u)``.
Large scales s over-saturate, so the clean estimate can be brought back toward the
spread of the unguided one (Lin et al. 2023, section 3.4).
The pair of text contexts is always ordered (without, with) the prompt.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Camera, Float, Int


def predict_pair(
    denoise: Callable,
    noised: Float[Array, "v h w c"],
    t: Int[Array, "*v"],
    contexts: Float[Array, "2 tokens width"],
    cameras: Camera,
) -> tuple[Float[Array, "v h w c"], Float[Array, "v h w c"]]:
    """What ``denoise(latents, t, context, cameras)`` says without and with the prompt.

    One call on twice the batch. Both halves see the same cameras: only the text is
    what guidance asks about. The step ``t`` is one for all views, or each has its own.
    """
    views = noised.shape[0]
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), cameras)
    both = denoise(
        jnp.concatenate([noised, noised]),
        jnp.tile(jnp.broadcast_to(t, (views,)), 2),
        jnp.repeat(contexts, views, axis=0),
        twice,
    )
    return both[:views], both[views:]


def guided(
    without: Float[Array, "*s"], with_prompt: Float[Array, "*s"], *, scale: float
) -> Float[Array, "*s"]:
    """The prediction pushed along the prompt; scale 1 is the plain prediction."""
    return without + scale * (with_prompt - without)


def rescaled(
    clean: Float[Array, "v h w c"],
    reference: Float[Array, "v h w c"],
    *,
    amount: float,
) -> Float[Array, "v h w c"]:
    """The guided clean estimate, mixed with itself at the spread of the unguided one.

    One standard deviation for all views of a scene together, so that no view is
    brightened against the others; unbiased, as the published code has it.
    """
    ratio = jnp.std(reference, ddof=1) / (jnp.std(clean, ddof=1) + 1e-8)
    return amount * ratio * clean + (1.0 - amount) * clean
