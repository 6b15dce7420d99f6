"""Softmax attention that never holds all logits on a CPU.

Queries are taken a block at a time and every block is recomputed in the backward pass,
so memory grows with one block of logits instead of with tokens squared. On a GPU in
half precision the flash kernel of cuDNN does the same; everything else is plain XLA.
Letters: b batch, q queries, k keys, h heads, d width of a head.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Float

Implementation = Literal["blocked", "xla", "cudnn"]

_BLOCK = 128  # queries at a time: their logits stay in the cache of one core
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
    """Attention over blocks of queries, laid out so that each product is a matmul."""
    batch, queries, heads, width = query.shape
    query, key, value = (
        jnp.swapaxes(x, 1, 2).reshape(batch * heads, -1, width)
        for x in (query * width**-0.5, key, value)
    )
    if queries <= _BLOCK:
        mixed = _attend(query, key, value)
    else:
        mixed = _map_blocks(query, key, value)
    return jnp.swapaxes(mixed.reshape(batch, heads, queries, width), 1, 2)


def _map_blocks(query: Array, key: Array, value: Array) -> Array:
    """Run `_attend` on every block; queries are padded to whole blocks."""
    queries = query.shape[1]
    count = -(-queries // _BLOCK)
    query = jnp.pad(query, ((0, 0), (0, count * _BLOCK - queries), (0, 0)))
    blocks = query.reshape(query.shape[0], count, _BLOCK, -1).swapaxes(0, 1)
    mixed = jax.lax.map(jax.checkpoint(lambda q: _attend(q, key, value)), blocks)
    return mixed.swapaxes(0, 1).reshape(query.shape)[:, :queries]


def _attend(query: Array, key: Array, value: Array) -> Array:
    """Plain attention of scaled queries, with the softmax in float32."""
    logits = jnp.einsum("bqd,bkd->bqk", query, key, preferred_element_type=jnp.float32)
    # Dividing after the second product saves a pass over the logits.
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    mixed = jnp.einsum("bqk,bkd->bqd", weights.astype(value.dtype), value)
    return mixed / weights.sum(-1, keepdims=True).astype(value.dtype)
