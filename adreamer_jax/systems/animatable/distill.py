"""Canonical Score Distillation: the prior judges the posed model (section 7).

One gradient has three parts. A picture of a few views of one frame is rendered through
the warp, without gradient; the prior says what it would rather see, which is a gradient
on the picture and goes through its encoder only; the picture is rendered again, chunk
by chunk with the same samples, and the gradient is pulled through rendering, field and
warp into the one canonical model. Letters: v views, r rays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from adreamer_jax.core.optimizer import group_tree, path_name
from adreamer_jax.core.schedule import ramp
from adreamer_jax.core.shares import mean_tree, my_share, num_shares
from adreamer_jax.prior.load import Prior
from adreamer_jax.render.chunked import deferred_gradient, interleaved
from adreamer_jax.systems.animatable.distill_judge import judge
from adreamer_jax.systems.animatable.distill_views import (
    chunk_rays,
    draw_rays,
    draw_views,
    sample_views,
    seen_views,
)
from adreamer_jax.systems.animatable.model import Model, stop
from adreamer_jax.types import Array, Float, Int, Key, Metrics

_KEPT = ("feature", "visibility", "log_temperature", "center", "axes", "radii")


def csd_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
    *,
    axis: str | None = None,
) -> tuple[Model, Metrics]:
    """Gradient of the distillation loss in the model, and what to log of it.

    The mean over ``config.csd.groups`` groups of views; parameters that the prior may
    not move have a gradient of exactly zero. With ``axis`` this device's groups only,
    so that the mean over devices is the whole's; a group is never split.
    """
    groups, shares = config.csd.groups, num_shares(axis)
    number = -(-groups // shares)

    def one(index):
        grads, metrics = group_gradient(
            config, prior, model, upkeep, frozen, step, jax.random.fold_in(key, index)
        )
        part = jnp.where(index < groups, shares / groups, 0.0)
        return jax.tree.map(lambda x: part * x, (grads, metrics))

    first = my_share(axis) * number
    if number == 1:
        return one(jnp.asarray(first))

    def add(total, index):
        return jax.tree.map(jnp.add, total, one(index)), None

    zero = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, jnp.asarray(0))
    )
    return jax.lax.scan(add, zero, first + jnp.arange(number))[0]


def group_gradient(
    config: Any,
    prior: Prior,
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
) -> tuple[Model, Metrics]:
    """`csd_gradient` of one group of views."""
    view_key, ray_key, prior_key = jax.random.split(key, 3)
    still = stop(model)
    views = sample_views(config, prior, upkeep, view_key, still)
    color, mask, lost = draw_views(config, still, upkeep, step, views, ray_key)
    shown = seen_views(config, still, views, count=upkeep["box"].shape[0])
    pull, metrics = judge(
        config, prior, frozen, views, (color, mask), step, prior_key, shown
    )
    moving, whole = split_moving(model, config.csd.moves)

    def draw(moving: list[Array], index: Int[Array, "r"]):
        model = whole(moving)
        return draw_rays(config, model, upkeep, step, views, ray_key, index)[:2]

    grads = pulled(config, draw, moving, pull, ray_key)
    zero = jax.tree.map(jnp.zeros_like, model)
    metrics |= {"csd/opacity": jnp.mean(mask), "csd/overflow": lost}
    if shown is not None:
        metrics["csd/shown"] = jnp.mean(shown)
    return split_moving(zero, config.csd.moves)[1](grads), metrics


def pulled(
    config: Any,
    draw: Callable,
    moving: list[Array],
    pull: tuple[Array, ...],
    key: Key,
) -> list[Array]:
    """The pictures' gradient ``pull`` [v, h, w, ...] in what moves, chunk by chunk.

    ``draw(moving, rays)`` renders the pixels with the given numbers again. Of
    ``csd.thinning`` pixels in a row one is drawn by chance and counts for all: the mean
    stays, the work does not.
    """
    thin = config.csd.thinning
    total = pull[0].size // math.prod(pull[0].shape[3:])
    count = total // thin
    index = thin * jnp.arange(count)
    if thin > 1:  # no pixel has the number ``total``: its own draws are others
        index += jax.random.randint(jax.random.fold_in(key, total), (count,), 0, thin)
    chunk = chunk_rays(config, count)
    flat = (thin * x.reshape(total, *x.shape[3:])[index] for x in pull)
    return deferred_gradient(
        draw,
        moving,
        interleaved(index, chunk=chunk),
        tuple(interleaved(x, chunk=chunk, mode="constant") for x in flat),
        chunk=chunk,
    )


def split_moving(model: Model, moves: str) -> tuple[list[Array], Callable]:
    """The leaves that distillation may move, and a function that puts them back.

    Never the root pose and the cameras, nor what only the clip can teach: features and
    visibility. "canonical" leaves out the bones too, which is distillation without
    gradient through the warp.
    """
    flat, tree = jax.tree_util.tree_flatten_with_path(model)
    chosen = [_may_move(path_name(path), moves) for path, _ in flat]

    def put_back(leaves: list[Array]) -> Model:
        new = iter(leaves)
        pairs = zip(flat, chosen, strict=True)
        return tree.unflatten([next(new) if c else x for (_, x), c in pairs])

    return [x for (_, x), c in zip(flat, chosen, strict=True) if c], put_back


def _may_move(path: str, moves: str) -> bool:
    part, name = path.split("/")[:2]
    if part == "field":
        return name not in _KEPT
    return part == "bones" and moves == "canonical+warp"


def with_csd(
    config: Any,
    prior: Prior,
    group_of: Callable[[str], str],
    model: Model,
    upkeep: dict,
    frozen: dict,
    step: Int[Array, ""],
    key: Key,
    grads: Model,
    metrics: Metrics,
    *,
    axis: str | None = None,
) -> tuple[Model, Metrics]:
    """Gradients and metrics of the whole, with the prior's part where it is due.

    ``grads`` and ``metrics`` are this device's own: both parts are averaged over the
    devices together, by one reduction, before they are weighted and added up.
    """

    def ask():
        return csd_gradient(config, prior, model, upkeep, frozen, step, key, axis=axis)

    weight = csd_weight(config, step)
    if config.csd.every == 1 and not config.ramp.csd:
        extra, seen = ask()
    else:
        shapes = jax.eval_shape(ask)
        nothing = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        due = ((step + 1) % config.csd.every == 0) & (weight > 0)
        extra, seen = jax.lax.cond(due, ask, nothing)
    grads, extra, metrics = mean_tree((grads, extra, metrics | seen), axis)
    grads, norms = joined(config, group_of, weight, grads, extra)
    return grads, metrics | norms


def csd_weight(config: Any, step: Int[Array, ""]) -> Float[Array, ""]:
    """Weight of distillation at a step of the run."""
    return config.loss.csd * ramp(config.ramp.csd, step / config.run.steps)


def joined(
    config: Any,
    group_of: Callable[[str], str],
    weight: Float[Array, ""],
    grads: Model,
    extra: Model,
) -> tuple[Model, Metrics]:
    """The sum of both gradients, the second one weighted, and their norms.

    With ``config.csd.ratio`` the second one's part in every group of parameters is
    first given that part of the norm of the first one's, so that the scale of the
    prior's loss does not matter.
    """
    if config.csd.ratio > 0:
        ours, theirs = (group_norms(group_of, x) for x in (extra, grads))
        scale = {
            name: config.csd.ratio * theirs[name] / jnp.maximum(ours[name], 1e-12)
            for name in ours
        }
        names = group_tree(extra, group_of)
        extra = jax.tree.map(lambda x, name: scale[name] * x, extra, names)
    extra = jax.tree.map(lambda x: weight * x, extra)
    rates = config.optimizer.rates  # what stands still has no say in the norms
    norms = [
        jnp.sqrt(
            sum(
                (
                    norm**2
                    for name, norm in group_norms(group_of, tree).items()
                    if rates.get(name, 0.0) > 0
                ),
                jnp.zeros(()),
            )
        )
        for tree in (grads, extra)
    ]
    return jax.tree.map(jnp.add, grads, extra), {
        "grad/rest": norms[0],
        "grad/csd": norms[1],
        "grad/csd_ratio": norms[1] / jnp.maximum(norms[0], 1e-12),
    }


def group_norms(group_of: Callable[[str], str], tree: Model) -> dict[str, Array]:
    """Norm of every group of parameters."""
    squares: dict[str, Array] = {}
    names = jax.tree.leaves(group_tree(tree, group_of))
    for name, leaf in zip(names, jax.tree.leaves(tree), strict=True):
        squares[name] = squares.get(name, jnp.zeros(())) + jnp.sum(leaf**2)
    return {name: jnp.sqrt(value) for name, value in squares.items()}
