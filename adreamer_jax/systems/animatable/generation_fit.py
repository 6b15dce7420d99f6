"""Fitting to one sampled set of views, before distillation refines the shape.

Random times, noises and cameras average a thin leg away; one sample of all views is a
single animal. It is drawn once, from a noised picture of the extracted model at rest,
so that it stands as the skeleton does, and the rest shape is fitted to it. Letters:
v views.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from adreamer_jax.objective.distill import distill_loss, noised
from adreamer_jax.prior.load import Prior
from adreamer_jax.prior.noise import ddim_step
from adreamer_jax.render.chunked import (
    deferred_gradient,
    in_order,
    interleaved,
    map_chunks,
)
from adreamer_jax.systems.animatable.distill import (
    Views,
    chunk_rays,
    clean_estimate,
    draw_rays,
    sample_views,
    split_moving,
)
from adreamer_jax.systems.animatable.model import Model, stop
from adreamer_jax.types import Array, Float, Int, Key, Metrics

_PURPOSES = ("views", "rays", "noise")


def _key(config: Any, purpose: str) -> Key:
    """A key that depends on the run's seed alone: what is sampled once stays."""
    key = jax.random.fold_in(jax.random.key(config.run.seed), 5)
    return jax.random.fold_in(key, _PURPOSES.index(purpose))


def at_rest(config: Any) -> Any:
    """The recipe with pictures of the rest shape, of which the field alone moves."""
    still: Any = ConfigDict(config.to_dict())
    still.csd.space, still.csd.moves = "canonical", "canonical"
    return still


def fit_views(config: Any, prior: Prior, upkeep: dict) -> Views:
    """The cameras of the sampled set: one draw of the recipe's own."""
    return sample_views(at_rest(config), prior, upkeep, _key(config, "views"))


def pictures(
    config: Any, prior: Prior, model: Model, upkeep: dict, step: Array, views: Views
) -> tuple[Float[Array, "v h w 3"], Float[Array, "v h w"]]:
    """Colors and masks of the rest shape from the given cameras."""
    side = config.csd.resolution
    total = prior.num_views * side * side
    chunk = chunk_rays(config, total)
    rays = interleaved(jnp.arange(total), chunk=chunk)
    key = _key(config, "rays")
    look = partial(draw_rays, at_rest(config), model, upkeep, step, views, key)
    parts = map_chunks(look, rays, chunk=chunk)[:2]
    color, mask = (in_order(x, chunk=chunk, total=total) for x in parts)
    shape = (prior.num_views, side, side)
    return color.reshape(*shape, 3), mask.reshape(shape)


def sample_set(
    config: Any, prior: Prior, frozen: dict, model: Model, upkeep: dict
) -> Float[Array, "v h w c"]:
    """Latents of one animal of the prompt, that looks like the model from afar.

    DDIM from the model's picture under so much noise as ``fit.strength`` says; at one
    nothing of the picture is left.
    """
    views = fit_views(config, prior, upkeep)
    shares = prior.schedule.alphas_cumprod
    start = int(config.fit.strength * (shares.shape[0] - 1))
    steps = np.unique(np.linspace(0, start, config.fit.chain + 1).astype(int))[::-1]
    seen = pictures(config, prior, model, upkeep, jnp.asarray(0), views)
    latents = prior.encode(frozen["prior"], *seen).astype(jnp.float32)
    noise = jax.random.normal(_key(config, "noise"), latents.shape)
    estimate = clean_estimate(config, prior, frozen, views.seen)
    as_clean = prior.schedule.replace(prediction="sample")

    def down(z, pair):
        here, there = pair
        return ddim_step(as_clean, estimate(z, here), z, here, there), None

    times = (jnp.asarray(steps[:-1]), jnp.asarray(steps[1:]))
    z, _ = jax.lax.scan(down, noised(latents, noise, shares[start]), times)
    return estimate(z, jnp.asarray(steps[-1]))


def fit_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
) -> tuple[Model, Metrics]:
    """Gradient of the distance to the sampled set in the rest shape and its colors."""
    views = fit_views(config, prior, upkeep)
    still = at_rest(config)
    side = config.csd.resolution
    total = prior.num_views * side * side
    chunk = chunk_rays(config, total)
    rays = interleaved(jnp.arange(total), chunk=chunk)
    moving, whole = split_moving(model, still.csd.moves)
    key = _key(config, "rays")

    def draw(moving: list[Array], index: Int[Array, "r"]):
        return draw_rays(still, whole(moving), upkeep, step, views, key, index)[:2]

    def loss(color, mask):
        latents = prior.encode(frozen["prior"], color, mask).astype(jnp.float32)
        return distill_loss(latents, upkeep["fit_latents"])

    color, mask = pictures(config, prior, stop(model), upkeep, step, views)
    value, pull = jax.value_and_grad(loss, argnums=(0, 1))(color, mask)
    flat = [x.reshape(total, *x.shape[3:]) for x in pull]
    flat = tuple(interleaved(x, chunk=chunk, mode="constant") for x in flat)
    grads = deferred_gradient(draw, moving, rays, flat, chunk=chunk)
    zero = jax.tree.map(jnp.zeros_like, model)
    return split_moving(zero, still.csd.moves)[1](grads), {"loss/csd": value}
