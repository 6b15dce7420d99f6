"""Where the front of the filmed object is, by the prior's own judgment.

A prior knows faces from tails only in its own azimuths, and the object space of a clip
need not face the same way. The side from which the prior foresees best the noise on the
model's pictures is taken as the front.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import facing
from adreamer_jax.objective.distill import noised, sample_time
from adreamer_jax.prior.load import Prior
from adreamer_jax.systems.animatable.distill_views import draw_views, sample_views
from adreamer_jax.systems.animatable.model import Model
from adreamer_jax.types import Array, Float, Int, Key


def find_front_at(config: Any) -> int | None:
    """The step before which the front is looked for: the first one of distillation."""
    if not config.data.views.find_front:
        return None
    at, values = zip(*(config.ramp.csd or ((0.0, 1.0),)), strict=True)
    progress = np.arange(config.run.steps) / config.run.steps
    return int(np.argmax(np.interp(progress, at, values) > 0))


def start_front(config: Any, step: int | None) -> dict[str, Array]:
    """The recipe's front, where upkeep is to hold the one that will be found."""
    front = jnp.radians(jnp.float32(config.data.views.azimuth_offset_deg))
    return {} if step is None else {"front": front}


def best_front(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
) -> Float[Array, ""]:
    """The azimuth of the front that the prior believes, of eight about the recipe's."""
    first = jnp.radians(config.data.views.azimuth_offset_deg)
    fronts = jnp.asarray(first + 2.0 * jnp.pi * jnp.arange(8) / 8, jnp.float32)
    # the first two numbers are the run's, for its start and its steps
    key = jax.random.fold_in(jax.random.key(config.run.seed), 2 + step)
    errors = front_errors(config, prior, model, upkeep, frozen, step, key, fronts)
    return fronts[jnp.argmin(errors)]


def front_errors(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
    fronts: Float[Array, "n"],
    *,
    draws: int = 8,
) -> Float[Array, "n"]:
    """How badly the prior foresees the noise if the front lies at each azimuth.

    The same pictures under the same noise, told to be seen from other sides: who knows
    faces from tails foresees best where the front is. Mean squared error over some
    draws of views, times and noise.
    """
    shares = prior.schedule.alphas_cumprod
    up = jnp.asarray(config.data.views.up, jnp.float32)
    denoise = partial(prior.denoise, frozen["prior"])
    text = jnp.repeat(frozen["contexts"][1:], prior.num_views, axis=0)

    def one(key):
        view_key, ray_key, time_key, noise_key = jax.random.split(key, 4)
        views = sample_views(config, prior, upkeep | {"front": 0.0}, view_key)
        pictures = draw_views(config, model, upkeep, step, views, ray_key)[:2]
        latents = prior.encode(frozen["prior"], *pictures)
        noise = jax.random.normal(noise_key, latents.shape)
        t = sample_time(time_key, (0.3, 0.8), steps=shares.shape[0])
        z = noised(latents.astype(jnp.float32), noise, shares[t])
        each = jnp.full(z.shape[:1], t)

        def error(front):
            turn = facing(up, 0.0) @ facing(up, front).T
            pose = views.seen.camera_from_object
            pose = pose.at[..., :3, :3].set(pose[..., :3, :3] @ turn)
            heard = denoise(z, each, text, views.seen.replace(camera_from_object=pose))
            return jnp.mean((heard - noise) ** 2)

        return jax.lax.map(error, fronts)

    return jnp.mean(jax.lax.map(one, jax.random.split(key, draws)), axis=0)
