"""The noise of diffusion: schedules, forms of a prediction, DDIM and DDPM steps.

A noised sample is ``z = sqrt(a) x + sqrt(1 - a) e`` with clean ``x``, noise ``e`` and
``a`` the product of ``1 - beta`` up to step t (0 ... 999, small t is little noise).
The velocity is ``v = sqrt(a) e - sqrt(1 - a) x``. The arithmetic is float32 and the
products are formed in float64 once, on the host.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct

from adreamer_jax.types import Array, Float, Int


class Schedule(struct.PyTreeNode):
    """The signal share a of every step, and what the network predicts of it."""

    alphas_cumprod: Float[Array, " steps"]
    prediction: str = struct.field(pytree_node=False, default="epsilon")
    steps_offset: int = struct.field(pytree_node=False, default=0)
    final_alpha: float = struct.field(pytree_node=False, default=1.0)


def betas(
    kind: str, *, start: float, end: float, steps: int
) -> Float[np.ndarray, " steps"]:
    """Noise added at each step: `linear`, `scaled_linear` (SD) or `squaredcos_cap_v2`.

    The cosine is ``a(s) = cos^2((s + 0.008) / 1.008 * pi / 2)`` with betas up to 0.999;
    it has no start and end of its own.
    """
    if kind == "linear":
        return np.linspace(start, end, steps, dtype=np.float64)
    if kind == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, steps, dtype=np.float64) ** 2
    if kind == "squaredcos_cap_v2":
        time = np.linspace(0.0, 1.0, steps + 1)
        signal = np.cos((time + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1.0 - signal[1:] / signal[:-1], 0.999)
    raise ValueError(
        "beta_schedule must be linear, scaled_linear or squaredcos_cap_v2, got "
        f"{kind}; write one of them into scheduler/scheduler_config.json"
    )


def make_schedule(
    *,
    kind: str = "scaled_linear",
    start: float = 0.00085,
    end: float = 0.012,
    steps: int = 1000,
    prediction: str = "epsilon",
    steps_offset: int = 1,
    alpha_one: bool = False,
) -> Schedule:
    """The schedule of given betas; the defaults are Stable Diffusion's and MVDream's.

    ``alpha_one`` says that the last DDIM step lands on a = 1 and not on that of t = 0.
    """
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ValueError(
            "prediction_type must be epsilon, v_prediction or sample, got "
            f"{prediction}; write one of them into scheduler/scheduler_config.json"
        )
    alphas = np.cumprod(1.0 - betas(kind, start=start, end=end, steps=steps))
    return Schedule(
        alphas_cumprod=jnp.asarray(alphas, jnp.float32),
        prediction=prediction,
        steps_offset=steps_offset,
        final_alpha=1.0 if alpha_one else float(np.float32(alphas[0])),
    )


def _share(schedule: Schedule, t: Int[Array, "*b"], like: Array) -> Array:
    """The a of every sample, with trailing ones so that it multiplies ``like``."""
    alpha = schedule.alphas_cumprod[t]
    return alpha.reshape(alpha.shape + (1,) * (like.ndim - alpha.ndim))


def add_noise(
    schedule: Schedule,
    clean: Float[Array, "b *s"],
    noise: Float[Array, "b *s"],
    t: Int[Array, "*b"],
) -> Float[Array, "b *s"]:
    """The noised sample z of a clean one."""
    alpha = _share(schedule, t, clean)
    return jnp.sqrt(alpha) * clean + jnp.sqrt(1.0 - alpha) * noise


def velocity(
    schedule: Schedule,
    clean: Float[Array, "b *s"],
    noise: Float[Array, "b *s"],
    t: Int[Array, "*b"],
) -> Float[Array, "b *s"]:
    """What a network of `v_prediction` is trained to return."""
    alpha = _share(schedule, t, clean)
    return jnp.sqrt(alpha) * noise - jnp.sqrt(1.0 - alpha) * clean


def clean_of(
    schedule: Schedule,
    output: Float[Array, "b *s"],
    noised: Float[Array, "b *s"],
    t: Int[Array, "*b"],
) -> Float[Array, "b *s"]:
    """The clean sample that a network's output stands for."""
    alpha = _share(schedule, t, noised)
    if schedule.prediction == "sample":
        return output
    if schedule.prediction == "v_prediction":
        return jnp.sqrt(alpha) * noised - jnp.sqrt(1.0 - alpha) * output
    return (noised - jnp.sqrt(1.0 - alpha) * output) / jnp.sqrt(alpha)


def epsilon_of(
    schedule: Schedule,
    output: Float[Array, "b *s"],
    noised: Float[Array, "b *s"],
    t: Int[Array, "*b"],
) -> Float[Array, "b *s"]:
    """The noise that a network's output stands for."""
    alpha = _share(schedule, t, noised)
    if schedule.prediction == "sample":
        return (noised - jnp.sqrt(alpha) * output) / jnp.sqrt(1.0 - alpha)
    if schedule.prediction == "v_prediction":
        return jnp.sqrt(alpha) * output + jnp.sqrt(1.0 - alpha) * noised
    return output


def timesteps(schedule: Schedule, count: int) -> Int[np.ndarray, " count"]:
    """The steps of a short chain, from most to least noise ("leading" spacing).

    ``count`` = 10 of 1000 gives 900 ... 0, plus the schedule's offset.
    """
    total = schedule.alphas_cumprod.shape[0]
    if not 1 <= count <= total:
        raise ValueError(
            f"the number of sampling steps must be in 1 ... {total}, got {count}; "
            "30 is usual"
        )
    chosen = np.arange(count)[::-1] * (total // count) + schedule.steps_offset
    if chosen[0] >= total:
        raise ValueError(
            f"the number of sampling steps must leave room for the schedule's offset "
            f"of {schedule.steps_offset}, got {count} of {total}; 30 is usual"
        )
    return chosen.astype(np.int32)


def _previous_share(schedule: Schedule, t_before: Int[Array, ""]) -> Array:
    """The a to step to; a negative step is the end of the chain."""
    alphas = schedule.alphas_cumprod
    return jnp.where(
        t_before >= 0, alphas[jnp.maximum(t_before, 0)], schedule.final_alpha
    )


def ddim_step(
    schedule: Schedule,
    output: Float[Array, "*s"],
    noised: Float[Array, "*s"],
    t: Int[Array, ""],
    t_before: Int[Array, ""],
    *,
    eta: float = 0.0,
    noise: Float[Array, "*s"] | None = None,
) -> Float[Array, "*s"]:
    """The sample at the less noisy step ``t_before`` (DDIM, equation 12).

    ``eta`` = 0 is deterministic; with ``eta`` > 0 fresh ``noise`` of that share of
    DDPM's variance replaces part of the direction back to the noise.
    """
    here, there = schedule.alphas_cumprod[t], _previous_share(schedule, t_before)
    clean = clean_of(schedule, output, noised, t)
    epsilon = epsilon_of(schedule, output, noised, t)
    variance = (1.0 - there) / (1.0 - here) * (1.0 - here / there)
    sigma = eta * jnp.sqrt(jnp.maximum(variance, 0.0))
    direction = jnp.sqrt(jnp.maximum(1.0 - there - sigma**2, 0.0)) * epsilon
    step = jnp.sqrt(there) * clean + direction
    return step if noise is None else step + sigma * noise


def ddpm_posterior(
    schedule: Schedule,
    output: Float[Array, "*s"],
    noised: Float[Array, "*s"],
    t: Int[Array, ""],
    t_before: Int[Array, ""],
) -> tuple[Float[Array, "*s"], Float[Array, ""]]:
    """Mean and variance of the sample at ``t_before`` (DDPM, equations 6 and 7)."""
    here = schedule.alphas_cumprod[t]
    there = jnp.where(t_before >= 0, _previous_share(schedule, t_before), 1.0)
    kept = here / there
    clean = clean_of(schedule, output, noised, t)
    of_clean = jnp.sqrt(there) * (1.0 - kept) / (1.0 - here)
    of_noised = jnp.sqrt(kept) * (1.0 - there) / (1.0 - here)
    return of_clean * clean + of_noised * noised, (1.0 - there) / (1.0 - here) * (
        1.0 - kept
    )
