"""Softmax attention that never holds all logits on a CPU.

Queries are taken a block of one head at a time and every block is recomputed in the
backward pass, so memory grows with one block of logits instead of with tokens squared.
On a GPU in half precision the flash kernel of cuDNN does the same; all else is XLA's.
Letters: b batch, q queries, k keys, h heads, d width of a head.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Float

Implementation = Literal["blocked", "xla", "cudnn"]

_LOGITS = 2**18  # of one head at a time: they stay in the cache of one core
_FEWEST_ROWS = 256  # queries at a time, however many keys: a matmul wants some
_WIDEST_CUDNN_HEAD = 128  # wider heads need a Hopper chip


def attention(
    query: Float[Array, "b q h d"],
    key: Float[Array, "b k h d"],
    value: Float[Array, "b k h d"],
    *,
    implementation: Implementation | None = None,
) -> Float[Array, "b q h d"]:
    """Return softmax(query key^T / sqrt(d)) value for every head.

    ``None`` chooses by machine, type and width, as `choose` says.
    """
    if implementation is None:
        implementation = choose(jax.default_backend(), query.dtype, query.shape[-1])
    if implementation == "blocked":
        return _blocked(query, key, value)
    return jax.nn.dot_product_attention(
        query, key, value, implementation=implementation
    )


def choose(backend: str, dtype: jnp.dtype, width: int) -> Implementation:
    """Name the implementation for one kind of machine.

    cuDNN takes half precision and heads of a multiple of 8, up to 128 wide: the 160
    wide heads of SD 1.5 and everything in float32 stay with XLA.
    """
    if backend == "cpu":
        return "blocked"
    half = dtype in (jnp.bfloat16, jnp.float16)
    fits = width % 8 == 0 and width <= _WIDEST_CUDNN_HEAD
    return "cudnn" if backend == "gpu" and half and fits else "xla"


def _blocked(query: Array, key: Array, value: Array) -> Array:
    """Attention over blocks of queries, whole only where that is small."""
    batch, queries, heads, width = query.shape
    query, key, value = (
        jnp.swapaxes(x, 1, 2).reshape(batch * heads, -1, width)
        for x in (query * width**-0.5, key, value)
    )
    rows = max(_FEWEST_ROWS, _LOGITS // key.shape[1])
    if queries <= rows:
        mixed = _attend(query, key, value)
    else:
        mixed = _map_blocks(query, key, value, rows)
    return jnp.swapaxes(mixed.reshape(batch, heads, queries, width), 1, 2)


def _map_blocks(query: Array, key: Array, value: Array, rows: int) -> Array:
    """Run `_attend` on one block of one head after the other; the last is padded."""
    items, queries, width = query.shape
    count = -(-queries // rows)
    query = jnp.pad(query, ((0, 0), (0, count * rows - queries), (0, 0)))

    def head(arrays: tuple[Array, Array, Array]) -> Array:
        blocks, key, value = arrays
        return jax.lax.map(jax.checkpoint(lambda q: _attend(q, key, value)), blocks)

    blocks = query.reshape(items, count, rows, width)
    mixed = jax.lax.map(head, (blocks, key, value))
    return mixed.reshape(items, count * rows, width)[:, :queries]


def _attend(
    query: Float[Array, "*b q d"], key: Float[Array, "*b k d"], value: Array
) -> Float[Array, "*b q d"]:
    """Plain attention of scaled queries, with the softmax in float32."""
    logits = jnp.einsum(
        "...qd,...kd->...qk", query, key, preferred_element_type=jnp.float32
    )
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    mixed = jnp.einsum(
        "...qk,...kd->...qd",
        weights.astype(value.dtype),
        value,
        preferred_element_type=jnp.float32,  # the sum of 4096 values overflows float16
    )
    # Dividing after the second product saves a pass over the logits.
    return (mixed / weights.sum(-1, keepdims=True)).astype(value.dtype)
