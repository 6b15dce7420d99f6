"""Score distillation: what a diffusion prior asks of a picture.

A noised picture is ``z = sqrt(a) x + sqrt(1 - a) e`` with ``a`` falling from one to
nearly zero as the time step t grows. The prior's view of it is an estimate of the clean
picture, ``estimate(z, t)``, which is handed in: the loss pulls the picture toward it.
Every function is for the views of one group, which share one time step.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from adreamer_jax.core.schedule import ramp
from adreamer_jax.types import Array, Float, Int, Key

Knots = Sequence[tuple[float, float]]
Number = Float[Array, ""] | float


def time_window(
    progress: Number, *, low: Knots, high: Knots
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Least and largest time, as shares of the schedule, at a part of the run."""
    return ramp(low, progress), ramp(high, progress)


def sample_time(
    key: Key, window: tuple[Number, Number], *, steps: int
) -> Int[Array, ""]:
    """A time step drawn evenly from the window."""
    low, high = window
    at = low + (high - low) * jax.random.uniform(key)
    return jnp.clip((at * steps).astype(jnp.int32), 0, steps - 1)


def noised(
    clean: Float[Array, "*s"], noise: Float[Array, "*s"], share: Float[Array, ""]
) -> Float[Array, "*s"]:
    """The clean picture under noise; ``share`` is the a of the formula."""
    return jnp.sqrt(share) * clean + jnp.sqrt(1.0 - share) * noise


def clean_target(
    estimate: Callable,
    clean: Float[Array, "*s"],
    noise: Float[Array, "*s"],
    t: Int[Array, ""],
    shares: Float[Array, " steps"],
    *,
    chain: int = 1,
) -> Float[Array, "*s"]:
    """The clean picture that the prior sees behind a noised one, without gradient.

    With ``chain`` > 1 it is the end of so many DDIM steps from t to 0: sharper and
    dearer than the one estimate at t.
    """
    z = noised(jax.lax.stop_gradient(clean), noise, shares[t])
    times = t * jnp.arange(chain, 0, -1) // chain

    def down(z, pair):
        here, there = pair
        seen = estimate(z, here)
        rest = (z - jnp.sqrt(shares[here]) * seen) / jnp.sqrt(1.0 - shares[here])
        return noised(seen, rest, shares[there]), None

    if chain > 1:
        z, _ = jax.lax.scan(down, z, (times[:-1], times[1:]))
    return jax.lax.stop_gradient(estimate(z, times[-1]))


def form_weight(form: str, share: Float[Array, ""]) -> Float[Array, ""]:
    """Weight of the distance to the clean estimate: "x0" takes it as it is.

    With noise estimate e' the difference ``x - x0'`` is ``sqrt((1 - a) / a) (e' - e)``,
    so score distillation with its usual w = 1 - a ("sds") is the same loss under the
    weight ``sqrt(a (1 - a))``.
    """
    if form == "sds":
        return jnp.sqrt(share * (1.0 - share))
    return jnp.ones_like(share)


def distill_loss(
    latents: Float[Array, "*s"],
    target: Float[Array, "*s"],
    *,
    weight: Number = 1.0,
) -> Float[Array, ""]:
    """Half the mean squared distance of latents from the prior's clean estimate.

    Its gradient is ``weight (latents - target) / n``: the prior is never
    differentiated. The mean, not the sum, keeps a weight comparable between priors.
    """
    difference = latents - jax.lax.stop_gradient(target)
    return 0.5 * weight * jnp.mean(difference**2)
