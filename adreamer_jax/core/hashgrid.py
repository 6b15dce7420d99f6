"""Multiresolution hash tables (Instant-NGP, Mueller et al. 2022): features of a point.

Levels run from coarse to fine; a level with ``r`` cells a side has (r + 1)^3 corners,
stored densely where they fit into the table and hashed otherwise. All loops over levels
are `lax.scan`, so that one level's table stays in the cache and programs stay small.
The backward pass is our own: it recomputes the corners and does one scatter a level.
Letters: L levels, T slots a level, F features a slot, C = L F channels, N points in the
unit cube.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.types import Array, Bool, Float, Int, Key

_PRIMES = (1, 2654435761, 805459861)
_CORNERS = tuple((i & 1, (i >> 1) & 1, (i >> 2) & 1) for i in range(8))


@dataclasses.dataclass(frozen=True)
class GridSpec:
    """Sizes of the tables."""

    levels: int = 8
    log2_slots: int = 14
    features: int = 4  # even
    coarsest: int = 8  # cells a side
    finest: int = 128

    @property
    def slots(self) -> int:
        """Entries of one level."""
        return 2**self.log2_slots

    @property
    def channels(self) -> int:
        """Numbers returned for a point."""
        return self.levels * self.features

    def resolutions(self) -> np.ndarray:
        """Cells a side of every level, growing geometrically."""
        growth = np.linspace(0.0, 1.0, self.levels) if self.levels > 1 else np.zeros(1)
        ratio = self.finest / self.coarsest
        return np.round(self.coarsest * ratio**growth).astype(np.int64)


def init_grid(
    key: Key, spec: GridSpec, *, scale: float = 1e-4
) -> Float[Array, "L T F"]:
    """Tables of small uniform numbers, as in Instant-NGP."""
    shape = (spec.levels, spec.slots, spec.features)
    return jax.random.uniform(key, shape, minval=-scale, maxval=scale)


def _levels(spec: GridSpec):
    """Per level: cells, the three index multipliers, and whether it is dense."""
    cells = spec.resolutions()
    dense = (cells + 1) ** 3 <= spec.slots
    strides = np.stack([np.ones_like(cells), cells + 1, (cells + 1) ** 2], axis=-1)
    multipliers = np.where(dense[:, None], strides, np.array(_PRIMES)).astype(np.uint32)
    return (
        jnp.asarray(cells, jnp.float32),
        jnp.asarray(multipliers),
        jnp.asarray(dense),
    )


def _inside(points: Float[Array, "N 3"]) -> Bool[Array, "N 3"]:
    """Where a coordinate has not been moved onto the cube, which has no slope."""
    return (points >= 0.0) & (points <= 1.0)


def _cell(points: Float[Array, "N 3"], cells: Float[Array, ""]):
    """Lower corner (integers) and the place inside the cell of every point."""
    scaled = jnp.clip(points, 0.0, 1.0) * cells
    corner = jnp.minimum(jnp.floor(scaled), cells - 1.0)
    return corner.astype(jnp.uint32), scaled - corner


def _indices(corner, multipliers, dense, spec: GridSpec) -> list[Int[Array, "N"]]:
    """Slot of each of the eight corners; six products are shared among them."""
    low = [corner[:, a] * multipliers[a] for a in range(3)]
    high = [low[a] + multipliers[a] for a in range(3)]
    slots = []
    for bits in _CORNERS:
        x, y, z = (high[a] if bits[a] else low[a] for a in range(3))
        slot = jnp.where(dense, x + y + z, x ^ y ^ z) & jnp.uint32(spec.slots - 1)
        slots.append(slot.astype(jnp.int32))
    return slots


def _weights(place: Float[Array, "N 3"]) -> list[Float[Array, "N"]]:
    """Trilinear weight of each corner."""
    axis = [(1.0 - place[:, a], place[:, a]) for a in range(3)]
    return [axis[0][i] * axis[1][j] * axis[2][k] for i, j, k in _CORNERS]


def _weight_slopes(place: Float[Array, "N 3"]) -> list[list[Float[Array, "N"]]]:
    """Derivative of each corner's weight along each axis, in cells."""
    axis = [(1.0 - place[:, a], place[:, a]) for a in range(3)]
    slopes = []
    for bits in _CORNERS:
        sign = [1.0 if b else -1.0 for b in bits]
        w = [axis[a][bits[a]] for a in range(3)]
        slopes.append(
            [sign[0] * w[1] * w[2], sign[1] * w[0] * w[2], sign[2] * w[0] * w[1]]
        )
    return slopes


def _take(table: Float[Array, "T F"], slot: Int[Array, "N"]) -> Float[Array, "N F"]:
    return table.at[slot].get(mode="promise_in_bounds")


def _sum(table, slots, weights) -> Float[Array, "N F"]:
    """Features of one level: the corners' entries under their weights."""
    total = jnp.zeros(())
    for slot, weight in zip(slots, weights, strict=True):
        total = total + weight[:, None] * _take(table, slot)
    return total


def _slopes(table, slots, place, cells) -> list[Float[Array, "N F"]]:
    """Derivatives of one level's features along x, y and z."""
    d = [jnp.zeros(())] * 3
    for slot, slopes in zip(slots, _weight_slopes(place), strict=True):
        entry = _take(table, slot)
        d = [a + (cells * s)[:, None] * entry for a, s in zip(d, slopes, strict=True)]
    return d


def _join(features: Float[Array, "L N F"]) -> Float[Array, "N C"]:
    levels, count, width = features.shape
    return jnp.moveaxis(features, 0, 1).reshape(count, levels * width)


def _split(features: Float[Array, "N C"], spec: GridSpec) -> Float[Array, "L N F"]:
    return jnp.moveaxis(
        features.reshape(features.shape[0], spec.levels, spec.features), 1, 0
    )


def _scatter(slots, values, spec: GridSpec) -> Float[Array, "T F"]:
    """Sum of the eight corners' values in their slots.

    Pairs of features travel as one complex number on the CPU, which halves the number
    of updates; a GPU has no atomic for that type and takes the plain form.
    """
    slot = jnp.concatenate(slots)
    value = jnp.concatenate(values)

    def plain(slot, value):
        empty = jnp.zeros((spec.slots, spec.features), value.dtype)
        return empty.at[slot].add(value, mode="promise_in_bounds")

    def paired(slot, value):
        pairs = [
            jax.lax.complex(value[:, 2 * i], value[:, 2 * i + 1])
            for i in range(spec.features // 2)
        ]
        sums = [
            jnp.zeros((spec.slots,), pair.dtype)
            .at[slot]
            .add(pair, mode="promise_in_bounds")
            for pair in pairs
        ]
        parts = [part for s in sums for part in (s.real, s.imag)]
        return jnp.stack(parts, axis=-1)

    return jax.lax.platform_dependent(slot, value, cpu=paired, default=plain)


def encode(
    tables: Float[Array, "L T F"], points: Float[Array, "N 3"], spec: GridSpec
) -> Float[Array, "N C"]:
    """Features of points in the unit cube, trilinear in every level, coarse first.

    Points outside are moved onto the cube. Differentiable in tables and points.
    """
    return _encode(tables, points, spec)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _encode(tables, points, spec: GridSpec) -> Any:
    def level(_, x):
        table, cells, multipliers, dense = x
        corner, place = _cell(points, cells)
        slots = _indices(corner, multipliers, dense, spec)
        return None, _sum(table, slots, _weights(place))

    _, features = jax.lax.scan(level, None, (tables, *_levels(spec)))
    return _join(features)


def _encode_forward(tables, points, spec):
    return _encode(tables, points, spec), (tables, points)


def _encode_backward(spec, saved, cotangent):
    tables, points = saved

    def level(_, x):
        table, cells, multipliers, dense, g = x
        corner, place = _cell(points, cells)
        slots = _indices(corner, multipliers, dense, spec)
        d_table = _scatter(slots, [w[:, None] * g for w in _weights(place)], spec)
        slopes = _slopes(table, slots, place, cells)
        return None, (d_table, *slopes)

    levels = (tables, *_levels(spec), _split(cotangent, spec))
    _, (d_tables, *slopes) = jax.lax.scan(level, None, levels)
    # contracted outside of the loop: inside, the product breaks up the fused look-ups
    g = _split(cotangent, spec)
    d_points = jnp.stack([jnp.einsum("lnf,lnf->n", s, g) for s in slopes], axis=-1)
    return d_tables, jnp.where(_inside(points), d_points, 0.0)


_encode.defvjp(_encode_forward, _encode_backward)


def encode_with_slopes(
    tables: Float[Array, "L T F"], points: Float[Array, "N 3"], spec: GridSpec
) -> tuple[Float[Array, "N C"], Float[Array, "N 3 C"]]:
    """Features and their derivatives along the axes from the same look-ups.

    Both are linear in the tables, so that a loss on the gradient of the field (eikonal)
    needs one scatter a level and no second differentiation. Not differentiable in the
    points: regularizers on normals should not move them.
    """
    return _encode_with_slopes(tables, points, spec)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _encode_with_slopes(tables, points, spec: GridSpec) -> Any:
    def level(_, x):
        table, cells, multipliers, dense = x
        corner, place = _cell(points, cells)
        slots = _indices(corner, multipliers, dense, spec)
        total = _sum(table, slots, _weights(place))
        return None, (total, *_slopes(table, slots, place, cells))

    _, (features, *slopes) = jax.lax.scan(level, None, (tables, *_levels(spec)))
    stacked = jnp.stack([_join(s) for s in slopes], axis=1)
    return _join(features), jnp.where(_inside(points)[..., None], stacked, 0.0)


def _slopes_forward(tables, points, spec):
    return _encode_with_slopes(tables, points, spec), points


def _slopes_backward(spec, points, cotangents):
    g, h = cotangents
    h = jnp.where(_inside(points)[..., None], h, 0.0)

    def level(_, x):
        cells, multipliers, dense, g, *h = x
        corner, place = _cell(points, cells)
        slots = _indices(corner, multipliers, dense, spec)
        values = [
            w[:, None] * g
            + sum((cells * s)[:, None] * k for s, k in zip(slopes, h, strict=True))
            for w, slopes in zip(_weights(place), _weight_slopes(place), strict=True)
        ]
        return None, _scatter(slots, values, spec)

    parts = [_split(h[:, a], spec) for a in range(3)]
    _, d_tables = jax.lax.scan(level, None, (*_levels(spec), _split(g, spec), *parts))
    return d_tables, jnp.zeros_like(points)


_encode_with_slopes.defvjp(_slopes_forward, _slopes_backward)
