"""One articulated creature: its distance function, its coat and its own pictures.

A creature is a smooth union of K tapered capsules, each stretched (flattened) along one
axis, so that ears, fins and wings are thin: with q the offset from the capsule's axis,
n the flat axis, m = q.n and e = 1/flatness^2 - 1, Q^2 = |q|^2 + e m^2 is a squared
length in the space where the capsule is round, and (Q - r) Q / |q + e m n| its
distance to first order. Arrays are [K, R]: capsules lead, rays are contiguous (this is
what makes a CPU fast). Pictures come from sphere tracing here, never from the training
renderer.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from adreamer_jax.types import Array, Camera, Float, Int, Picture

__all__ = [
    "Coat",
    "Creature",
    "Lights",
    "active_blocks",
    "capsule_weights",
    "draw",
    "normal",
    "sdf",
]

Table = jax.Array | np.ndarray  # the zoo fills these on the host
FAR = 1e3
NEAR = 0.3  # a ray has met the surface at this share of its sample's radius
SEAM = 260.0  # sharpness with which neighboring capsules' colors meet, per unit


class Coat(struct.PyTreeNode):
    """The coat's pattern, a function of the rest-pose position only.

    With u along the limb's axis and w(x) the sum of the waves sin(k.x + phase), scaled
    to unit variance:
    v = stripe sin(pitch u + wobble w) + noise w, replaced by |v| where ``fold`` is 1;
    marks are where v exceeds ``threshold``. ``grain`` is a second, finer set of waves
    that varies the brightness, so that optical flow has something to hold on to.
    """

    mark: Float[Table, "*b 3"]  # color of stripes and spots
    under: Float[Table, "*b 3"]  # color of the belly
    stripe: Float[Table, "*b"]
    pitch: Float[Table, "*b"]
    wobble: Float[Table, "*b"]
    noise: Float[Table, "*b"]
    fold: Float[Table, "*b"]
    threshold: Float[Table, "*b"]
    waves: Float[Table, "*b waves 4"]  # wave vector and phase
    grain: Float[Table, "*b grains 4"]
    grain_gain: Float[Table, "*b"]


class Creature(struct.PyTreeNode):
    """Posed capsules in object space with their paint."""

    start: Float[Table, "*b k 3"]
    end: Float[Table, "*b k 3"]
    start_radius: Float[Table, "*b k"]
    end_radius: Float[Table, "*b k"]
    flat_axis: Float[Table, "*b k 3"]  # unit
    stretch: Float[Table, "*b k"]  # e above; 0 = round
    rest_from_posed: Float[Table, "*b k 3 4"]
    rest_axis: Float[Table, "*b k 3"]  # unit, along the capsule at rest
    color: Float[Table, "*b k 3"]
    furry: Float[Table, "*b k"]  # 1 where the coat's pattern and belly apply
    belly: Float[Table, "*b k 3"]  # unit, toward the belly at rest; 0 = no belly
    sharpness: Float[Table, "*b"]  # of the union, per unit: larger is crisper
    coat: Coat


class Lights(struct.PyTreeNode):
    """Two distant lights and an ambient one, all white."""

    directions: Float[Table, "*b 2 3"]  # unit, toward the light
    strengths: Float[Table, "*b 2"]
    ambient: Float[Table, "*b"]


def sdf(creature: Creature, points: Float[Array, "r 3"]) -> Float[Array, "r"]:
    """Signed distance to the smooth union, -log(sum exp(-s d)) / s, negative inside."""
    return _union(_distances(creature, points.T), creature.sharpness)


def normal(creature: Creature, points: Float[Array, "r 3"]) -> Float[Array, "r 3"]:
    """Unit outward direction: the union's weights times each capsule's gradient."""
    distance, gradient = _distances_and_gradients(creature, points.T)
    return _blend_normals(distance, gradient, creature.sharpness).T


def capsule_weights(
    creature: Creature, points: Float[Array, "r 3"]
) -> Float[Array, "r k"]:
    """Each capsule's share in the union at a point; rows sum to one."""
    distance = _distances(creature, points.T)
    return jax.nn.softmax(-creature.sharpness * distance, axis=0).T


def active_blocks(
    creature: Creature, camera: Camera, *, block: int, steps: int = 16
) -> Int[Array, ""]:
    """How many blocks of ``block``^2 pixels the creature may touch; for ``budget``."""
    return jnp.sum(_cone_march(creature, camera, block=block, steps=steps)[1] >= 0.5)


def draw(
    creature: Creature,
    lights: Lights,
    camera: Camera,
    *,
    budget: int,
    block: int = 1,
    samples: int = 2,
    steps: int = 8,
    patience: int = 32,
    cone_steps: int = 16,
    chunk: int = 2048,
) -> Picture:
    """Picture of the creature: color premultiplied by coverage, coverage and depth.

    A cone is marched through every block of pixels; the ``budget`` blocks that it finds
    nearest to the surface are traced with ``samples``^2 rays per pixel, each starting
    where its cone stopped. Blocks beyond the budget stay empty. Rays that graze a limb
    need many short steps: the eighth of all rays that is furthest from done after
    ``steps`` gets ``patience`` more.
    """
    reach, score = _cone_march(creature, camera, block=block, steps=cone_steps)
    chosen = jax.lax.top_k(score, budget)[1]
    origin, directions = _fine_rays(camera, chosen, block=block, samples=samples)
    starts = jnp.repeat(reach[chosen], (block * samples) ** 2)
    radius = NEAR * _pixel_radius(camera) / samples
    march = lambda count: lambda rays: _march(creature, origin, *rays, steps=count)
    ends = _in_chunks(march(steps), (directions, starts), chunk)
    slow = jax.lax.top_k(_unfinished(ends, origin, radius), max(len(ends) // 8, 1))[1]
    late = _in_chunks(march(patience), (directions[slow], ends[slow, 0]), chunk)
    ends = ends.at[slow].set(late)
    shade = lambda rays: _color(creature, lights, origin, *rays, radius=radius)
    fine = _in_chunks(shade, (directions, ends), chunk)
    forward = camera.camera_from_object[2, :3]
    fine = fine.at[:, 4].multiply(directions @ forward)  # distance to depth, by mask
    means = fine.reshape(budget, block, samples, block, samples, 5).mean((2, 4))
    image = _scatter_blocks(means, chosen, camera.size, block)
    return Picture(
        color=image[..., :3],
        mask=image[..., 3],
        depth=image[..., 4] / jnp.maximum(image[..., 3], 1e-6),
    )


# -- distances ------------------------------------------------------------------------


def _offsets(creature: Creature, points: Float[Array, "3 r"]):
    """Offset q from every capsule's axis, place t on it, m, Q^2 and |q + e m n|^2."""
    along = creature.end - creature.start
    inverse = 1.0 / jnp.maximum(jnp.sum(along**2, -1), 1e-10)
    p = [points[i] - creature.start[:, i, None] for i in range(3)]
    dot = sum(p[i] * along[:, i, None] for i in range(3))
    t = jnp.clip(dot * inverse[:, None], 0.0, 1.0)
    q = [p[i] - t * along[:, i, None] for i in range(3)]
    m = sum(q[i] * creature.flat_axis[:, i, None] for i in range(3))
    e = creature.stretch[:, None]
    square = sum(x * x for x in q) + 1e-12
    return q, t, m, square + e * m * m, square + (2.0 + e) * e * m * m


def _radii(creature: Creature, t: Float[Array, "k r"]) -> Float[Table, "k r"]:
    growth = (creature.end_radius - creature.start_radius)[:, None]
    return creature.start_radius[:, None] + t * growth


def _distances(creature: Creature, points: Float[Array, "3 r"]) -> Float[Array, "k r"]:
    _, t, _, round_square, slope_square = _offsets(creature, points)
    depth = round_square - _radii(creature, t) * jnp.sqrt(round_square)
    return jnp.multiply(depth, jax.lax.rsqrt(slope_square))


def _distances_and_gradients(creature: Creature, points: Float[Array, "3 r"]):
    """Distances and, exact on each capsule's own surface, their gradients."""
    q, t, m, round_square, slope_square = _offsets(creature, points)
    length = jnp.sqrt(round_square)
    to_distance = length * jax.lax.rsqrt(slope_square)
    along = creature.end - creature.start
    square = jnp.maximum(jnp.sum(along**2, -1), 1e-10)
    growth = (creature.end_radius - creature.start_radius) / square
    slope = jnp.where((t > 0.0) & (t < 1.0), growth[:, None], 0.0)
    e = creature.stretch[:, None]
    gradient = [
        to_distance
        * (
            (q[i] + e * m * creature.flat_axis[:, i, None]) / length
            - slope * along[:, i, None]
        )
        for i in range(3)
    ]
    return (length - _radii(creature, t)) * to_distance, gradient


def _union(distance: Float[Array, "k r"], sharpness) -> Float[Array, "r"]:
    least = distance.min(0)
    total = jnp.sum(jnp.exp(-sharpness * (distance - least)), 0)
    return least - jnp.log(total) / sharpness


def _blend_normals(distance, gradient, sharpness) -> Float[Array, "3 r"]:
    weights = jax.nn.softmax(-sharpness * distance, axis=0)
    total = jnp.stack([jnp.sum(weights * g, 0) for g in gradient])
    return total / jnp.sqrt(jnp.sum(total**2, 0) + 1e-12)


# -- rays -----------------------------------------------------------------------------


def _pixel_radius(camera: Camera) -> Float[Array, ""]:
    """Half a pixel's diagonal at distance one."""
    return jnp.sqrt(0.5) / camera.focal.min()


def _origin(camera: Camera) -> Float[Array, "3"]:
    turn, shift = camera.camera_from_object[:3, :3], camera.camera_from_object[:3, 3]
    return -turn.T @ shift


def _directions(camera: Camera, pixels: Float[Array, "r 2"]) -> Float[Array, "r 3"]:
    flat = (pixels - camera.center) / camera.focal
    rays = jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], -1)
    rays = rays @ camera.camera_from_object[:3, :3]
    return rays / jnp.linalg.norm(rays, axis=-1, keepdims=True)


def _cone_march(creature: Creature, camera: Camera, *, block: int, steps: int):
    """March a cone around each block; return where it met the surface and how nearly.

    A score of one or more says that the cone touched; the march of a cone stops there.
    """
    height, width = camera.size
    rows, columns = jnp.meshgrid(
        (jnp.arange(height // block) + 0.5) * block,
        (jnp.arange(width // block) + 0.5) * block,
        indexing="ij",
    )
    pixels = jnp.stack([columns.ravel(), rows.ravel()], -1)
    origin, rays = _origin(camera), _directions(camera, pixels)
    radius = 1.15 * block * _pixel_radius(camera)
    gap_at = lambda reach: _union(
        _distances(creature, (origin + reach[:, None] * rays).T), creature.sharpness
    )

    def advance(reach, _):
        gap = gap_at(reach)
        open_ = gap > radius * reach
        reach = jnp.where(open_ & (reach < FAR), reach + gap, reach)
        return reach, None

    reach = jax.lax.scan(advance, jnp.zeros(len(rays)), None, length=steps)[0]
    touch = radius * jnp.minimum(reach, FAR)
    score = touch / jnp.maximum(gap_at(reach), 1e-6)
    return jnp.maximum(reach - touch, 0.0), score


def _fine_rays(camera: Camera, chosen: Int[Array, "n"], *, block: int, samples: int):
    across = camera.size[1] // block
    inside = (jnp.arange(block * samples) + 0.5) / samples
    row = (chosen // across * block)[:, None, None] + inside[None, :, None]
    column = (chosen % across * block)[:, None, None] + inside[None, None, :]
    pixels = jnp.stack(jnp.broadcast_arrays(column, row), -1).reshape(-1, 2)
    return _origin(camera), _directions(camera, pixels)


def _in_chunks(function, arrays, size: int):
    """Map over rays in pieces that stay in the processor's cache."""
    count = arrays[0].shape[0]
    size = min(size, count)
    pad = -count % size
    pieces = [
        jnp.pad(a, [(0, pad)] + [(0, 0)] * (a.ndim - 1)).reshape(-1, size, *a.shape[1:])
        for a in arrays
    ]
    done = jax.lax.map(function, tuple(pieces))
    return done.reshape(-1, done.shape[-1])[:count]


def _scatter_blocks(blocks, chosen, size: tuple[int, int], block: int):
    down, across = size[0] // block, size[1] // block
    image = jnp.zeros((down * across, *blocks.shape[1:]))
    image = image.at[chosen].set(blocks).reshape(down, across, *blocks.shape[1:])
    return image.swapaxes(1, 2).reshape(*size, blocks.shape[-1])


def _march(creature, origin, directions, starts, *, steps) -> Float[Array, "r 2"]:
    """Sphere tracing: how far each ray came, and its gap to the surface there."""
    rays = directions.T
    gap_at = lambda reach: _union(
        _distances(creature, origin[:, None] + reach * rays), creature.sharpness
    )
    advance = lambda reach, _: (reach + gap_at(reach), None)
    reach = jax.lax.scan(advance, starts, None, length=steps)[0]
    return jnp.stack([reach, gap_at(reach)], -1)


def _unfinished(ends: Float[Array, "r 2"], origin, radius) -> Float[Array, "r"]:
    """Large for rays that are still near the creature but have not met it."""
    reach, gap = ends.T
    inside = reach < jnp.linalg.norm(origin) + 2.0
    return jnp.where((gap > radius * reach) & inside, 1.0 / (gap + 1e-3), 0.0)


def _color(
    creature, lights, origin, directions, ends, *, radius
) -> Float[Array, "r 5"]:
    """Color, coverage (0 or 1) and distance of each ray, zero where it misses."""
    reach, gap = ends.T
    hit = (gap < radius * reach) & (reach < FAR)
    reach = jnp.where(hit, reach + gap, 1.0)
    color = _shade(creature, lights, origin[:, None] + reach * directions.T)
    rows = jnp.concatenate([color, jnp.ones_like(color[:1]), reach[None]])
    return jnp.where(hit, rows, 0.0).T


# -- appearance -----------------------------------------------------------------------


def _shade(creature: Creature, lights: Lights, points: Float[Array, "3 r"]):
    distance, gradient = _distances_and_gradients(creature, points)
    outward = _blend_normals(distance, gradient, creature.sharpness)
    albedo = _albedo(creature, points, distance, outward)
    probe = 4.0 / creature.sharpness
    gap = _union(_distances(creature, points + probe * outward), creature.sharpness)
    openness = 0.6 + 0.4 * jnp.clip(gap / probe, 0.0, 1.0)
    facing = jnp.maximum(lights.directions @ outward, 0.0)
    sky = 0.75 + 0.25 * outward[1]
    light = jnp.sum(lights.strengths[:, None] * facing, 0) + lights.ambient * sky
    return jnp.clip(albedo * light * openness, 0.0, 1.0)


def _albedo(creature: Creature, points, distance, outward) -> Float[Array, "3 r"]:
    """Paint of the surface: capsule colors, belly, marks, grain, in this order."""
    coat = creature.coat
    weights = jax.nn.softmax(-SEAM * distance, axis=0)
    mix = lambda table: table.T @ weights  # [channels, r]
    furry = mix(creature.furry[:, None])[0]
    turn = mix(creature.rest_from_posed.reshape(-1, 12)).reshape(3, 4, -1)
    rest = jnp.einsum("ijr,jr->ir", turn[:, :3], points) + turn[:, 3]
    rest_outward = jnp.einsum("ijr,jr->ir", turn[:, :3], outward)
    below = jnp.sum(mix(creature.belly) * rest_outward, 0)
    belly = furry * jax.nn.sigmoid(10.0 * (below - 0.35))
    along = jnp.sum(mix(creature.rest_axis) * rest, 0)
    mark = furry * _marks(coat, rest, along)
    color = mix(creature.color)
    color = color + mark * (coat.mark[:, None] - color)
    color = color + belly * (coat.under[:, None] - color)
    if coat.grain.shape[0]:
        speckle = jnp.tanh(_waves(coat.grain, rest))
        color = color * (1.0 + coat.grain_gain * (0.7 + 0.3 * furry) * speckle)
    return jnp.clip(color, 0.0, 1.0)


def _waves(waves: Float[Table, "w 4"], points: Float[Array, "3 r"]):
    total = jnp.sum(jnp.sin(waves[:, :3] @ points + waves[:, 3:]), 0)
    return total * jnp.sqrt(2.0 / waves.shape[0])


def _marks(coat: Coat, rest: Float[Array, "3 r"], along: Float[Array, "r"]):
    w = _waves(coat.waves, rest)
    v = coat.stripe * jnp.sin(coat.pitch * along + coat.wobble * w) + coat.noise * w
    v = (1.0 - jnp.abs(coat.fold)) * v + coat.fold * jnp.abs(v)
    return jax.nn.sigmoid(14.0 * (v - coat.threshold))
