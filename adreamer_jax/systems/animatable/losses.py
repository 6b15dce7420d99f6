"""The objective of extraction: every term of section 5 with its own weight and ramp.

A weight of zero removes the term from the program, so that setting it to zero is the
ablation. `L_Ext = L_recon + L_reg` here; CSD adds its gradient elsewhere. On several
devices (``axis``) each has some of the frames; random numbers are drawn for the whole
batch and the mean of all losses over the devices is the loss of the whole.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from adreamer_jax.core.camera import camera_rays, clip_to_box, project
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.schedule import ramp
from adreamer_jax.core.shares import all_rows, num_shares, own_rows
from adreamer_jax.objective import reconstruct, regularize
from adreamer_jax.render.volume import Rendered, render
from adreamer_jax.scene.bones import posed_bones, posed_from_rest, rest_pose
from adreamer_jax.scene.field import (
    distance_with_normal,
    mirror,
    query,
    signed_distance,
)
from adreamer_jax.scene.pose import clip_cameras, corrections, root_poses
from adreamer_jax.scene.skinning import mahalanobis
from adreamer_jax.systems.animatable.clipdata import Batch
from adreamer_jax.systems.animatable.model import (
    Model,
    Moment,
    carry,
    joined_bones,
    moment,
    occupied_posed,
    sample_posed,
    stop,
)
from adreamer_jax.types import Array, Camera, Float, Key, Metrics, Rays, Rigid

_FLOW_UNIT = 32.0 / 128.0  # of the longest side: an error of so much counts one
_FLOW_LIMIT = 12.0 / 32.0


class View:
    """One batch seen through the model: cameras, rays, motion and the rendering."""

    def __init__(
        self,
        config: Any,
        model: Model,
        upkeep: dict,
        batch: Batch,
        now: Moment,
        key: Key,
        size: tuple[int, int],
        count: int,
        axis: str | None = None,
    ):
        """Render the batch."""
        self.axis = axis
        self.everybody = num_shares(axis) * batch.frames.shape[0]  # frames in all
        self.bony = now.progress >= (config.run.rigid - 0.5) / config.run.steps
        self.time = frame_time(batch.frames.astype(jnp.float32), count)
        self.camera: Camera = clip_cameras(model.pose, batch.frames, size=size)
        rays = camera_rays(self.camera, batch.pixels)
        self.rays: Rays = clip_to_box(rays, upkeep["box"][batch.frames])
        self.motion: Rigid = posed_from_rest(model.bones, self.time)
        self.with_feature = config.loss.feature > 0 or config.loss.match > 0
        self.with_visibility = config.loss.visibility > 0
        frozen_model, frozen_motion = stop((model, self.motion))
        shape = (self.everybody, batch.pixels.shape[1], config.render.samples)
        self.out: Rendered = render(
            lambda p: occupied_posed(
                config, frozen_model, upkeep, frozen_motion, p, bony=self.bony
            ),
            lambda p: sample_posed(
                config,
                model,
                now,
                self.motion,
                self.time,
                p,
                with_feature=self.with_feature,
                with_visibility=self.with_visibility,
            ),
            self.rays,
            count=config.render.samples,
            capacity=config.render.capacity,
            jitter=own_rows(jax.random.uniform(key, shape), axis),
        )
        share = jnp.maximum(self.out.mask, 1e-3)[..., None]
        self.color = self.out.channels[..., :3]
        self.rest = self.out.channels[..., 3:6] / share
        self.feature = self.out.channels[..., 6:] / share
        depth = self.out.depth / share[..., 0]
        self.surface = self.rays.origins + depth[..., None] * self.rays.directions
        self.depth = depth
        # fog counts by its opacity: a limb that is hardly there can learn to move
        self.hit = jax.lax.stop_gradient(self.out.mask)


def extraction_losses(
    config: Any,
    model: Model,
    upkeep: dict,
    frozen: dict,
    batch: Batch,
    step: Array,
    key: Key,
    axis: str | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted sum of all terms, and each term by name."""
    now = moment(config, model, step)
    keys = jax.random.split(key, 4)
    count, *size = frozen["masks"].shape
    size = tuple(size)
    view = View(config, model, upkeep, batch, now, keys[0], size, count, axis)
    terms: dict[str, Array] = {}
    weights = {name: config.loss[name] for name in config.loss if config.loss[name] > 0}

    def put(name: str, function, *arguments, **numbers) -> None:
        if name in weights:
            terms[name] = function(*arguments, **numbers)

    _clip_terms(config, model, view, batch, now, size, count, keys[1], put, weights)
    _shape_terms(config, model, upkeep, view, now, keys[2], put, weights)
    _motion_terms(config, model, view, now, batch, count, put, weights)

    total = jnp.zeros(())
    for name, value in terms.items():
        knots = config.ramp[name] if name in config.ramp else ()
        total = total + weights[name] * ramp(knots, now.progress) * value
    metrics = {f"loss/{name}": value for name, value in terms.items()}
    metrics |= {
        "loss": total,
        "render/overflow": view.out.slots.overflow * float(num_shares(axis)),
        "render/slots_used": jnp.max(all_rows(view.out.slots.use[None], axis)),
        "field/beta": now.beta,
    }
    return total, metrics


def _clip_terms(
    config, model, view, batch, now, size, count, key, put, weights
) -> None:
    """Agreement with the clip."""
    out = view.out
    background = ramp(config.loss_numbers.background, now.progress)
    importance = batch.mask + background * (1.0 - batch.mask)
    gray_key, match_key = jax.random.split(key)
    shape = (view.everybody, batch.mask.shape[1], 1)
    gray = own_rows(jax.random.uniform(gray_key, shape), view.axis)
    truth = batch.color + gray * (1.0 - batch.mask[..., None])
    ours = view.color + gray * (1.0 - out.mask[..., None])
    put("rgb", reconstruct.rgb_loss, ours, truth, importance, axis=view.axis)
    put(
        "mask",
        reconstruct.mask_loss,
        out.mask,
        batch.mask,
        background=background,
        axis=view.axis,
    )

    unit = _FLOW_UNIT * max(size)
    if "flow" in weights or "cycle" in weights:
        moved, back = _carried_surface(config, model, view, batch, size, count)
        put(
            "flow",
            reconstruct.flow_loss,
            moved - batch.pixels,
            batch.flow,
            batch.confidence * view.hit,
            unit=unit,
            limit=_FLOW_LIMIT,
            axis=view.axis,
        )
        seen = jax.lax.stop_gradient(out.mask)
        put("cycle", regularize.cycle_loss, back, view.surface, seen, axis=view.axis)
    put(
        "feature",
        reconstruct.feature_loss,
        view.feature,
        batch.feature,
        batch.mask,
        axis=view.axis,
    )
    if "match" in weights:
        _match_term(config, model, view, batch, match_key, unit, put)


def _carried_surface(config, model, view, batch, size, count):
    """Pixels of the surface points in the partner frames, and the points carried back.

    Both forward warps are one call on twice the frames: half the program.
    """
    time = frame_time(batch.partners.astype(jnp.float32), count)
    later = posed_from_rest(model.bones, time)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), later, view.motion)
    posed = carry(config, model, both, jnp.concatenate([view.rest, view.rest]))
    there, back = jnp.split(posed, 2)
    camera = clip_cameras(model.pose, batch.partners, size=size)
    return project(camera, there)[0], back


def _match_term(config, model, view, batch, key, unit, put) -> None:
    """Where descriptors are found on the model must project to where they were seen."""
    frames, rays = batch.mask.shape
    some = min(rays, config.loss_numbers.match_rays)
    flat = lambda x: all_rows(x.reshape(frames * rays, *x.shape[2:]), view.axis)
    order = jax.random.permutation(key, view.everybody * rays)
    candidates = order[: view.everybody * some]  # a descriptor may lie in any frame
    found = reconstruct.matched_points(
        batch.feature[:, :some].reshape(frames * some, -1),
        flat(view.feature)[candidates],
        flat(view.rest)[candidates],
        flat(view.hit * batch.mask)[candidates],
        temperature=jnp.exp(model.field.log_temperature),
    ).reshape(frames, some, 3)
    pixels, _ = project(view.camera, carry(config, model, view.motion, found))
    put(
        "match",
        reconstruct.match_loss,
        pixels,
        batch.pixels[:, :some],
        batch.mask[:, :some],
        unit=unit,
        limit=_FLOW_LIMIT,
        axis=view.axis,
    )


def _regular_points(view: View, number: int, key: Key) -> Float[Array, "n 3"]:
    """Rest points among the evaluated samples, without gradient."""
    rest, valid = view.out.extra.rest, view.out.slots.valid
    counts = jnp.maximum(jnp.sum(valid, axis=1), 1)
    u = jax.random.uniform(key, (view.everybody, number // view.everybody))
    u = own_rows(u, view.axis)
    which = (u * counts[:, None]).astype(jnp.int32)
    points = jnp.take_along_axis(rest, which[..., None], axis=1).reshape(-1, 3)
    return jax.lax.stop_gradient(jnp.clip(points, -1.0, 1.0))


def _shape_terms(config, model, upkeep, view, now, key, put, weights) -> None:
    """What is asked of the rest shape."""
    a, b, c = jax.random.split(key, 3)
    points = _regular_points(view, config.loss_numbers.points, a)
    field, detail = model.field, now.detail
    whole = (num_shares(view.axis) * points.shape[0], 3)
    if "eikonal" in weights or "smooth" in weights:
        near = own_rows(jax.random.normal(b, whole), view.axis)
        step = config.loss_numbers.smooth_distance * near
        pair = jnp.concatenate([points, jnp.clip(points + step, -1.0, 1.0)])
        _, slope = distance_with_normal(field, pair, detail=detail)
        here, nearby = jnp.split(slope, 2)
        put("eikonal", regularize.eikonal_loss, slope)
        put("smooth", regularize.smooth_loss, here, nearby)
    if "symmetry" in weights:
        across = jnp.clip(mirror(field.plane, points), -1.0, 1.0)
        pair = jnp.concatenate([points, across])
        sdf = jnp.split(signed_distance(field, pair, detail=detail), 2)
        put("symmetry", regularize.symmetry_loss, *sdf)
    if "visibility" in weights:
        put(
            "visibility",
            reconstruct.visibility_loss,
            view.out.extra.visibility,
            view.out.light,
            axis=view.axis,
        )
    if "hidden_visibility" in weights:
        random = jax.random.uniform(c, whole, minval=-1.0, maxval=1.0)
        random = own_rows(random, view.axis)
        logit = query(field, random, detail=detail, with_visibility=True).visibility
        put("hidden_visibility", regularize.hidden_visibility_loss, logit)
    put("opacity_entropy", regularize.opacity_entropy_loss, view.out.mask)


def _motion_terms(config, model, view, now, batch, count, put, weights) -> None:
    """What is asked of bones, skinning and cameras."""
    bones, extra = model.bones, view.out.extra
    pose = model.pose
    learned = corrections(pose) if pose.spec.motion == "mlp" else pose.correction
    # of cosines the coefficients: each counts as if the clip were as long as they are
    put("camera_prior", regularize.camera_prior_loss, learned)
    put(
        "camera_acceleration",
        regularize.camera_acceleration_loss,
        root_poses(model.pose),
    )
    rest = rest_pose(bones)
    centers = rest.translation
    put("motion_size", regularize.motion_size_loss, view.motion, centers)
    put("gauge", regularize.gauge_loss, view.motion, centers)
    if "parallax" in weights or "motion_rank" in weights:
        times = frame_time(jnp.arange(count, dtype=jnp.float32), count)
        whole = posed_from_rest(bones, times)
        put("parallax", regularize.parallax_loss, whole, centers, root_poses(pose))
        put("motion_rank", regularize.motion_rank_loss, whole, centers)
    if "neighbor" in weights:
        joined = joined_bones(model, now, tie=config.loss_numbers.tie)
        put("neighbor", regularize.neighbor_loss, view.motion, centers, joined)
    if "bone_smooth" in weights:
        later = posed_from_rest(bones, view.time + 1.0 / count)
        put("bone_smooth", regularize.bone_smooth_loss, view.motion, later, centers)
    if "bone" in weights:
        sdf = signed_distance(stop(model.field), centers, detail=now.detail)
        put("bone", regularize.bone_surface_loss, sdf)
    if "delta_skin" in weights and extra.delta is not None:
        put("delta_skin", regularize.delta_skin_loss, extra.delta)
    importance = jax.lax.stop_gradient(view.out.weights)
    entropy = regularize.skin_entropy_loss
    put("skin_entropy", entropy, extra.weights, importance, axis=view.axis)
    if "bone_skin" in weights:
        points = jax.lax.stop_gradient(
            extra.rest[:, :: max(1, extra.rest.shape[1] // 128)]
        )
        sdf = jax.lax.stop_gradient(extra.sdf[:, :: max(1, extra.sdf.shape[1] // 128)])
        distance = mahalanobis(rest, bones.log_scale, points)
        density = regularize.bone_density(distance)
        inside = jax.nn.sigmoid(-sdf / now.beta)
        put("bone_skin", regularize.bone_skin_loss, density, inside, axis=view.axis)
    if "bone_mask" in weights:
        put("bone_mask", _bone_mask_loss, config, model, view)


def _bone_mask_loss(config, model, view) -> Float[Array, ""]:
    """The bones' ellipsoids, drawn as a silhouette, must cover the object's."""
    near, far = view.rays.near[..., None], view.rays.far[..., None]
    at = near + (far - near) * (jnp.arange(16) + 0.5) / 16
    points = (
        view.rays.origins[..., None, :]
        + at[..., None] * (view.rays.directions[..., None, :])
    )
    frames, rays = at.shape[:2]
    pose = posed_bones(model.bones, view.motion)
    distance = mahalanobis(
        pose,
        model.bones.log_scale,
        jax.lax.stop_gradient(points).reshape(frames, -1, 3),
    )
    density = regularize.bone_density(distance).reshape(frames, rays, -1)
    return regularize.bone_mask_loss(jnp.max(density, axis=-1), view.out.mask)
