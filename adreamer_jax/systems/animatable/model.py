"""The model of AnimatableDreamer: canonical field, bones, root pose.

`World` is the model at a moment of training (step-dependent sharpness and detail given
as numbers); its functions are what the renderer is handed. All lengths are in field
space; `Frame` says how field space lies in the clip's object space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from adreamer_jax.core.schedule import ramp
from adreamer_jax.objective.regularize import midpoints
from adreamer_jax.scene.bones import Bones, posed_from_rest, rest_pose
from adreamer_jax.scene.field import (
    FieldParams,
    density,
    height,
    query,
    signed_distance,
)
from adreamer_jax.scene.pose import PoseParams
from adreamer_jax.scene.warp import (
    dual_blend,
    linear_blend,
    preimage,
    to_posed,
    to_rest,
)
from adreamer_jax.types import Array, Bool, Float, Rigid

_MIDDLE = 0.02  # so near the mirror plane a bone belongs to both sides

BLENDS = {"dqs": dual_blend, "lbs": linear_blend}


class Model(struct.PyTreeNode):
    """Everything that is learned."""

    field: FieldParams
    bones: Bones
    pose: PoseParams


class Moment(NamedTuple):
    """Numbers that change with the step."""

    progress: Float[Array, ""]
    beta: Float[Array, ""]
    detail: Float[Array, ""]


class Samples(NamedTuple):
    """What the scene knows of packed samples beside density and channels."""

    rest: Float[Array, "f k 3"]
    sdf: Float[Array, "f k"]
    weights: Float[Array, "f k bones"]
    delta: Float[Array, "f k bones"] | None
    visibility: Float[Array, "f k"] | None


def moment(config: Any, model: Model, step: Array) -> Moment:
    """Sharpness and detail at a step of the run."""
    progress = step / config.run.steps
    scene = config.scene.field
    if scene.beta_learned:
        beta = jnp.exp(model.field.log_beta)
    else:
        knots = tuple((at, math.log(value)) for at, value in scene.beta)
        beta = jnp.exp(ramp(knots, progress))
    return Moment(progress, beta, ramp(scene.detail, progress))


def occupied(upkeep: dict, rest: Float[Array, "f p 3"]) -> Bool[Array, "f p"]:
    """Whether rest points lie in cells near the surface; false outside the cube."""
    grid = upkeep["occupancy"]
    cells = grid.shape[0]
    place = 0.5 * (rest + 1.0) * cells
    inside = jnp.all((place >= 0) & (place < cells), axis=-1)
    i = jnp.clip(place.astype(jnp.int32), 0, cells - 1)
    flat = (i[..., 0] * cells + i[..., 1]) * cells + i[..., 2]
    return inside & grid.reshape(-1)[flat]


def occupied_posed(
    config: Any,
    model: Model,
    upkeep: dict,
    motion: Rigid,
    points: Float[Array, "f p 3"],
    *,
    bony: Bool[Array, ""] | bool = True,
) -> Bool[Array, "f p"]:
    """Whether posed points are worth evaluating: the cheap warp asks the grid.

    Linear blending without the learned correction is near enough: cells are dilated.
    """
    rest, _, _ = to_rest(
        model.bones, motion, points, blend=linear_blend, with_delta=False
    )
    return occupied(upkeep, jnp.where(bony, rest, points))


def carry_back(
    config: Any,
    model: Model,
    motion: Rigid,
    time: Float[Array, "f"],
    points: Float[Array, "f k 3"],
) -> tuple[
    Float[Array, "f k 3"],
    Bool[Array, "f k"],
    Float[Array, "f k bones"],
    Float[Array, "f k bones"] | None,
]:
    """Rest positions of posed points, which of them exist, weights and correction.

    By the backward warp alone, all do. Refined, they are where the forward warp comes
    from, as the moved mesh has it, and where none is found space is empty.
    """
    numbers, blend = config.render, BLENDS[config.scene.warp.blend]
    how: Any = dict(blend=blend, with_delta=config.scene.skin.delta)
    rest, weights, delta = to_rest(model.bones, motion, points, time=time, **how)
    held = jnp.ones(points.shape[:-1], bool)
    if numbers.inverse_steps > 0:
        steps = numbers.inverse_steps
        rest, gap = preimage(model.bones, motion, points, rest, steps=steps, **how)
        held = gap < numbers.inverse_gap
    return rest, held, weights, delta


def sample_posed(
    config: Any,
    model: Model,
    now: Moment,
    motion: Rigid,
    time: Float[Array, "f"],
    points: Float[Array, "f k 3"],
    *,
    with_feature: bool,
    with_visibility: bool,
) -> tuple[Float[Array, "f k"], Float[Array, "f k c"], Samples]:
    """Density, channels (color, rest position, features) of posed points."""
    rest, held, weights, delta = carry_back(config, model, motion, time, points)
    shaded = _shade(
        model, now, rest, with_feature=with_feature, with_visibility=with_visibility
    )
    law, channels, sdf, visibility = shaded
    law = jnp.where(held, law, 0.0)
    return law, channels, Samples(rest, sdf, weights, delta, visibility)


def sample_rest(
    model: Model, now: Moment, points: Float[Array, "f k 3"]
) -> tuple[Float[Array, "f k"], Float[Array, "f k c"], None]:
    """Density and channels (color, position) of points of the rest shape."""
    shaded = _shade(model, now, points, with_feature=False, with_visibility=False)
    return shaded[0], shaded[1], None


def _shade(
    model: Model,
    now: Moment,
    rest: Float[Array, "f k 3"],
    *,
    with_feature: bool,
    with_visibility: bool,
):
    """Density, channels, distance and visibility at rest positions."""
    flat = query(
        model.field,
        rest.reshape(-1, 3),
        detail=now.detail,
        with_feature=with_feature,
        with_visibility=with_visibility,
    )
    shape = rest.shape[:2]
    sdf = flat.sdf.reshape(shape)
    channels = [flat.color.reshape(*shape, 3), rest]
    if flat.feature is not None:
        channels.append(flat.feature.reshape(*shape, -1))
    visibility = flat.visibility
    visibility = None if visibility is None else visibility.reshape(shape)
    inside = jnp.all(jnp.abs(rest) <= 1.0, axis=-1)
    law = jnp.where(inside, density(model.field, sdf, now.beta), 0.0)
    return law, jnp.concatenate(channels, axis=-1), sdf, visibility


def carry(
    config: Any, model: Model, motion: Rigid, rest: Float[Array, "f n 3"]
) -> Float[Array, "f n 3"]:
    """Rest points carried forward to the pose of each frame."""
    posed, _, _ = to_posed(
        model.bones,
        motion,
        rest,
        blend=BLENDS[config.scene.warp.blend],
        with_delta=config.scene.skin.delta,
    )
    return posed


def posed_distance(
    config: Any,
    model: Model,
    now: Moment,
    time: Float[Array, "f"],
    points: Float[Array, "f k 3"],
) -> Float[Array, "f k"]:
    """Signed distance at the rest positions of posed points; 0.5 where none exists."""
    motion = posed_from_rest(model.bones, time)
    rest, held, _, _ = carry_back(config, model, motion, time, points)
    sdf = signed_distance(model.field, rest.reshape(-1, 3), detail=now.detail)
    return jnp.where(held, sdf.reshape(points.shape[:2]), 0.5)


def joined_bones(
    model: Model, now: Moment, *, tie: float = 0.0
) -> Float[Array, "bones bones"]:
    """How far bones belong together, in [0, 1]: by the matter halfway between them.

    By matter alone, a limb that fades lets go of its bones; then they hide in the trunk
    or fly about, and nothing brings it back. So bones on one side of the mirror plane
    belong together by at least ``tie``; a limb and its mirror image never do by that.
    """
    centers = rest_pose(model.bones).translation
    between = midpoints(centers).reshape(-1, 3)
    sdf = signed_distance(model.field, between, detail=now.detail)
    matter = jax.nn.sigmoid(-sdf / now.beta).reshape((len(centers),) * 2)
    side = height(model.field.plane, centers)
    middle = jnp.abs(side) < _MIDDLE
    same = (side[:, None] * side > 0) | middle[:, None] | middle
    return jnp.maximum(matter, tie * same)


def stop(tree):
    """The same numbers, without gradient."""
    return jax.tree.map(jax.lax.stop_gradient, tree)
