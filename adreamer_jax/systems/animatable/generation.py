"""AnimatableDreamer's second stage: a prompt becomes a model on an extracted skeleton.

It starts from a copy of the extracted model, which is never touched, and lets the prior
judge the posed model for the new prompt while the skeleton's limits hold it together.
By default the motion, the root pose and the cameras stay as the clip showed them; the
shape, the colors, the bones' rest places and the skinning move.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from adreamer_jax.core.camera import orbit
from adreamer_jax.core.nested import laid_over
from adreamer_jax.core.shares import mean_tree
from adreamer_jax.prior.load import Prior, with_views
from adreamer_jax.scene.field import signed_distance
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.systems.animatable import advanced, group_of, make, make_optimizer
from adreamer_jax.systems.animatable.clipdata import (
    Frame,
    sample_batch,
    start_of,
    with_cameras,
)
from adreamer_jax.systems.animatable.distill import csd_gradient, csd_weight, joined
from adreamer_jax.systems.animatable.distill_judge import read_prior
from adreamer_jax.systems.animatable.generation_fit import (
    fit_due,
    fit_gradient,
    ring_cameras,
    sample_sets,
    take_set,
)
from adreamer_jax.systems.animatable.generation_losses import (
    READ_TERMS,
    clip_terms_only,
    compares_with_clip,
    generation_losses,
)
from adreamer_jax.systems.animatable.losses import extraction_losses
from adreamer_jax.systems.animatable.model import Model, moment
from adreamer_jax.systems.animatable.upkeep import aims, grid_points, posed_boxes
from adreamer_jax.types import (
    Array,
    Camera,
    Clip,
    Key,
    Metrics,
    Params,
    System,
    TrainState,
)

_STARTS = ("keep", "fresh")


def stage_config(config: ConfigDict) -> ConfigDict:
    """The recipe of generation: what ``generate`` says takes the place of the rest."""
    merged = config.to_dict()
    own = merged.pop("generate")
    return ConfigDict(laid_over(merged, own)).lock()


def make_generation(
    config: Any,
    clip: Clip,
    cache: Path,
    extracted: Model,
    skeleton: Skeleton,
    prior: tuple[Prior, Params] | None = None,
    *,
    front: Array | None = None,
) -> tuple[System, dict[str, Any]]:
    """The system of the second stage and its constant arrays.

    ``config`` is that of `stage_config`; ``skeleton`` is in the clip's units; ``prior``
    takes the place of the recipe's; ``front`` is the azimuth that the extraction found.
    """
    check(config)
    clip = with_cameras(config, clip, cache)
    base, frozen = make(without_prior(config), clip, cache)
    frozen |= {"extracted": extracted}
    judge: Any = None
    if config.loss.csd > 0:
        judge, heard = read_prior(
            config,
            clip.prompt,
            prior,
            pins=Path(cache) / "prior.json",
            fit_contexts=config.fit.suffix,
        )
        if config.fit.steps > 0:  # raises where the network takes no other number
            with_views(judge, config.fit.rings * judge.num_views)
        frozen |= heard
    optimizer = make_optimizer(config, partial(begun, config))
    space, count = start_of(config, clip)[1], len(clip.masks)
    refresh_now = jax.jit(partial(refresh, config, count))
    sets_now = jax.jit(partial(sample_sets, config, judge))

    def init(key: Key, frozen: dict) -> TrainState:
        fresh = base.init(key, frozen)
        model: Params = begin(config, frozen["extracted"], fresh.params)
        found = {} if front is None else {"front": jnp.asarray(front)}
        balls = extracted_aims(config, frozen["extracted"], count, **found)
        upkeep = fresh.upkeep | balls | found
        if judge is not None and config.fit.steps > 0:
            drawn = config.fit.rings * judge.num_views
            side = config.csd.resolution
            upkeep |= {"fit_pictures": jnp.zeros((drawn, side, side, 4))}
        return fresh.replace(
            params=model, opt_state=optimizer.init(model), upkeep=upkeep
        )

    def maintain(state: TrainState, frozen: dict, step: int) -> TrainState:
        if step % config.run.refresh_every == 0:
            grid, box = refresh_now(state.params, state.step)
            upkeep = state.upkeep | {"occupancy": grid, "box": box}
            state = state.replace(upkeep=upkeep)
        if step == 0 and "fit_pictures" in state.upkeep:
            sets = sets_now(frozen, ring_cameras(config, judge))
            field = frozen["extracted"].field
            taken = take_set(config, judge, sets, field, state.upkeep)
            state = state.replace(upkeep=state.upkeep | taken)
        return state

    system = base._replace(
        init=init,
        sample=partial(sample, config),
        step=partial(
            generation_step, config, judge, skeleton, space.scale, count, optimizer
        ),
        maintain=maintain,
        preview=lambda state, frozen: {
            "progress": preview(base, state, frozen, space, count)
        },
    )
    return system, frozen


def without_prior(config: Any) -> ConfigDict:
    """The recipe without distillation, for parts that need no prior."""
    plain: Any = ConfigDict(config.to_dict())
    plain.loss.csd = 0.0
    return plain


def check(config: Any) -> None:
    """Raise a sentence about the first setting that cannot work."""
    for name in ("shape", "color"):
        if config.start[name] not in _STARTS:
            raise ValueError(
                f"generate.start.{name} must be one of {', '.join(_STARTS)}, got "
                f"{config.start[name]!r}; write --config.generate.start.{name}=keep"
            )
    low, high = config.fit.scale
    if not 0.0 < low <= 1.0 <= high:
        raise ValueError(
            f"generate.fit.scale must be a range about 1, got {config.fit.scale}; "
            'write --config.generate.fit.scale="(0.7,1.6)"'
        )
    for name, least in (
        ("reach", 0),
        ("rings", 1),
        ("chain", 1),
        ("tries", 1),
        ("every", 0),
    ):
        if config.fit[name] < least:
            raise ValueError(
                f"generate.fit.{name} must be at least {least}, got "
                f"{config.fit[name]}; write --config.generate.fit.{name}={least}"
            )
    for name, weight in config.loss.items():
        if weight > 0 and name not in READ_TERMS:
            raise ValueError(
                f"generate.loss.{name} must be 0, got {weight}: that term is of the "
                f"first stage; this one has {', '.join(READ_TERMS)}"
            )
    if config.csd.every != 1:
        raise ValueError(
            f"generate.csd.every must be 1, got {config.csd.every}: here the prior is "
            "asked in every step; write --config.generate.csd.every=1"
        )
    if config.scene.bones.motion == "mlp" and config.optimizer.starts.motion >= 1.0:
        for name in ("skeleton", "bone"):
            if config.loss[name] > 0:
                raise ValueError(
                    f"generate.loss.{name} must be 0 where nothing moves the bones, "
                    f"got {config.loss[name]}: with scene.bones.motion=mlp the network "
                    "of time holds their rest places, too; write "
                    "--config.generate.optimizer.starts.motion=0.0"
                )
    if not config.prompt.strip():
        raise ValueError(
            "generate.prompt must say what to make, got nothing; write "
            '--config.generate.prompt="a brown bear"'
        )


def begin(config: Any, extracted: Model, fresh: Model) -> Model:
    """A copy of the extracted model, with shape or colors begun anew where asked."""
    model = jax.tree.map(lambda x: jnp.array(x, copy=True), extracted)
    field, new = model.field, fresh.field
    if config.start.shape == "fresh":
        field = field.replace(shape=new.shape, sdf=new.sdf)
    if config.start.color == "fresh":
        field = field.replace(paint=new.paint, color=new.color)
    return model.replace(field=field)


def begun(config: Any, progress: Array) -> dict[str, Array]:
    """Groups begin at the part of the run that the recipe says."""
    starts = config.optimizer.starts
    return {name: (progress >= starts[name]).astype(jnp.float32) for name in starts}


def sample(config: Any, frozen: dict, key: Key, step: Array) -> Any:
    """Rays of the clip while it still counts; else nothing: the prior draws its own."""
    return sample_batch(config, frozen, key, step) if compares_with_clip(config) else ()


def generation_step(
    config: Any,
    prior: Prior | None,
    skeleton: Skeleton,
    scale: float,
    count: int,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frozen: dict,
    batch: Any,
    key: Key,
    axis: str | None = None,
) -> tuple[TrainState, Metrics]:
    """The state after a step; one with non-finite numbers is skipped."""
    point_key, clip_key, csd_key = jax.random.split(key, 3)

    def objective(model: Model):
        total, metrics = generation_losses(
            config,
            model,
            state.upkeep,
            skeleton,
            scale=scale,
            count=count,
            step=state.step,
            key=point_key,
        )
        if compares_with_clip(config):
            only = clip_terms_only(config)
            clip_total, seen = extraction_losses(
                only,
                model,
                state.upkeep,
                frozen,
                batch,
                state.step,
                clip_key,
                axis,
            )
            total = total + clip_total
            metrics |= seen | {"loss": total}
        return total, metrics

    (_, metrics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    seen: Metrics = {}
    extra = None
    if prior is not None:
        extra, seen = asked(config, prior, state, frozen, csd_key, axis)
    grads, extra, metrics = mean_tree((grads, extra, metrics | seen), axis)
    if extra is not None:
        named = partial(group_of, backbone=config.scene.field.backbone)
        weight = csd_weight(config, state.step)
        grads, norms = joined(config, named, weight, grads, extra)
        metrics |= norms
    return advanced(optimizer, state, grads, metrics)


def asked(
    config: Any,
    prior: Prior,
    state: TrainState,
    frozen: dict,
    key: Key,
    axis: str | None,
) -> tuple[Model, Metrics]:
    """The prior's gradient: toward the sampled set if `fit_due`, else distillation."""
    model, upkeep = state.params, state.upkeep

    def distill():
        return csd_gradient(
            config, prior, model, upkeep, frozen, state.step, key, axis=axis
        )

    if config.fit.steps == 0:
        return distill()
    shapes = jax.eval_shape(distill)[1]

    def fit():
        grads, seen = fit_gradient(config, prior, model, upkeep, frozen, state.step)
        return grads, {k: jnp.zeros(x.shape, x.dtype) for k, x in shapes.items()} | seen

    return jax.lax.cond(fit_due(config, state.step), fit, distill)


def extracted_aims(
    config: Any, extracted: Model, count: int, front: Array | None = None
) -> dict[str, Array]:
    """Balls about the extracted model, as this stage draws it: followed by the prior's
    cameras, a new object that is to fill the picture would grow without end."""
    return aims(config, extracted, jnp.asarray(config.run.steps), count, front)


def refresh(config: Any, count: int, model: Model, step: Array) -> tuple[Array, Array]:
    """Occupancy and the box of every frame, from the present model alone.

    The clip's masks say nothing about the new shape. While it grows, cells within
    ``grow_reach`` of the surface count too, and the boxes follow them.
    """
    now = moment(config, model, step)
    cells = config.render.occupancy_cells
    points = grid_points(cells)
    sdf = signed_distance(model.field, points, detail=now.detail)
    band = config.render.occupancy_band + config.render.occupancy_margin * now.beta
    growing = now.progress < config.render.grow_until
    reach = jnp.where(growing, jnp.maximum(band, config.render.grow_reach), band)
    near = sdf < 3.0**0.5 / cells + reach
    boxes = posed_boxes(config, model, near, points, count)
    return near.reshape((cells,) * 3), boxes


def preview(
    system: System, state: TrainState, frozen: dict, space: Frame, count: int
) -> np.ndarray:
    """Rows of frames, columns of four sides, with the normals of the second."""
    rows = []
    for frame in np.linspace(0, count - 1, 5).astype(int)[1:4]:
        row = []
        for turn in range(4):
            camera = around(space, np.pi * (0.5 * turn + 0.25))
            picture = system.render(state, frozen, camera, float(frame))
            mask = picture.mask[..., None]
            row.append(picture.color + 1.0 - mask)
            if turn == 1 and picture.normal is not None:
                shaded = 0.5 + 0.5 * picture.normal * np.array([1.0, -1.0, -1.0])
                row.append(np.where(mask > 0.5, shaded, 1.0))
        rows.append(np.concatenate(row, axis=1))
    sheet = np.clip(np.concatenate(rows, axis=0), 0.0, 1.0)
    return np.round(255 * sheet).astype(np.uint8)


def around(space: Frame, azimuth: float, *, side: int = 96) -> Camera:
    """A camera in the clip's units that sees all of field space from an azimuth."""
    values = (azimuth, 0.25, 3.2 * space.scale, 0.7)
    angles = (jnp.float32(value) for value in values)
    return orbit(*angles, size=(side, side), target=jnp.asarray(space.origin))
