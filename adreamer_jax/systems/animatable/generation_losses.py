"""The objective of generation apart from the prior: skeleton, bones, regularity.

`L_Gen = L_skel + L_bone + L_CSD + L_reg`; CSD adds its gradient elsewhere. A weight of
zero removes a term from the program, so that setting it to zero is the ablation. The
terms that compare with the clip come from extraction, for runs that let go of the clip
little by little.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.rotation import normalize, safe_norm
from adreamer_jax.core.schedule import ramp
from adreamer_jax.objective import regularize
from adreamer_jax.scene.bones import posed_from_rest, rest_pose
from adreamer_jax.scene.field import distance_with_normal, query, signed_distance
from adreamer_jax.scene.skeleton import Skeleton, skeleton_loss
from adreamer_jax.scene.skinning import mahalanobis
from adreamer_jax.systems.animatable.model import (
    Model,
    Moment,
    carry,
    joined_bones,
    moment,
    stop,
)
from adreamer_jax.types import Array, Bool, Float, Key, Metrics, Rigid

CLIP_TERMS = ("rgb", "mask", "flow", "feature", "match", "cycle", "visibility")
OWN_TERMS = (
    *("skeleton", "bone", "bone_skin", "eikonal", "smooth", "color_smooth", "tear"),
    *("neighbor", "gauge", "bone_smooth"),
)
READ_TERMS = ("csd", *OWN_TERMS, *CLIP_TERMS)
REACH = 0.15  # in field space, of a step to the surface


def compares_with_clip(config: Any) -> bool:
    """Whether some term of a recipe compares with the clip."""
    return any(config.loss[name] > 0 for name in CLIP_TERMS)


def clip_terms_only(config: Any) -> ConfigDict:
    """The recipe with the weights of all terms zero that do not look at the clip."""
    only: Any = ConfigDict(config.to_dict())
    for name in only.loss:
        if name not in CLIP_TERMS:
            only.loss[name] = 0.0
    return only


def occupied_points(
    grid: Bool[Array, "n n n"], number: int, key: Key
) -> Float[Array, "number 3"]:
    """Points drawn evenly from the true cells of the cube; from all if none is true."""
    cells = grid.shape[0]
    flat = grid.reshape(-1) | ~jnp.any(grid)
    total = jnp.cumsum(flat.astype(jnp.int32))
    which, where = jax.random.split(key)
    rank = jax.random.randint(which, (number,), 0, total[-1])
    index = jnp.searchsorted(total, rank, side="right")
    place = jnp.stack(jnp.unravel_index(index, grid.shape), axis=-1)
    place = place + jax.random.uniform(where, (number, 3))
    return place / cells * 2.0 - 1.0


def on_surface(
    model: Model, now: Moment, points: Float[Array, "n 3"]
) -> Float[Array, "n 3"]:
    """Points moved toward the rest surface by one step of Newton's, at most ``REACH``.

    Where the new shape was cut out of the extracted one, the distance has been pushed
    over zero and no farther: a surface that any noise moves. Points of the whole volume
    hardly ever meet it.
    """
    sdf, slope = distance_with_normal(stop(model.field), points, detail=now.detail)
    square = jnp.maximum(jnp.sum(slope**2, axis=-1), 0.25)
    move = (sdf / square)[:, None] * slope
    move = move * jnp.minimum(1.0, REACH / jnp.maximum(safe_norm(move), REACH))[:, None]
    return stop(jnp.clip(points - move, -1.0, 1.0))


def generation_losses(
    config: Any,
    model: Model,
    upkeep: dict,
    skeleton: Skeleton,
    *,
    scale: float,
    count: int,
    step: Array,
    key: Key,
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted sum of the terms that no picture is needed for, and each by its name.

    ``scale`` is the length of a unit of field space in the skeleton's units.
    """
    now = moment(config, model, step)
    weights = {name: value for name, value in config.loss.items() if value > 0}
    point_key, step_key, tear_key = jax.random.split(key, 3)
    points = occupied_points(upkeep["occupancy"], config.loss_numbers.points, point_key)
    terms: dict[str, Array] = {}
    terms |= _shape_terms(config, model, now, points, step_key, weights)
    terms |= _bone_terms(model, now, points, weights)
    if "tear" in weights:
        terms["tear"] = tear(config, model, upkeep, now, count, tear_key)
    tie = config.loss_numbers.tie
    terms |= _motion_terms(model, now, skeleton, scale, count, weights, tie=tie)
    total = jnp.zeros(())
    for name, value in terms.items():
        total = total + weights[name] * ramp(_knots(config, name), now.progress) * value
    metrics = {f"loss/{name}": value for name, value in terms.items()}
    return total, metrics | {"loss": total, "field/beta": now.beta}


def _knots(config: Any, name: str) -> tuple:
    return config.ramp[name] if name in config.ramp else ()


def _shape_terms(
    config: Any,
    model: Model,
    now: Moment,
    points: Float[Array, "n 3"],
    key: Key,
    weights: dict[str, float],
) -> dict[str, Array]:
    """What is asked of the rest shape and its colors."""
    terms: dict[str, Array] = {}
    number = round(config.loss_numbers.surface * len(points))
    points = jnp.concatenate([on_surface(model, now, points[:number]), points[number:]])
    step = jax.random.normal(key, points.shape)
    step = config.loss_numbers.smooth_distance * step
    pair = jnp.concatenate([points, jnp.clip(points + step, -1.0, 1.0)])
    if "eikonal" in weights or "smooth" in weights:
        _, slope = distance_with_normal(model.field, pair, detail=now.detail)
        here, nearby = jnp.split(slope, 2)
        terms["eikonal"] = regularize.eikonal_loss(slope)
        terms["smooth"] = regularize.smooth_loss(here, nearby)
    if "color_smooth" in weights:
        color = query(stop_shape(model), pair, detail=now.detail).color
        here, nearby = jnp.split(color, 2)
        terms["color_smooth"] = jnp.mean(jnp.abs(here - nearby))
    return {name: terms[name] for name in terms if name in weights}


def stop_shape(model: Model) -> Any:
    """The field, with a gradient of its colors alone."""
    field = model.field
    return field.replace(shape=stop(field.shape), sdf=stop(field.sdf))


def _bone_terms(
    model: Model, now: Moment, points: Float[Array, "n 3"], weights: dict[str, float]
) -> dict[str, Array]:
    """Bones stay inside of the generated surface (L_bone) and fill it."""
    terms: dict[str, Array] = {}
    rest = rest_pose(model.bones)
    field = stop(model.field)
    if "bone" in weights:
        sdf = signed_distance(field, rest.translation, detail=now.detail)
        terms["bone"] = regularize.bone_surface_loss(sdf)
    if "bone_skin" in weights:
        sdf = signed_distance(field, points, detail=now.detail)
        density = regularize.bone_density(
            mahalanobis(rest, model.bones.log_scale, points)
        )
        inside = jax.nn.sigmoid(-sdf / now.beta)
        terms["bone_skin"] = regularize.bone_skin_loss(density, inside)
    return terms


def tear(
    config: Any, model: Model, upkeep: dict, now: Moment, count: int, key: Key
) -> Float[Array, ""]:
    """Matter at places that some pose of the motion pulls apart, by the forward warp.

    The prior sees legs from 64 pixels and the skeleton knows nothing of the new body:
    where they close the gap between two legs, each of which goes its way, the bridge
    would tear in every step of the animal.
    """
    where, which, when = jax.random.split(key, 3)
    numbers = config.loss_numbers
    points = occupied_points(upkeep["occupancy"], numbers.tear_points, where)
    stroke = normalize(jax.random.normal(which, points.shape))
    frames = jax.random.randint(when, (numbers.tear_frames,), 0, count)
    still = stop(model)
    motion = posed_from_rest(still.bones, frame_time(frames.astype(jnp.float32), count))
    spread = lambda x: jnp.broadcast_to(x, (numbers.tear_frames, *x.shape))
    _, moved = jax.jvp(
        lambda rest: carry(config, still, motion, rest),
        (spread(points),),
        (spread(stroke),),
    )
    sdf = signed_distance(model.field, points, detail=now.detail)
    width = jax.lax.stop_gradient(now.beta)  # a sharp surface mends nothing
    stretch = safe_norm(moved)
    return regularize.tear_loss(sdf, stretch, most=numbers.tear_most, width=width)


def _motion_terms(
    model: Model,
    now: Moment,
    skeleton: Skeleton,
    scale: float,
    count: int,
    weights: dict[str, float],
    *,
    tie: float,
) -> dict[str, Array]:
    """The skeleton holds in every frame of the motion (L_skel), and moves smoothly."""
    terms: dict[str, Array] = {}
    asked = {"skeleton", "neighbor", "gauge", "bone_smooth"} & set(weights)
    if not asked:
        return terms
    time = frame_time(jnp.arange(count, dtype=jnp.float32), count)
    motion = posed_from_rest(model.bones, time)
    rest = rest_pose(model.bones)
    centers = rest.translation
    if "skeleton" in asked:
        scaled = (Rigid(x.rotation, x.translation * scale) for x in (rest, motion))
        terms["skeleton"] = skeleton_loss(skeleton, *scaled)
    if "neighbor" in asked:
        joined = joined_bones(model, now, tie=tie)
        terms["neighbor"] = regularize.neighbor_loss(motion, centers, joined)
    if "gauge" in asked:
        terms["gauge"] = regularize.gauge_loss(motion, centers)
    if "bone_smooth" in asked:
        later = posed_from_rest(model.bones, time + 1.0 / count)
        terms["bone_smooth"] = regularize.bone_smooth_loss(motion, later, centers)
    return terms
