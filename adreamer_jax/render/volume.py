"""Volume rendering with compaction: only samples near the object are evaluated.

Points along all rays are first asked whether they are occupied, without gradient; the
occupied ones are packed into a static number of slots a frame, and only the slots meet
warp and field. What does not fit is counted as overflow and left out.
Letters: f frames, r rays a frame, s samples a ray, k slots a frame, c channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Bool, Float, Int, Key, Rays


class Slots(NamedTuple):
    """Samples that were kept, packed."""

    place: Int[Array, "f k"]  # among the r * s samples of the frame; r * s if empty
    ray: Int[Array, "f k"]
    valid: Bool[Array, "f k"]
    overflow: Int[Array, ""]  # samples that found no slot
    use: Float[Array, ""]  # largest part of a frame's slots in use


class Rendered(NamedTuple):
    """Sums along rays and what the losses need of the samples."""

    mask: Float[Array, "f r"]
    depth: Float[Array, "f r"]  # expected camera z, times mask
    channels: Float[Array, "f r c"]  # weighted sums: divide by mask for the mean
    weights: Float[Array, "f k"]
    light: Float[Array, "f k"]  # what is left of the light on reaching each slot
    slots: Slots
    extra: Any  # what the scene said of each slot beside density and channels


def stratified(
    rays: Rays,
    *,
    count: int,
    key: Key | None = None,
    jitter: Float[Array, "f r s"] | None = None,
) -> tuple[Float[Array, "f r s"], Float[Array, "f r s"]]:
    """Depths of samples and their spacing, one a bin.

    ``jitter`` is the place in each bin, from 0 to 1; without it one is drawn from
    ``key``, and without that samples lie in the middle.
    """
    width = (rays.far - rays.near) / count
    shape = (*rays.near.shape, count)
    at = 0.5 if key is None else jax.random.uniform(key, shape)
    at = at if jitter is None else jitter
    place = (jnp.arange(count) + at) * jnp.ones(shape)
    depth = rays.near[..., None] + place * width[..., None]
    return depth, jnp.broadcast_to(width[..., None], shape)


def compact(keep: Bool[Array, "f p"], *, capacity: int, samples: int) -> Slots:
    """The places of true entries, packed in order into ``capacity`` slots a frame."""
    points = keep.shape[1]
    place = jnp.cumsum(keep, axis=1) - 1
    target = jnp.where(keep & (place < capacity), place, capacity)
    source = jnp.broadcast_to(jnp.arange(points, dtype=jnp.int32), keep.shape)

    def pack(target, source):
        empty = jnp.full((capacity,), points, jnp.int32)
        return empty.at[target].set(source, mode="drop", unique_indices=False)

    index = jax.vmap(pack)(target, source)
    counts = place[:, -1] + 1
    valid = index < points
    ray = jnp.where(valid, index // samples, 0)
    overflow = jnp.sum(jnp.maximum(counts - capacity, 0))
    return Slots(index, ray, valid, overflow, jnp.max(counts) / capacity)


def light_before(thickness: Float[Array, "*r s"]) -> Float[Array, "*r s"]:
    """Transmittance T_i = exp(-sum of thickness_j, j < i) on reaching each sample."""
    return jnp.exp(-(jnp.cumsum(thickness, axis=-1) - thickness))


def ray_weights(
    thickness: Float[Array, "*r s"],
) -> tuple[Float[Array, "*r s"], Float[Array, "*r"]]:
    """Compositing weights T_i (1 - exp(-thickness_i)) and the transmittance left over.

    ``thickness`` is density times length. Weights and the rest sum to one.
    """
    rest = jnp.exp(-jnp.sum(thickness, axis=-1))
    return light_before(thickness) * -jnp.expm1(-thickness), rest


def render(
    occupied: Callable,
    sample: Callable,
    rays: Rays,
    *,
    count: int,
    capacity: int,
    key: Key | None = None,
    jitter: Float[Array, "f r s"] | None = None,
) -> Rendered:
    """Sums of a scene's channels along rays.

    ``occupied(points [f, p, 3]) -> bool [f, p]`` sees every sample;
    ``sample(points [f, k, 3]) -> (density [f, k], channels [f, k, c], extra)`` the
    packed ones; ``extra`` is handed through.
    """
    frames, num_rays = rays.near.shape
    depth, width = stratified(rays, count=count, key=key, jitter=jitter)
    points = (
        rays.origins[..., None, :] + depth[..., None] * rays.directions[..., None, :]
    )
    points = points.reshape(frames, num_rays * count, 3)
    hit = jnp.broadcast_to((rays.far > rays.near)[..., None], depth.shape)
    keep = occupied(jax.lax.stop_gradient(points)) & hit.reshape(frames, -1)
    slots = compact(keep, capacity=capacity, samples=count)
    packed = jnp.take_along_axis(points, slots.place[..., None], axis=1, mode="clip")
    density, channels, extra = sample(packed)

    # a depth step is longer in space along oblique rays
    length = width * jnp.linalg.norm(rays.directions, axis=-1)[..., None]
    length = length.reshape(frames, -1)
    at = jnp.minimum(slots.place, num_rays * count - 1)
    thickness = density * jnp.take_along_axis(length, at, axis=1)
    thickness = jnp.where(slots.valid, thickness, 0.0)
    dense = jax.vmap(
        lambda i, v: jnp.zeros((num_rays * count,)).at[i].set(v, mode="drop")
    )(slots.place, thickness)
    dense = dense.reshape(frames, num_rays, count)
    weights, rest = ray_weights(dense)

    def packed_of(values: Array) -> Array:
        flat = jnp.take_along_axis(values.reshape(frames, -1), at, axis=1)
        return jnp.where(slots.valid, flat, 0.0)

    packed_weights = packed_of(weights)
    sums = jax.vmap(lambda ray, v: jnp.zeros((num_rays, v.shape[-1])).at[ray].add(v))(
        slots.ray, packed_weights[..., None] * channels
    )
    return Rendered(
        mask=1.0 - rest,
        depth=jnp.sum(weights * depth, axis=-1),
        channels=sums,
        weights=packed_weights,
        light=packed_of(light_before(dense)),
        slots=slots,
        extra=extra,
    )


def importance(
    depth: Float[Array, "*r s"],
    weights: Float[Array, "*r s"],
    *,
    count: int,
    key: Key | None = None,
) -> Float[Array, "*r count"]:
    """Depths drawn from the piecewise constant law of the weights (inverse CDF)."""
    bins = depth.shape[-1]
    pdf = weights + 1e-5
    cdf = jnp.cumsum(pdf, axis=-1) / jnp.sum(pdf, axis=-1, keepdims=True)
    at = 0.5 if key is None else jax.random.uniform(key, (*depth.shape[:-1], count))
    u = (jnp.arange(count) + at) / count * jnp.ones((*depth.shape[:-1], count))

    def one(cdf, depth, u):
        right = jnp.clip(jnp.searchsorted(cdf, u), 0, bins - 1)
        low = jnp.where(right > 0, cdf[right - 1], 0.0)
        part = (u - low) / jnp.maximum(cdf[right] - low, 1e-9)
        step = depth[1] - depth[0]
        return depth[right] + (part - 0.5) * step

    flat = (cdf.reshape(-1, bins), depth.reshape(-1, bins), u.reshape(-1, count))
    return jax.vmap(one)(*flat).reshape(*depth.shape[:-1], count)
