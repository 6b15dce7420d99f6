"""Clips of zoo animals, as noisy as a filmed one's tracking, with the exact truth.

The embedded clip (a walking fox, seed 0) is what the main job runs on when it is given
none; other species, seeds and poses make endless test clips. The animal moves in place
in object space; the camera goes an arc around one side, so the other is never seen.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from skimage.measure import marching_cubes

from adreamer_jax.core import camera as cameras
from adreamer_jax.core import rotation
from adreamer_jax.data import clip as clips
from adreamer_jax.data import gait, zoo
from adreamer_jax.data.clip import Truth
from adreamer_jax.data.creature import (
    Creature,
    Lights,
    active_blocks,
    capsule_weights,
    draw,
    normal,
    sdf,
)
from adreamer_jax.data.species import SPECIES
from adreamer_jax.types import Camera, Clip, Float, Int

__all__ = ["embedded_clip", "noisy_cameras", "truth_surface", "write_embedded"]

BLOCK = 8  # pixels: the side of the squares that are culled together


def embedded_clip(
    *,
    seed: int = 0,
    species: str = "fox",
    pose: str = "walking",
    color: str = zoo.NATURAL,
    pattern: str | None = None,
    build: str = "normal",
    num_frames: int = 60,
    size: tuple[int, int] = (256, 256),
    fps: float = 15.0,
    cycles: float = 4.0,
    arc_deg: float = 90.0,
    side_deg: float = -90.0,
    elevation_deg: tuple[float, float] = (10.0, 20.0),
    distance: float = 3.2,
    fov_deg: float = 40.0,
    noise: bool = True,
) -> tuple[Clip, Truth]:
    """A clip of one moving animal and its exact surface and cameras.

    The camera's azimuth passes ``side_deg`` (-90: the animal's right) halfway through
    ``arc_deg``; ``cycles`` strides fit the clip, whose animated box has a longest side
    of 2 units. With ``noise`` the clip's cameras err as `noisy_cameras` says.
    """
    _check(species, pose, size, num_frames)
    random = zoo.generator(seed, "clips")
    animal = zoo.sample_individual(
        random, species=species, pose=pose, color=color, pattern=pattern, build=build,
        jitter=0.04, grains=30,
    )  # fmt: skip
    phase = animal.phase + 2 * np.pi * cycles * np.arange(num_frames) / num_frames
    creature, rest, motion = zoo.posed(animal, phase, pose=pose)
    path = _arc(num_frames, arc_deg, side_deg, elevation_deg, distance, fov_deg, size)
    images, masks = _film(random, creature, path)
    exact = np.asarray(path.camera_from_object)
    given = noisy_cameras(random, exact) if noise else exact
    focal, center = np.asarray(path.focal[0]), np.asarray(path.center[0])
    intrinsics = np.concatenate([focal, center]).astype(np.float32)
    vertices, faces = truth_surface(creature, rest, motion)
    seen = np.einsum("tij,tnj->tni", exact[:, :3, :3], vertices)
    seen = (seen + exact[:, None, :3, 3]).astype(np.float32)
    clip = Clip(
        name=f"{species}_{seed}",
        fps=fps,
        prompt=_prompt(animal),
        images=images,
        masks=masks,
        camera_from_object=given,
        intrinsics=intrinsics,
        cameras="noisy" if noise else "exact",
        source="procedural zoo",
        licence="Apache-2.0",
    )
    return clip, Truth(seen, faces, exact, intrinsics, None)


def noisy_cameras(
    random: np.random.Generator,
    camera_from_object: Float[np.ndarray, "t 4 4"],
    *,
    smooth_deg: float = 8.0,
    jitter_deg: float = 3.0,
    shift: float = 0.03,
) -> Float[np.ndarray, "t 4 4"]:
    """Cameras as a tracker would report them.

    Rotations err by a slow drift and by a jitter of every frame (root mean squares of
    the angle, about a second apart and independent), translations by ``shift`` of the
    distance.
    """
    count = len(camera_from_object)
    drift = _drift(random, count) * np.radians(smooth_deg)
    jitter = random.standard_normal((count, 3)) * np.radians(jitter_deg) / np.sqrt(3)
    turn = jax.jit(lambda v: rotation.to_matrix(rotation.from_vector(v)))(
        drift + jitter
    )
    noisy = np.array(camera_from_object, np.float32)
    noisy[:, :3, :3] = np.asarray(turn) @ camera_from_object[:, :3, :3]
    far = np.linalg.norm(camera_from_object[:, :3, 3], axis=-1, keepdims=True)
    noisy[:, :3, 3] += shift * far / np.sqrt(3) * random.standard_normal((count, 3))
    return noisy


def truth_surface(
    creature: Creature,
    rest: Creature,
    motion: Float[np.ndarray, "t k 4 4"],
    *,
    spacing: float = 0.025,
) -> tuple[Float[np.ndarray, "t n 3"], Int[np.ndarray, "m 3"]]:
    """Surface of every frame in object space, with one topology, and its faces.

    The rest surface (marching cubes) is carried by the bones with the union's weights
    and then brought onto each posed surface by Newton steps along the normal.
    """
    still = jax.tree.map(lambda x: jnp.asarray(x[0]), rest)
    vertices, faces = _rest_mesh(still, spacing)
    moved = _carry_surface(
        still,
        jax.tree.map(jnp.asarray, creature),
        jnp.asarray(motion, jnp.float32),
        jnp.asarray(vertices),
    )
    return np.asarray(moved), faces


def write_embedded(clip: Clip, folder: str | Path, truth: Truth | None = None) -> Path:
    """Write a clip folder, with its ``truth`` where given; never over an old one."""
    folder = Path(folder)
    if folder.exists():
        raise ValueError(
            f"the folder of a new clip must not exist yet, got {str(folder)!r}; "
            "choose another name"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".clip-") as draft:
        done = clips.write_clip(clip, Path(draft) / folder.name)
        if truth is not None:
            _write_truth(truth, done / "truth")
        shutil.move(done, folder)
    return folder


# -- film -----------------------------------------------------------------------------


def _check(species: str, pose: str, size: tuple[int, int], num_frames: int) -> None:
    if species not in SPECIES:
        raise ValueError(
            f"species must be one of {', '.join(sorted(SPECIES))}, got {species!r}"
        )
    allowed = gait.poses_of(SPECIES[species])
    if pose not in allowed:
        raise ValueError(
            f"pose must be one of {', '.join(allowed)} for a {species}, got {pose!r}; "
            f"pass pose={allowed[0]!r}"
        )
    if size[0] % BLOCK or size[1] % BLOCK or min(size) < BLOCK:
        raise ValueError(
            f"size must be a multiple of {BLOCK} both ways, got {size}; round it"
        )
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")


def _prompt(animal: zoo.Individual) -> str:
    words = [animal.color] if animal.color != zoo.NATURAL else []
    name = " ".join([*words, animal.species])
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} {animal.pose}"


def _arc(count, arc_deg, side_deg, elevation_deg, distance, fov_deg, size) -> Camera:
    """Cameras at even steps of the arc; the elevation swings once up and down."""
    place = np.arange(count) / max(count - 1, 1)
    azimuth = np.radians(side_deg + arc_deg * (place - 0.5))
    middle, swing = np.mean(elevation_deg), np.ptp(elevation_deg) / 2
    elevation = np.radians(middle + swing * np.sin(2 * np.pi * place))
    far, fov = np.full(count, distance), np.full(count, np.radians(fov_deg))
    numbers = (azimuth, elevation, far, fov)
    orbit = jax.jit(functools.partial(cameras.orbit, size=size))
    return orbit(*(jnp.asarray(x, jnp.float32) for x in numbers))


def _film(random, creature: Creature, path: Camera):
    """Pictures (uint8) and masks of all frames over a made-up backdrop."""
    creature = jax.tree.map(jnp.asarray, creature)
    blocks = path.size[0] * path.size[1] // BLOCK**2
    need = int(_count_blocks(creature, path))
    budget = min(blocks, -(-(need + 4) * 16 // blocks) * blocks // 16)  # few programs
    color, mask = _draw_all(creature, _lights(random), path, budget=max(budget, 16))
    color, mask = np.asarray(color), np.asarray(mask)
    picture = color + (1.0 - mask[..., None]) * _backdrop(random, path.size)
    grain = random.normal(0.0, 1.2 / 255, picture.shape)  # as a sensor's
    picture = np.clip(picture + grain, 0.0, 1.0)
    return np.round(255 * picture).astype(np.uint8), mask >= 0.5


@jax.jit
def _count_blocks(creature: Creature, path: Camera) -> Int[jax.Array, ""]:
    count = lambda pair: active_blocks(*pair, block=BLOCK, steps=24)
    return jax.lax.map(count, (creature, path)).max()


@functools.partial(jax.jit, static_argnames="budget")
def _draw_all(creature: Creature, lights: Lights, path: Camera, *, budget: int):
    def one(pair):
        picture = draw(
            *(pair[0], lights, pair[1]),
            budget=budget, block=BLOCK, samples=2, steps=12, cone_steps=24,
        )  # fmt: skip
        return picture.color, picture.mask

    return jax.lax.map(one, (creature, path))


def _lights(random) -> Lights:
    main = np.array([random.uniform(-0.6, -0.2), 0.85, random.uniform(0.1, 0.5)])
    fill = np.array([0.7, 0.3, random.uniform(-0.5, 0.1)])
    directions = np.stack([main / np.linalg.norm(main), fill / np.linalg.norm(fill)])
    return Lights(
        directions=jnp.asarray(directions, jnp.float32),
        strengths=jnp.asarray([0.62, 0.25]),
        ambient=jnp.asarray(0.52),
    )


def _backdrop(random, size: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
    """A plain studio wall: soft tint, darker toward the floor and the corners."""
    down, across = np.meshgrid(
        np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]), indexing="ij"
    )
    tint = random.uniform(0.66, 0.82) + random.uniform(-0.06, 0.06, 3)
    slope = 1.0 - random.uniform(0.06, 0.14) * down
    vignette = 1.0 - random.uniform(0.06, 0.14) * (down**2 + across**2)
    return tint * (slope * vignette)[..., None]


def _drift(random, count: int, *, knots: int = 4) -> Float[np.ndarray, "t 3"]:
    """A slow random curve of rotation vectors whose mean square length is one."""
    place = np.arange(count)[:, None] / max(count - 1, 1)
    rates = np.arange(knots)
    curve = np.cos(np.pi * place * rates) @ random.standard_normal((knots, 3))
    return curve / np.sqrt((curve**2).sum(-1).mean())


# -- truth ----------------------------------------------------------------------------


def _rest_mesh(rest: Creature, spacing: float):
    """Marching cubes of the rest creature, faces turned outward."""
    reach = jnp.maximum(rest.start_radius, rest.end_radius)
    reach = (reach / jnp.sqrt(jnp.minimum(rest.stretch, 0.0) + 1.0))[:, None]
    ends = [np.asarray(rest.start), np.asarray(rest.end)]
    margin = np.asarray(reach) + 4 * spacing
    low = np.min([e - margin for e in ends], (0, 1))
    high = np.max([e + margin for e in ends], (0, 1))
    axes = [np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = _sdf_in_chunks(rest, jnp.asarray(grid.reshape(-1, 3), jnp.float32))
    values = np.array(values).reshape(grid.shape[:3])  # marching cubes wants its own
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=(spacing,) * 3)
    return (vertices + low).astype(np.float32), faces.astype(np.int32)


@jax.jit
def _sdf_in_chunks(creature: Creature, points: Float[jax.Array, "n 3"]):
    pieces = jnp.pad(points, ((0, -len(points) % 8192), (0, 0))).reshape(-1, 8192, 3)
    values = jax.lax.map(lambda p: sdf(creature, p), pieces)
    return values.reshape(-1)[: len(points)]


@jax.jit
def _carry_surface(rest: Creature, posed: Creature, motion, vertices):
    """Skinned rest vertices of every frame, pulled onto the posed surface."""
    weights = capsule_weights(rest, vertices)

    def one(pair):
        creature, move = pair
        blend = jnp.einsum("nk,kij->nij", weights, move)
        points = jnp.einsum("nij,nj->ni", blend[:, :3, :3], vertices) + blend[:, :3, 3]
        pull = lambda p, _: (p - sdf(creature, p)[:, None] * normal(creature, p), None)
        return jax.lax.scan(pull, points, None, length=5)[0]

    return jax.lax.map(one, (posed, motion))


def _write_truth(truth: Truth, folder: Path) -> None:
    folder.mkdir()
    arrays = {
        "vertices": truth.vertices,
        "faces": truth.faces,
        "camera_from_object": truth.camera_from_object,
        "intrinsics": truth.intrinsics,
    }
    for name, array in arrays.items():
        if array is not None:
            kind = np.int32 if name == "faces" else np.float32
            np.save(folder / f"{name}.npy", np.asarray(array, kind))
