"""Fitting to a sampled set of views, before distillation refines the shape.

Random times, noises and cameras average a thin leg away; one sample of all views is a
single animal. Its views stand in rings about it ("fit.rings"), those of a ring between
those of the others and higher or lower, and the prior draws all of them at once, from
noise alone: its attention joins any number of views, though it was trained with one
ring, and more views of one animal leave less to guess than views of more animals. Of
some tries the set is taken whose outlines agree best with their visual hull and whose
animal has its limbs where the extracted one has them (`generation_place`). The animals
stand ("fit.suffix"), as the skeleton at rest does: the legs of one that runs are
nowhere that a mirrored shape can have them. Letters: v views of a ring, n of all.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from adreamer_jax.core.camera import facing, project, sample_orbit, seen_from, with_size
from adreamer_jax.core.image import resize
from adreamer_jax.core.rotation import normalize
from adreamer_jax.objective.regularize import opacity_entropy_loss
from adreamer_jax.prior.load import GRAY, Prior, with_views
from adreamer_jax.prior.noise import ddim_step
from adreamer_jax.render.chunked import interleaved
from adreamer_jax.scene.field import FieldParams, height, signed_distance
from adreamer_jax.systems.animatable.distill import split_moving
from adreamer_jax.systems.animatable.distill_judge import clean_estimate
from adreamer_jax.systems.animatable.distill_views import (
    Views,
    chunk_rays,
    draw_rays,
    occupied_box,
)
from adreamer_jax.systems.animatable.generation_place import (
    Place,
    best_place,
    largest_part,
)
from adreamer_jax.systems.animatable.model import Model, stop
from adreamer_jax.systems.animatable.upkeep import grid_points
from adreamer_jax.types import Array, Bool, Camera, Float, Int, Key, Metrics

HULL_CELLS = 56  # of the visual hull, a side
_PURPOSES = ("views", "rays", "noise")


def _key(config: Any, purpose: str, number: Int[Array, ""] | int = 0) -> Key:
    """A key of the run's seed and a number alone: what is drawn stays."""
    key = jax.random.fold_in(jax.random.key(config.run.seed), 5)
    key = jax.random.fold_in(key, _PURPOSES.index(purpose))
    return jax.random.fold_in(key, number)


def fit_due(config: Any, step: Int[Array, ""] | int) -> Bool[Array, ""]:
    """Whether a step belongs to the set: the first ones all, then every so manyth.

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
    still.csd.shown_deg, still.csd.guidance = 0.0, config.fit.guidance
    return still


def ring_cameras(config: Any, prior: Prior) -> Camera:
    """The cameras of all rings as the prior knows them, one ring behind the other.

    All look from evenly between each other; the first ring sees the front, the sides
    and the back. ``fit.elevation_deg`` is that of the first and of the last one.
    """
    rings, size = config.fit.rings, prior.image_size
    low, high = config.fit.elevation_deg

    def one(ring: Array) -> Camera:
        azimuth = ring / rings * 2.0 * jnp.pi / prior.num_views
        elevation = jnp.radians(low + (high - low) * ring / max(rings - 1, 1))
        level = jnp.cos(elevation)
        ahead = level * jnp.sin(azimuth), jnp.sin(elevation), level * jnp.cos(azimuth)
        return sample_orbit(
            _key(config, "views"),
            views=prior.num_views,
            size=(size, size),
            elevation_deg=config.fit.elevation_deg,
            fov_deg=config.data.views.fov_deg,
            fill=config.data.views.fill,
            toward=jnp.stack(ahead),
        )

    each = jax.vmap(one)(jnp.arange(rings))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), each)


def set_views(config: Any, prior: Prior, field: FieldParams, upkeep: dict) -> Views:
    """The cameras of all rings about the rest shape."""
    side = config.csd.resolution
    turn, middle, radius = animal_frame(config, field, upkeep)
    seen = ring_cameras(config, prior)
    camera = with_size(seen_from(seen, turn, middle, radius), (side, side))
    return Views(camera, seen, jnp.zeros(1), occupied_box(upkeep["occupancy"]))


def animal_frame(
    config: Any, field: FieldParams, upkeep: dict
) -> tuple[Float[Array, "3 3"], Float[Array, "3"], Float[Array, ""]]:
    """Rotation to the prior's frame, middle and radius of the animal at rest."""
    numbers = config.data.views
    front = upkeep.get("front", jnp.radians(numbers.azimuth_offset_deg))
    turn = facing(jnp.asarray(numbers.up, jnp.float32), front)
    middle, radius = upkeep["aim_rest"][:3], upkeep["aim_rest"][3]
    if field.spec.symmetric:
        turn, middle = upright(field.plane, turn, middle)
    return turn, middle, radius


def upright(
    plane: Float[Array, "4"], turn: Float[Array, "3 3"], middle: Float[Array, "3"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """Rotation to the prior's frame and middle of an animal, moved to its mirror plane.

    The prior's animals stand along their own plane. Drawn some degrees beside that of a
    mirrored shape, an animal and its mirror image would have to be one: legs as thick
    as both, and no gap between them. A plane that is no nearer to the given middle
    plane than 30 degrees is another one and left alone.
    """
    across = normalize(plane[:3])
    side = jnp.sum(across * turn[0])
    across = jnp.sign(side) * across
    up = normalize(turn[1] - jnp.sum(turn[1] * across) * across)
    own = jnp.stack([across, up, jnp.cross(across, up)])
    near = jnp.abs(side) > jnp.cos(jnp.pi / 6.0)
    onto = middle - height(plane, middle) * normalize(plane[:3])
    return jnp.where(near, own, turn), jnp.where(near, onto, middle)


def draw_set(
    config: Any, prior: Prior, frozen: dict, seen: Camera, key: Key
) -> Float[Array, "n h w 4"]:
    """Colors before gray and masks of one animal of the prompt, by DDIM from noise.

    The network sees all of the views at once. Masks are one for a prior without.
    """
    together = with_views(prior, seen.focal.shape[0])
    told = frozen | {"contexts": frozen["fit_contexts"]}
    estimate = clean_estimate(at_rest(config), together, told, seen)
    as_clean = prior.schedule.replace(prediction="sample")
    last, chain = prior.schedule.alphas_cumprod.shape[0] - 1, config.fit.chain
    steps = last * jnp.arange(chain, -1, -1) // chain

    def down(z, pair):
        here, there = pair
        return ddim_step(as_clean, estimate(z, here), z, here, there), None

    z = jax.random.normal(key, (together.num_views, *prior.latent_shape))
    z, _ = jax.lax.scan(down, z, (steps[:-1], steps[1:]))
    latents = estimate(z, steps[-1])
    color = prior.decode(frozen["prior"], latents)
    mask = jnp.ones(color.shape[:-1])
    if prior.decode_mask is not None:
        mask = prior.decode_mask(frozen["prior"], latents)
    return jnp.clip(jnp.concatenate([color, mask[..., None]], axis=-1), 0.0, 1.0)


def sample_sets(
    config: Any, prior: Prior, frozen: dict, seen: Camera
) -> Float[Array, "k n h w 4"]:
    """``fit.tries`` sets of views; one, where nothing could tell which is better."""
    key = _key(config, "noise")
    if not prior.has_alpha or config.fit.tries == 1:
        return draw_set(config, prior, frozen, seen, key)[None]
    keys = jax.random.split(key, config.fit.tries)
    return jax.lax.map(lambda key: draw_set(config, prior, frozen, seen, key), keys)


def take_set(
    config: Any,
    prior: Prior,
    sets: Float[Array, "k n h w 4"],
    field: FieldParams,
    upkeep: dict[str, Array],
) -> dict[str, Array]:
    """What the rest shape is fitted to, one of the sets, and where its animal stands.

    Where the prior knows object from background it is the set whose outlines agree best
    with one another (`hull_agreement`) and whose animal lies best where the extracted
    one, ``field``, has its limbs (`best_place`); both count alike. The balls about the
    object ("aim", "aim_rest") move with the animal.
    """
    shown = lambda drawn: resize(drawn, (config.csd.resolution,) * 2)
    if not prior.has_alpha:
        return {"fit_pictures": shown(sets[0])}
    camera, masks = set_views(config, prior, field, upkeep).camera, sets[..., 3]
    agree = jax.jit(partial(hull_agreement, camera))
    score = np.array([float(agree(seen)) for seen in masks])
    if config.fit.reach == 0:
        return {"fit_pictures": shown(sets[np.argmax(score)])}
    places = places_of(config, camera, masks, field, upkeep)
    best = int(np.argmax(score - [place.miss for place in places]))
    shift = jnp.append(jnp.asarray(places[best].shift, jnp.float32), 0.0)
    scale = jnp.array([1.0, 1.0, 1.0, places[best].scale])
    moved = {name: upkeep[name] * scale + shift for name in ("aim", "aim_rest")}
    return {"fit_pictures": shown(sets[best])} | moved


def places_of(
    config: Any,
    camera: Camera,
    masks: Float[Array, "k n h w"],
    field: FieldParams,
    upkeep: dict[str, Array],
) -> list[Place]:
    """Where the animal of each set suits the extracted one's limbs best."""
    turn, middle, radius = map(np.asarray, animal_frame(config, field, upkeep))
    about = {"middle": middle, "radius": float(radius), "up": turn[1], "ahead": turn[2]}
    limits = {"reach": config.fit.reach, "scales": config.fit.scale}
    drawn, kept = bodies(camera, masks, field)
    return [best_place(body, kept, **about, **limits) for body in drawn]


def bodies(
    camera: Camera, masks: Float[Array, "k n h w"], field: FieldParams
) -> tuple[list[Bool[np.ndarray, "c c c"]], Bool[np.ndarray, "c c c"]]:
    """Cells that the animal of each set fills where it was drawn, and a field's own."""
    solid = lambda cells: largest_part(np.asarray(cells).reshape((HULL_CELLS,) * 3))
    # of twelve views, one may miss a thin leg
    hull = jax.jit(lambda m: visual_hull(camera, m, missing=len(m) // 12)[0])
    half_cell = 1.0 / HULL_CELLS
    own = signed_distance(field, grid_points(HULL_CELLS), detail=1.0) < half_cell
    return [solid(hull(m)) for m in masks], solid(own)


def visual_hull(
    camera: Camera,
    masks: Float[Array, "v h w"],
    *,
    cells: int = HULL_CELLS,
    missing: int = 0,
) -> tuple[Bool[Array, "n"], Bool[Array, "v n"], Int[Array, "v n 2"]]:
    """Cells of the cube that all views cover, but ``missing`` of them.

    Also whether each view shows each cell at all, and the row and column where.
    """
    count, height, width = masks.shape
    camera = with_size(camera, (height, width))
    points = jnp.broadcast_to(grid_points(cells), (count, cells**3, 3))
    pixels, _ = project(camera, points)
    place = jnp.floor(pixels).astype(jnp.int32)[..., ::-1]
    bound = jnp.array([height, width])
    inside = jnp.all((place >= 0) & (place < bound), axis=-1)
    place = jnp.clip(place, 0, bound - 1)
    view = jnp.arange(count)[:, None]
    covered = masks[view, place[..., 0], place[..., 1]] > 0.5
    votes = jnp.sum(covered & inside, axis=0)
    return votes >= count - missing, inside, place


def hull_agreement(
    camera: Camera, masks: Float[Array, "v h w"], *, cells: int = HULL_CELLS
) -> Float[Array, ""]:
    """IoU of the outlines with those of the visual hull of them all, in field space.

    One where some object has exactly these outlines (up to the grid); a view that shows
    more than the others promise, or less, takes from it. Zero where nothing is shown.
    """
    held, inside, place = visual_hull(camera, masks, cells=cells)
    covered = masks > 0.5
    view = jnp.arange(len(masks))[:, None]
    outline = jnp.zeros_like(covered)
    outline = outline.at[view, place[..., 0], place[..., 1]].max(held & inside)
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
    """Gradient of the distance to the sampled set in the rest shape and its colors.

    Half the mean squared distance of masks, and ``fit.color`` times that of colors (of
    colors alone, for a prior without masks). As many pixels as a group of views has,
    one in ``csd.thinning``, are drawn by chance from all rings.
    """
    numbers, still = config.fit, at_rest(config)
    views = set_views(config, prior, stop(model.field), upkeep)
    moving, whole = split_moving(model, still.csd.moves)
    total = views.camera.focal.shape[0] * config.csd.resolution**2
    count = total // (numbers.rings * config.csd.thinning)
    key = _key(config, "rays", step)
    # no pixel has this number: its own draws are others
    place = jax.random.uniform(jax.random.fold_in(key, total), (count,))
    place = (jnp.arange(count) + place) * (total / count)
    index = jnp.minimum(place.astype(jnp.int32), total - 1)
    wanted = upkeep["fit_pictures"].reshape(-1, 4)
    chunk = chunk_rays(config, count)

    def error(moving: list[Array], part: tuple[Array, Array]):
        index, weight = part
        model = whole(moving)
        color, mask, lost = draw_rays(still, model, upkeep, step, views, key, index)
        color = color + (1.0 - mask[:, None]) * GRAY
        far = jnp.mean((color - wanted[index, :3]) ** 2, axis=-1)
        if prior.has_alpha:
            covered = wanted[index, 3]
            far = numbers.color * covered * far + (mask - covered) ** 2
        far = 0.5 * far + config.csd.entropy * jax.vmap(opacity_entropy_loss)(mask)
        return jnp.sum(weight * far), (jnp.sum(weight * mask), lost[0])

    def add(total, part):
        (value, (opacity, lost)), grads = jax.value_and_grad(error, has_aux=True)(
            moving, part
        )
        return jax.tree.map(jnp.add, total, (grads, value, opacity, lost)), None

    parts = tuple(
        interleaved(x, chunk=chunk, mode=mode).reshape(-1, chunk)
        for x, mode in ((index, "edge"), (jnp.full(count, 1.0 / count), "constant"))
    )
    nothing = (jax.tree.map(jnp.zeros_like, moving), *jnp.zeros((3,)))
    (grads, value, opacity, lost), _ = jax.lax.scan(add, nothing, parts)
    zero = jax.tree.map(jnp.zeros_like, model)
    seen = {"loss/csd": value, "csd/opacity": opacity, "csd/overflow": lost}
    return split_moving(zero, still.csd.moves)[1](grads), seen
