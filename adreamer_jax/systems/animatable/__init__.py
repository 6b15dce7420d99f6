"""AnimatableDreamer's first stage: one clip becomes an animatable model.

`make` turns a recipe and a clip into a `System` of pure functions and the constant
arrays that they read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adreamer_jax.core.encoding import time_frequencies
from adreamer_jax.core.hashgrid import GridSpec
from adreamer_jax.core.optimizer import finite_update, grouped_adam
from adreamer_jax.core.shares import mean_tree
from adreamer_jax.data.features import features_cached
from adreamer_jax.data.flow import flow_cached
from adreamer_jax.prior.load import Prior
from adreamer_jax.scene.bones import BonesSpec, init_bones
from adreamer_jax.scene.field import FieldSpec, init_field
from adreamer_jax.scene.pose import PoseSpec, clip_cameras, init_pose
from adreamer_jax.systems.animatable.asset import Surfaces, asset_of, frame_surface
from adreamer_jax.systems.animatable.clipdata import (
    Batch,
    Frame,
    Start,
    for_cameras,
    frozen_of,
    sample_batch,
    start_of,
    training_size,
    with_cameras,
)
from adreamer_jax.systems.animatable.distill import with_csd
from adreamer_jax.systems.animatable.distill_judge import read_prior
from adreamer_jax.systems.animatable.distill_views import warn_of_views
from adreamer_jax.systems.animatable.front import best_front, find_front_at, start_front
from adreamer_jax.systems.animatable.losses import extraction_losses
from adreamer_jax.systems.animatable.model import Model
from adreamer_jax.systems.animatable.picture import make_draw
from adreamer_jax.systems.animatable.upkeep import (
    SEED_CELLS,
    aims,
    fresh_aims,
    fresh_upkeep,
    interior,
    refresh,
    seed_bones,
)
from adreamer_jax.types import (
    Array,
    Camera,
    Clip,
    Key,
    Metrics,
    Params,
    Picture,
    System,
    TrainState,
)

__all__ = ["make"]

_CSD = 4  # the step's key splits into four for the clip; this one is the prior's


def make(
    config: Any,
    clip: Clip,
    cache: Path,
    prior: tuple[Prior, Params] | None = None,
) -> tuple[System, dict[str, Any]]:
    """The system for a clip and its constant arrays; flow and features are cached.

    ``prior`` is one with its weights, for distillation; without it the recipe's is read
    where ``config.loss.csd`` asks for it.
    """
    check(config)
    count = len(clip.masks)
    size = training_size(clip.masks.shape[1:], config.data.resolution)
    clip = with_cameras(config, clip, cache)
    config = for_cameras(config, clip)
    start, space = start_of(config, clip)
    losses = config.loss
    flow = features = None
    if losses.flow > 0:
        flow = flow_cached(clip, cache, gaps=tuple(config.data.flow_gaps), size=size)
    if losses.feature > 0 or losses.match > 0:
        features = features_cached(clip, cache, flow)
    frozen = frozen_of(config, clip, flow, features)
    judge = None
    if losses.csd > 0:
        judge, arrays = read_prior(
            config, clip.prompt, prior, pins=Path(cache) / "prior.json"
        )
        frozen |= arrays
        warn_of_views(config, start.camera_from_object)
    optimizer = make_optimizer(config, partial(bones_later, config))
    draw = make_draw(config, count)
    surfaces = Surfaces(config, count)
    refresh_now = jax.jit(partial(refresh, config))
    interior_now = jax.jit(partial(interior, config))
    aims_now = jax.jit(partial(aims, config, count=count))
    front_step = front_now = None
    if judge is not None:
        front_step = find_front_at(config)
        front_now = jax.jit(partial(best_front, config, judge))

    def init(key: Key, frozen: dict) -> TrainState:
        features = frozen["features"].shape[-1]
        model: Params = init_model(key, config, start, clip.masks.shape, features)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=model,
            opt_state=optimizer.init(model),
            upkeep=fresh_upkeep(config, count)
            | ({} if judge is None else fresh_aims(count))
            | start_front(config, front_step),
        )

    def maintain(state: TrainState, frozen: dict, step: int) -> TrainState:
        if step == config.run.rigid:
            state = with_bones(config, state, frozen, interior_now)
        if step == config.run.rigid or step % config.run.refresh_every == 0:
            grid, box = refresh_now(state.params, frozen, state.step)
            upkeep = state.upkeep | {"occupancy": grid, "box": box}
            if judge is not None:
                front = upkeep.get("front")
                upkeep |= aims_now(state.params, state.step, front=front)
            state = state.replace(upkeep=upkeep)
        if front_now is not None and step == front_step:
            front = front_now(state.params, state.upkeep, frozen, state.step)
            state = state.replace(upkeep=state.upkeep | {"front": front})
        return state

    def render(
        state: TrainState, frozen: dict, camera: Camera, frame: float
    ) -> Picture:
        moved = _camera_of_field(camera, space)
        picture = draw(
            state.params, state.upkeep, state.step, moved, jnp.float32(frame)
        )
        picture = jax.tree.map(np.asarray, picture)
        return picture.replace(depth=picture.depth * space.scale)

    def preview(state: TrainState, frozen: dict) -> dict[str, np.ndarray]:
        return {"progress": _progress_sheet(config, draw, state, frozen, size)}

    system = System(
        init=init,
        sample=partial(sample_batch, config),
        step=partial(train_step, config, optimizer, judge),
        maintain=maintain,
        render=render,
        preview=preview,
        asset=lambda state, frozen: asset_of(
            surfaces, state.params, state.step, space, clip
        ),
        surface=lambda state, frozen, frame: frame_surface(
            surfaces, state.params, state.upkeep, state.step, space, frame
        ),
        num_steps=config.run.steps,
    )
    return system, frozen


def check(config: Any) -> None:
    """Raise a sentence about the first setting that cannot work."""
    if config.scene.bones.count < 2:
        raise ValueError(
            f"scene.bones.count must be at least 2, got {config.scene.bones.count}; "
            "write --config.scene.bones.count=2"
        )
    if config.scene.pose.zoom and config.optimizer.rates.focal == 0.0:
        raise ValueError(
            "scene.pose.zoom must have a rate to learn by, got "
            "optimizer.rates.focal=0.0; write --config.optimizer.rates.focal=0.0005"
        )


def spec_of_bones(bones: Any, num_frames: int) -> BonesSpec:
    """How bones move in a clip of so many frames: the more, the more cosines."""
    terms = round(bones.terms_per_frame * num_frames)
    return BonesSpec(
        count=bones.count,
        motion=bones.motion,
        terms=int(np.clip(terms, 1, num_frames - 1)),
        falloff=bones.falloff_per_frame * num_frames,
        frequencies=frequencies_of(bones.motion, num_frames),
    )


def frequencies_of(motion: str, num_frames: int) -> int:
    """Frequencies of a network's time code; cosines have no network of time."""
    return time_frequencies(num_frames) if motion == "mlp" else 6


def init_model(
    key: Key, config: Any, start: Start, shape: tuple[int, int, int], features: int
) -> Model:
    """A closed ellipsoid with resting bones under the first guesses of the cameras."""
    keys = jax.random.split(key, 3)
    scene, count = config.scene, shape[0]
    spec = FieldSpec(
        backbone=scene.field.backbone,
        grid=GridSpec(**scene.field.grid),
        width=scene.field.width,
        depth=scene.field.depth,
        mlp_width=scene.field.mlp_width,
        mlp_depth=scene.field.mlp_depth,
        density=scene.field.density,
        features=features,
        symmetric=scene.field.symmetric,
        stance=scene.field.stance,
        gap=scene.field.gap,
    )
    field = init_field(
        keys[0],
        spec,
        center=jnp.asarray(start.center),
        axes=jnp.asarray(start.axes),
        radii=jnp.asarray(start.radii),
        side=jnp.asarray(start.side),
        beta=scene.field.beta[0][1],
    )
    bones_spec = spec_of_bones(scene.bones, count)
    places = jax.random.normal(keys[1], (bones_spec.count, 3))
    places = places / jnp.linalg.norm(places, axis=-1, keepdims=True)
    centers = (0.6 * places * start.radii) @ start.axes + start.center
    bones = init_bones(
        keys[1],
        bones_spec,
        center=centers,
        scale=jnp.full((bones_spec.count,), 0.3 * float(start.radii.max())),
    )
    pose = init_pose(
        keys[2],
        PoseSpec(
            motion=scene.pose.motion,
            terms=min(scene.pose.terms, count),
            frequencies=frequencies_of(scene.pose.motion, count),
            zoom=scene.pose.zoom,
        ),
        camera_from_object=jnp.asarray(start.camera_from_object),
        intrinsics=jnp.asarray(start.intrinsics),
        size=shape[1:],
    )
    return Model(field=field, bones=bones, pose=pose)


_GROUPS = {
    "field/log_": "sharpness",
    "field/center": "constant",
    "field/axes": "constant",
    "field/radii": "constant",
    "field/plane": "plane",
    "field/shape": "backbone",
    "field/paint": "backbone",
    "field/": "network",
    "bones/motion": "motion",
    "bones/delta": "delta",
    "bones/": "bones",
    "pose/correction": "camera",
    "pose/log_focal": "focal",
    "pose/zoom": "focal",
    "pose/": "constant",
}


def group_of(path: str, backbone: str = "hash") -> str:
    """Learning-rate group of a parameter."""
    group = next(group for start, group in _GROUPS.items() if path.startswith(start))
    if group == "backbone":
        return "table" if backbone == "hash" else "network"
    return group


def make_optimizer(
    config: Any, factors: Callable[[Array], dict[str, Array]]
) -> optax.GradientTransformation:
    """Clipped Adam with a rate for each group: warm-up, decay, a stage's own factors.

    ``factors(progress)`` are multipliers by group at a part of the run; a group that it
    does not name is left as it is.
    """
    numbers, steps = config.optimizer, config.run.steps

    def rates(step: Array) -> dict[str, Array]:
        progress = step / steps
        warm = jnp.minimum(1.0, (step + 1) / numbers.warmup)
        fall = 1.0 - (1.0 - numbers.end) * progress
        own = factors(progress)
        return {
            name: numbers.rates[name] * numbers.lr * warm * fall * own.get(name, 1.0)
            for name in numbers.rates
        }

    return grouped_adam(
        rates,
        partial(group_of, backbone=config.scene.field.backbone),
        clip=numbers.clip,
        b2=numbers.b2,
        eps=numbers.eps,
        weight_decay={name: numbers.decay for name in ("network", "motion", "delta")},
    )


def bones_later(config: Any, progress: Array) -> dict[str, Array]:
    """Bones begin after the rigid phase, and the cameras then rest, or nearly.

    Where there is no rigid phase, nothing else finds the cameras: they go on.
    """
    bony = (progress >= config.run.rigid / config.run.steps).astype(jnp.float32)
    after = config.optimizer.camera_after if config.run.rigid > 0 else 1.0
    camera = jnp.where(bony > 0, after, 1.0)
    return {"bones": bony, "motion": bony, "delta": bony, "camera": camera}


def train_step(
    config: Any,
    optimizer,
    prior: Prior | None,
    state: TrainState,
    frozen: dict,
    batch: Batch,
    key: Key,
    axis: str | None = None,
):
    """The state after a step on a batch; one with non-finite numbers is skipped.

    A prior, where there is one, has its say beside the clip.
    """

    def objective(model: Model):
        return extraction_losses(
            config, model, state.upkeep, frozen, batch, state.step, key, axis
        )

    (_, metrics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    if prior is not None:
        groups = partial(group_of, backbone=config.scene.field.backbone)
        grads, metrics = with_csd(
            config,
            prior,
            groups,
            state.params,
            state.upkeep,
            frozen,
            state.step,
            jax.random.fold_in(key, _CSD),
            grads,
            metrics,
            axis=axis,
        )
    else:
        grads, metrics = mean_tree((grads, metrics), axis)
    return advanced(optimizer, state, grads, metrics)


def advanced(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    grads: Model,
    metrics: Metrics,
) -> tuple[TrainState, Metrics]:
    """The state after an update by these gradients, where all of them are finite."""
    params, opt_state, finite = finite_update(
        optimizer, state.params, state.opt_state, grads, metrics["loss"]
    )
    skipped = state.upkeep["skipped"] + jnp.logical_not(finite).astype(jnp.int32)
    squares = [jnp.sum(g**2) for g in jax.tree.leaves(grads)]
    metrics = metrics | {
        "skipped": skipped.astype(jnp.float32),
        "grad/norm": jnp.sqrt(sum(squares)),
    }
    state = state.replace(
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        upkeep=state.upkeep | {"skipped": skipped},
    )
    return state, metrics


def with_bones(
    config: Any, state: TrainState, frozen: dict, interior_now
) -> TrainState:
    """The state with bones spread through the shape that the rigid phase found."""
    inside = np.asarray(interior_now(state.params, frozen, state.step))
    bones = state.params.bones
    if inside.sum() < bones.spec.count:
        return state
    field = state.params.field
    plane = np.asarray(field.plane) if field.spec.symmetric else None
    centers, scales = seed_bones(
        inside.reshape((SEED_CELLS,) * 3),
        count=bones.spec.count,
        seed=config.run.seed,
        plane=plane,
    )
    # the first two numbers are the run's, for its start and its steps
    key = jax.random.fold_in(jax.random.key(config.run.seed), 2 + config.run.rigid)
    fresh = jax.jit(init_bones, static_argnums=1)(
        key, bones.spec, center=centers, scale=scales
    )
    fresh = jax.tree.map(_placed_as, fresh, bones)
    return state.replace(params=state.params.replace(bones=fresh))


def _placed_as(new: Array, old: Array) -> Array:
    """An array on the devices of another: else its readers would compile again."""
    return jax.device_put(new, old.sharding) if old.committed else new


def _camera_of_field(camera: Camera, space: Frame) -> Camera:
    """A camera of the clip's object space as one of field space."""
    pose = np.array(camera.camera_from_object, np.float32)  # on the host: no programs
    turned = pose[..., :3, :3] @ np.asarray(space.origin, np.float32)
    pose[..., :3, 3] = (turned + pose[..., :3, 3]) / space.scale
    return camera.replace(camera_from_object=pose)


def _progress_sheet(config, draw, state, frozen, size) -> np.ndarray:
    """Three frames: the clip's object, the render, its normals, two turned views."""
    count = frozen["masks"].shape[0]
    camera_of = jax.jit(partial(clip_cameras, size=size))
    rows = []
    for frame in np.linspace(0, count - 1, 5).astype(int)[1:4]:
        camera = camera_of(state.params.pose, jnp.asarray(frame))
        views = [camera, *(_turned(camera, a) for a in (90, 180))]
        image, mask = (frozen[name][frame] / 255.0 for name in ("images", "masks"))
        row = [_show(image + 1.0 - mask[..., None])]
        for view in views:
            p = draw(state.params, state.upkeep, state.step, view, jnp.float32(frame))
            row.append(_show(p.color + (1 - p.mask[..., None])))
            if view is camera:
                shaded = 0.5 + 0.5 * p.normal * np.array([1.0, -1.0, -1.0])
                row.append(_show(np.where(p.mask[..., None] > 0.5, shaded, 1.0)))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def _turned(camera: Camera, degrees: float) -> Camera:
    """The camera after a turn of the object about its upright axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
    pose = np.asarray(camera.camera_from_object) @ turn
    return camera.replace(camera_from_object=pose.astype(np.float32))


def _show(image) -> np.ndarray:
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)
