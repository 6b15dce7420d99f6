"""Sets of four orthogonal views of zoo animals: what the pocket prior is trained on.

Set number i of a seed is always the same, whatever the batch it is asked in, so a
training run can make its data as it goes. Views stand a quarter turn apart; the first
azimuth, the elevation, the field of view and the lights are random. Pictures are RGBA,
premultiplied by alpha, so any constant background is one addition away.
"""

from __future__ import annotations

import functools
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core import camera as orbits
from adreamer_jax.data import zoo
from adreamer_jax.data.captions import caption
from adreamer_jax.data.creature import Creature, Lights, active_blocks, draw
from adreamer_jax.types import Camera, Float

__all__ = ["CAPSULES", "ViewSets", "composite", "describers", "sample_sets"]

VIEWS = 4
CAPSULES = 40  # of the species that has most
BLOCK = 2  # pixels: the side of the squares that are culled together
SHARES = (0.3, 0.46, 1.0)  # of those squares: classes of animals' sizes
PIECE = 16  # pictures of one class that are drawn by one call
CONE_STEPS = 10
TOLD_AT_ONCE = 32  # sets that one process describes in one go
REACH = 0.96  # farthest point of every animal from the origin


class ViewSets(TypedDict):
    """Sets of four views, captions and what they speak of; the set comes first."""

    images: np.ndarray  # [n, 4, h, w, 4] uint8, premultiplied RGBA
    cameras: np.ndarray  # [n, 4, 16] as MVDream takes them
    captions: list[str]
    attributes: dict[str, list[str]]
    azimuths: np.ndarray  # [n, 4] radians, 0 looks at the animal's face
    elevations: np.ndarray  # [n] radians


def sample_sets(
    seed: int,
    count: int,
    size: int,
    *,
    held_out: bool | None = False,
    stream: str | None = None,
    start: int = 0,
    samples: int = 2,
    parallel: int = 1,
    pool: Executor | None = None,
    elevation_deg: tuple[float, float] = (-10.0, 40.0),
    fov_deg: tuple[float, float] = (35.0, 60.0),
    fill: tuple[float, float] = (0.82, 1.08),
    **wishes,
) -> ViewSets:
    """Four-view sets ``start`` to ``start + count`` of a seed.

    ``held_out`` False draws combinations meant for training, True those kept from it,
    None any. The default ``stream`` is "evaluation" for held-out sets and "training"
    otherwise; pass "evaluation" for unseen animals of trained combinations. ``fill`` is
    the diameter of the animal's ball over the picture's height; ``wishes`` (species,
    pose, color, pattern, build, natural) go to `zoo.sample_individual`. ``parallel``
    pictures are drawn at a time: 1 on a CPU, some hundreds on a GPU, which then waits
    for the descriptions of the animals unless a ``pool`` of processes (`describers`)
    makes them. A hundred sets or more at a call are quickest, always as many: every
    ``count`` is compiled anew.
    """
    if size % BLOCK:
        raise ValueError(f"size must be a multiple of {BLOCK}, got {size}; round it")
    stream = stream or ("evaluation" if held_out else "training")
    ranges = (elevation_deg, fov_deg, fill)
    tell = functools.partial(_described, seed, stream, held_out, ranges, wishes)
    numbers = range(start, start + count)
    parts = (numbers[i : i + TOLD_AT_ONCE] for i in range(0, count, TOLD_AT_ONCE))
    told = _joined(list(pool.map(tell, parts) if pool else map(tell, parts)))
    spread = lambda x: np.repeat(x[:, None], VIEWS, 1)
    azimuths, elevations, distances, fovs = told.views
    camera = _cameras(azimuths, *map(spread, (elevations, distances, fovs)), size=size)
    creatures, lights = jax.tree.map(jnp.asarray, (told.creatures, told.lights))
    images = _draw_sets(creatures, lights, camera, samples=samples, parallel=parallel)
    return ViewSets(
        images=images,
        cameras=_mvdream_cameras(np.asarray(camera.camera_from_object)),
        captions=told.captions,
        attributes=told.attributes,
        azimuths=azimuths,
        elevations=elevations,
    )


class Told(NamedTuple):
    """What pictures are drawn from: everything about some sets but their pixels."""

    creatures: Creature
    lights: Lights
    views: tuple[np.ndarray, ...]  # azimuths [n 4], elevations, distances, fovs [n]
    captions: list[str]
    attributes: dict[str, list[str]]


def _described(
    seed: int, stream: str, held_out: bool | None, ranges, wishes, numbers: range
) -> Told:
    """Sets ``numbers`` of a seed; without a device, so any process can do it."""
    streams = [zoo.generator(seed, stream, i) for i in numbers]
    animals = [zoo.sample_individual(r, held_out=held_out, **wishes) for r in streams]
    views = [_view(r, *ranges) for r in streams]
    creatures = _stack([_still(animal) for animal in animals])
    lights = _stack([_lights(r) for r in streams])
    names = ("species", "color", "pattern", "build", "pose")
    return Told(
        creatures=creatures,
        lights=lights,
        views=tuple(np.array(x) for x in zip(*views, strict=True)),
        captions=[caption(r, a) for r, a in zip(streams, animals, strict=True)],
        attributes={name: [getattr(a, name) for a in animals] for name in names},
    )


def _joined(parts: list[Told]) -> Told:
    """Descriptions one after the other."""
    tables = [(p.creatures, p.lights, p.views) for p in parts]
    creatures, lights, views = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *tables
    )
    flat = lambda lists: [x for part in lists for x in part]
    return Told(
        creatures=creatures,
        lights=lights,
        views=views,
        captions=flat(p.captions for p in parts),
        attributes={
            name: flat(p.attributes[name] for p in parts)
            for name in parts[0].attributes
        },
    )


def describers(workers: int) -> Executor:
    """Processes that describe animals; they never touch the devices of this one."""
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_without_devices
    )


def _without_devices() -> None:
    jax.config.update("jax_platforms", "cpu")


def composite(images: np.ndarray, background: float = 0.5) -> np.ndarray:
    """Premultiplied uint8 RGBA over a gray, as float RGB in [0, 1]."""
    picture = images.astype(np.float32) / 255.0
    return picture[..., :3] + (1.0 - picture[..., 3:]) * background


def _view(random, elevation_deg, fov_deg, fill):
    """Azimuths, elevation, distance and field of view of one set."""
    first = random.uniform(0.0, 2 * np.pi)
    azimuths = first + 0.5 * np.pi * np.arange(VIEWS)
    elevation = np.radians(random.uniform(*elevation_deg))
    fov = np.radians(random.uniform(*fov_deg))
    distance = REACH / np.sin(0.5 * fov) / random.uniform(*fill)
    return azimuths, elevation, distance, fov


def _cameras(azimuths, elevations, distances, fovs, *, size: int) -> Camera:
    numbers = (azimuths, elevations, distances, fovs)
    return orbits.orbit(
        *(jnp.asarray(x, jnp.float32) for x in numbers), size=(size, size)
    )


def _mvdream_cameras(camera_from_object: Float[np.ndarray, "n v 4 4"]):
    """Row by row camera-to-world: OpenGL axes, z up, front +x, translation of length 1.

    The same numbers as the prior's own conversion gives; a test compares them.
    """
    object_from_camera = np.linalg.inv(camera_from_object.astype(np.float64))
    world = object_from_camera[..., [2, 0, 1, 3], :] * [1.0, -1.0, -1.0, 1.0]
    world[..., :3, 3] /= np.linalg.norm(world[..., :3, 3], axis=-1, keepdims=True)
    return world.reshape(*world.shape[:-2], 16).astype(np.float32)


def _still(animal: zoo.Individual) -> Creature:
    """The animal at its own phase, inside the ball."""
    creature = zoo.posed(animal, np.array([animal.phase]), fit="ball", reach=REACH)[0]
    return jax.tree.map(lambda x: x[0], zoo.pad(creature, CAPSULES))


def _lights(random) -> Lights:
    """A main light from somewhere above, a weaker one from anywhere."""
    main, fill = random.standard_normal((2, 3))
    main[1] = np.abs(main[1]) + 0.8
    directions = np.stack([main / np.linalg.norm(main), fill / np.linalg.norm(fill)])
    strengths = [random.uniform(0.40, 0.70), random.uniform(0.05, 0.25)]
    ambient = random.uniform(0.45, 0.65)
    number = lambda x: np.asarray(x, np.float32)
    return Lights(number(directions), number(strengths), number(ambient))


def _stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _draw_sets(creatures, lights, camera: Camera, *, samples: int, parallel: int):
    """All views of all sets, [n, 4, h, w, 4], drawn class by class of their size.

    A picture's class follows from that picture alone, and so do its pixels.
    """
    count = camera.camera_from_object.shape[0]
    scene = (
        creatures,
        lights,
        jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), camera),
    )
    blocks = camera.size[0] * camera.size[1] // BLOCK**2
    need = np.asarray(_count_blocks(*scene)) / blocks
    kinds = np.searchsorted(SHARES[:-1], need)
    images = np.empty((VIEWS * count, *camera.size, 4), np.uint8)
    piece = max(PIECE, parallel)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        budget = int(np.ceil(SHARES[kind] * blocks))
        options = dict(budget=budget, samples=samples, parallel=parallel)
        for i in range(0, len(members), piece):
            some = members[i : i + piece]
            which = np.resize(some, piece)  # repeats fill the last piece
            images[some] = _draw_piece(*scene, which, **options)[: len(some)]
    return images.reshape(count, VIEWS, *images.shape[1:])


def _pick(creatures, lights, cameras, i):
    """Scene of picture i: views of a set share its creature and lights."""
    take = lambda tree, j: jax.tree.map(lambda x: x[j], tree)
    return take(creatures, i // VIEWS), take(lights, i // VIEWS), take(cameras, i)


@jax.jit
def _count_blocks(creatures, lights, cameras):
    def one(i):
        creature, _, camera = _pick(creatures, lights, cameras, i)
        return active_blocks(creature, camera, block=BLOCK, steps=CONE_STEPS)

    return jax.lax.map(one, jnp.arange(cameras.focal.shape[0]))


@functools.partial(jax.jit, static_argnames=("budget", "samples", "parallel"))
def _draw_piece(creatures, lights, cameras, which, *, budget, samples, parallel):
    """Pictures number ``which`` as uint8."""
    fine = dict(steps=7, patience=12, cone_steps=CONE_STEPS)

    def one(i):
        scene = _pick(creatures, lights, cameras, i)
        picture = draw(*scene, budget=budget, block=BLOCK, samples=samples, **fine)
        rgba = jnp.concatenate([picture.color, picture.mask[..., None]], -1)
        return jnp.round(255.0 * rgba).astype(jnp.uint8)

    return jax.lax.map(one, which, batch_size=parallel)
