"""Whole images in chunks of rays, with memory that depends on the chunk only.

`map_chunks` renders without gradient. `deferred_gradient` is deferred back-propagation
(ARF, Zhang et al. 2022): given the gradient on the finished image it renders every
chunk again and pulls the gradient through it, adding up in a scan, so that an image of
any size costs the memory of one chunk. Both must be given the same randomness a ray.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Params


def interleaved(values: Array, *, chunk: int, mode: str = "edge") -> Array:
    """Values in the order of chunks that each hold every so-manyth one, padded.

    Neighbors of a picture lie in different chunks, so that all chunks see about as
    much of the object. ``mode`` is how the last chunk is filled: "edge" or "constant".
    """
    count = -(-values.shape[0] // chunk)
    pad = [(0, count * chunk - values.shape[0])] + [(0, 0)] * (values.ndim - 1)
    filled = jnp.pad(values, pad, mode=mode)
    spread = filled.reshape(chunk, count, *values.shape[1:])
    return jnp.swapaxes(spread, 0, 1).reshape(filled.shape)


def in_order(values: Array, *, chunk: int, total: int) -> Array:
    """The inverse of `interleaved`, for the first ``total`` values."""
    spread = values.reshape(-1, chunk, *values.shape[1:])
    return jnp.swapaxes(spread, 0, 1).reshape(values.shape)[:total]


def _chunks(tree, size: int, total: int):
    """Leading axis padded (by repeating the last entry) and split into chunks."""
    count = -(-total // size)

    def cut(x):
        pad = [(0, count * size - total)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, pad, mode="edge").reshape(count, size, *x.shape[1:])

    return jax.tree.map(cut, tree)


def _total(tree) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def map_chunks(render: Callable, rays, *, chunk: int):
    """Results of ``render(chunk of rays)`` for all rays; leading axes are rays."""
    total = _total(rays)
    parts = jax.lax.map(render, _chunks(rays, chunk, total))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:total], parts)


def deferred_gradient(
    render: Callable, params: Params, rays, cotangent, *, chunk: int
) -> Params:
    """Gradient of sum(cotangent * image) in params, chunk by chunk.

    ``render(params, chunk of rays)`` returns a tree like ``cotangent``. Equal to the
    direct gradient up to rounding.
    """
    total = _total(rays)

    def padded(x):  # repeated rays must not count: their cotangent is zero
        pad = [(0, -total % chunk)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, pad).reshape(-1, chunk, *x.shape[1:])

    def add(gradient, part):
        rays, cotangent = part
        _, pull = jax.vjp(lambda p: render(p, rays), params)
        (extra,) = pull(cotangent)
        return jax.tree.map(jnp.add, gradient, extra), None

    zero = jax.tree.map(jnp.zeros_like, params)
    parts = (_chunks(rays, chunk, total), jax.tree.map(padded, cotangent))
    gradient, _ = jax.lax.scan(add, zero, parts)
    return gradient
