"""Fitting to sampled sets of views, before distillation refines the shape.

Random times, noises and cameras average a thin leg away; one sample of all views is a
single animal. The first set is drawn from noise alone: half of the extracted shape that
would shine through is half of another animal, and the views would not agree. The rest
shape is fitted to it, and from the shape that has come of it the next set is drawn,
from elsewhere and under less noise: the same animal, seen from four sides more. Of some
tries of each set the one is taken whose outlines agree best with their visual hull. The
animals stand ("fit.suffix"), as the skeleton at rest does: the legs of one that runs
are nowhere that a mirrored shape can have them. Letters: v views, s sets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from adreamer_jax.core.camera import project, with_size
from adreamer_jax.core.schedule import ramp
from adreamer_jax.objective.distill import distill_loss, noised
from adreamer_jax.prior.load import Prior
from adreamer_jax.prior.noise import ddim_step
from adreamer_jax.render.chunked import in_order, interleaved, map_chunks
from adreamer_jax.systems.animatable.distill import (
    Views,
    chunk_rays,
    clean_estimate,
    draw_rays,
    pulled,
    sample_views,
    split_moving,
)
from adreamer_jax.systems.animatable.model import Model, stop
from adreamer_jax.systems.animatable.upkeep import grid_points
from adreamer_jax.types import Array, Bool, Camera, Float, Int, Key, Metrics

HULL_CELLS = 56  # of the visual hull, a side
_PURPOSES = ("views", "rays", "noise")


def _key(config: Any, purpose: str, number: Int[Array, ""] | int = 0) -> Key:
    """A key of the run's seed and the set's number alone: what is drawn stays."""
    key = jax.random.fold_in(jax.random.key(config.run.seed), 5)
    key = jax.random.fold_in(key, _PURPOSES.index(purpose))
    return jax.random.fold_in(key, number)


def set_due(config: Any, step: int) -> int | None:
    """Number of the set that is drawn before a step; None: none is."""
    numbers = config.fit
    if step >= numbers.steps:
        return None
    starts = [i * numbers.steps // numbers.sets for i in range(numbers.sets)]
    return starts.index(step) if step in starts else None


def fit_due(config: Any, step: Int[Array, ""] | int) -> Bool[Array, ""]:
    """Whether a step belongs to the sets: the first ones all, then every so manyth.

    Distillation by the caption alone has no end: it would paint green what is yellow.
    """
    step = jnp.asarray(step)
    first = step < config.fit.steps
    if config.fit.every == 0:
        return first
    return first | (step % config.fit.every == 0)


def at_rest(config: Any) -> Any:
    """The recipe with pictures of the rest shape, of which the field alone moves."""
    still: Any = ConfigDict(config.to_dict())
    still.csd.space, still.csd.moves = "canonical", "canonical"
    return still


def fit_views(
    config: Any, prior: Prior, upkeep: dict, number: Int[Array, ""] | int
) -> Views:
    """The cameras of a sampled set: one draw of the recipe's own."""
    return sample_views(at_rest(config), prior, upkeep, _key(config, "views", number))


def pictures(
    config: Any, prior: Prior, model: Model, upkeep: dict, step: Array, views: Views
) -> tuple[Float[Array, "v h w 3"], Float[Array, "v h w"], Float[Array, ""]]:
    """Colors and masks of the rest shape from the given cameras; samples without slot.

    Rays go through other places of their pixels at every step.
    """
    side = config.csd.resolution
    total = prior.num_views * side * side
    chunk = chunk_rays(config, total)
    rays = interleaved(jnp.arange(total), chunk=chunk)
    key = _key(config, "rays", step)
    look = partial(draw_rays, at_rest(config), model, upkeep, step, views, key)
    *parts, lost = map_chunks(look, rays, chunk=chunk)
    color, mask = (in_order(x, chunk=chunk, total=total) for x in parts)
    shape = (prior.num_views, side, side)
    return color.reshape(*shape, 3), mask.reshape(shape), jnp.sum(lost)


def sample_set(
    config: Any,
    prior: Prior,
    frozen: dict,
    model: Model,
    upkeep: dict,
    step: Int[Array, ""],
    number: Int[Array, ""],
) -> Float[Array, "v h w c"]:
    """Latents of one animal of the prompt, that looks like the model from afar.

    DDIM from the model's picture under so much noise as ``fit.strength`` says; at one
    nothing of the picture is left. The best of ``fit.tries`` by `hull_agreement`, where
    the prior knows object from background; else the only one.
    """
    numbers = config.fit
    views = fit_views(config, prior, upkeep, number)
    shares = prior.schedule.alphas_cumprod
    strength = ramp(numbers.strength, number / max(numbers.sets - 1, 1))
    start = (strength * (shares.shape[0] - 1)).astype(jnp.int32)
    steps = start * jnp.arange(numbers.chain, -1, -1) // numbers.chain
    color, mask, _ = pictures(config, prior, model, upkeep, step, views)
    latents = prior.encode(frozen["prior"], color, mask).astype(jnp.float32)
    told = frozen | {"contexts": frozen["fit_contexts"]}
    estimate = clean_estimate(config, prior, told, views.seen)
    as_clean = prior.schedule.replace(prediction="sample")

    def down(z, pair):
        here, there = pair
        return ddim_step(as_clean, estimate(z, here), z, here, there), None

    def attempt(key):
        noise = jax.random.normal(key, latents.shape)
        z = noised(latents, noise, shares[start])
        z, _ = jax.lax.scan(down, z, (steps[:-1], steps[1:]))
        return estimate(z, steps[-1])

    key = _key(config, "noise", number)
    read_mask = prior.decode_mask
    if read_mask is None or numbers.tries == 1:
        return attempt(key)
    sets = jax.lax.map(attempt, jax.random.split(key, numbers.tries))

    def agree(latents):
        return hull_agreement(views.camera, read_mask(frozen["prior"], latents))

    agreement = jax.lax.map(agree, sets)  # one hull at a time is held
    return sets[jnp.argmax(agreement)]


def hull_agreement(
    camera: Camera, masks: Float[Array, "v h w"], *, cells: int = HULL_CELLS
) -> Float[Array, ""]:
    """IoU of the outlines with those of the visual hull of them all, in field space.

    One where some object has exactly these outlines (up to the grid); a view that shows
    more than the others promise, or less, takes from it. Zero where nothing is shown.
    """
    count, height, width = masks.shape
    camera = with_size(camera, (height, width))
    points = jnp.broadcast_to(grid_points(cells), (count, cells**3, 3))
    pixels, _ = project(camera, points)
    place = jnp.floor(pixels).astype(jnp.int32)
    bound = jnp.array([width, height])
    inside = jnp.all((place >= 0) & (place < bound), axis=-1)
    x, y = jnp.moveaxis(jnp.clip(place, 0, bound - 1), -1, 0)
    view = jnp.arange(count)[:, None]
    covered = masks > 0.5
    held = jnp.all(covered[view, y, x] & inside, axis=0)
    outline = jnp.zeros_like(covered).at[view, y, x].max(held & inside)
    both = jnp.sum(outline & covered, axis=(1, 2))
    either = jnp.sum(outline | covered, axis=(1, 2))
    return jnp.mean(both / jnp.maximum(either, 1))


def fit_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
) -> tuple[Model, Metrics]:
    """Gradient of the distance to a sampled set in the rest shape and its colors.

    The sets drawn so far take turns.
    """
    number = step % jnp.maximum(upkeep["fit_count"], 1)
    views = fit_views(config, prior, upkeep, number)
    still = at_rest(config)
    moving, whole = split_moving(model, still.csd.moves)
    key = _key(config, "rays", step)

    def draw(moving: list[Array], index: Int[Array, "r"]):
        return draw_rays(still, whole(moving), upkeep, step, views, key, index)[:2]

    def loss(color, mask):
        latents = prior.encode(frozen["prior"], color, mask).astype(jnp.float32)
        return distill_loss(latents, upkeep["fit_latents"][number])

    color, mask, lost = pictures(config, prior, stop(model), upkeep, step, views)
    value, pull = jax.value_and_grad(loss, argnums=(0, 1))(color, mask)
    grads = pulled(still, draw, moving, pull, key)
    zero = jax.tree.map(jnp.zeros_like, model)
    seen = {"loss/csd": value, "csd/opacity": jnp.mean(mask), "csd/overflow": lost}
    return split_moving(zero, still.csd.moves)[1](grads), seen
