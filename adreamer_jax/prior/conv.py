"""The autoencoder's convolutions as a CPU computes them fastest.

The same functions as XLA's, which every other machine keeps. Wide 3x3 convolutions
take two rows of the picture from four sums of rows instead of six products (Winograd's
F(2, 3) along one axis: 12 multiplications for 18), a band of rows at a time so that
the sums stay in the cache. The gradient of a halving convolution is four small
convolutions, one for each parity of row and column, where the usual form multiplies
the zeros that it has put between the pixels.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Float

_BAND = 32  # rows at a time; what they hold fits a cache of the second level or third
_WIDE, _NARROW = 256, 128  # channels on one side and on the other from which it pays
_AXES = ("NHWC", "HWIO", "NHWC")


def same_conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"], *_: Any, **__: Any
) -> Float[Array, "b h w o"]:
    """The 3x3 convolution with one pixel of zeros on every side.

    Further arguments are those of `jax.lax.conv_general_dilated`, which flax passes
    and which are settled here.
    """
    if pays(jax.default_backend(), x.dtype, x.shape, kernel.shape):
        return _by_rows(x, kernel)
    return _conv(x, kernel, ((1, 1), (1, 1)))


def pays(
    backend: str, dtype: Any, shape: tuple[int, ...], kernel: tuple[int, ...]
) -> bool:
    """Whether sums of rows are faster: on a CPU, where a product costs many sums."""
    channels = kernel[2:]
    wide = max(channels) >= _WIDE and min(channels) >= _NARROW
    return backend == "cpu" and dtype == jnp.float32 and wide and shape[1] % _BAND == 0


def halving_conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"], *_: Any, **__: Any
) -> Float[Array, "b h2 w2 o"]:
    """The 3x3 convolution of stride two with zeros on the right and below alone."""
    even = x.shape[1] % 2 == 0 == x.shape[2] % 2
    if jax.default_backend() == "cpu" and even:
        return _halving(x, kernel)
    return _conv(x, kernel, ((0, 1), (0, 1)), stride=2)


def _conv(x: Array, kernel: Array, padding: Any, *, stride: int = 1) -> Array:
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=_AXES
    )


@jax.custom_vjp
def _by_rows(x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]) -> Array:
    """`same_conv` two rows at a time, in bands."""
    batch, height, width, _ = x.shape
    # The zero makes a compiler wait: without it the sums of all kernels and the space
    # of all results are made at the start and lie there until their turn has come.
    zero = 0.0 * x[0, 0, 0, 0]
    first, middle, last = kernel + zero
    half = 0.5 * (first + last)
    kernels = (first, half + 0.5 * middle, half - 0.5 * middle, last)
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    bands = height // _BAND

    def band(index: Array, rows: Array) -> Array:
        start = (index // bands, index % bands * _BAND, 0, 0)
        size = (1, _BAND + 2, *padded.shape[2:])
        found = _two_rows(jax.lax.dynamic_slice(padded, start, size), kernels)
        return jax.lax.dynamic_update_slice(rows, found, (index, 0, 0, 0))

    rows = jnp.full((batch * bands, _BAND, width, kernel.shape[-1]), zero)
    rows = jax.lax.fori_loop(0, batch * bands, band, rows)
    return rows.reshape(batch, height, width, -1)


def _two_rows(
    x: Float[Array, "1 h2 w i"], kernels: tuple[Float[Array, "3 i o"], ...]
) -> Float[Array, "1 h w o"]:
    """Rows 2r and 2r + 1 from rows 2r ... 2r + 3 of a band with a row on each side."""
    count = x.shape[1] // 2 - 1
    a, b, c, d = (x[:, i : i + 2 * count : 2] for i in range(4))
    products = (
        _conv(rows, kernel[None], ((0, 0), (1, 1)))
        for rows, kernel in zip((a - c, b + c, c - b, b - d), kernels, strict=True)
    )
    outer, total, difference, other = products
    pair = outer + total + difference, total - difference - other
    return jnp.stack(pair, axis=2).reshape(1, 2 * count, x.shape[2], -1)


def _by_rows_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _by_rows(x, kernel), (x, kernel)


def _by_rows_backward(saved: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = saved
    _, pull = jax.vjp(lambda k: _conv(x, k, ((1, 1), (1, 1))), kernel)
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    return _by_rows(slope, turned), pull(slope)[0]


_by_rows.defvjp(_by_rows_forward, _by_rows_backward)


@jax.custom_vjp
def _halving(x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]) -> Array:
    return _conv(x, kernel, ((0, 1), (0, 1)), stride=2)


def _halving_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _halving(x, kernel), (x, kernel)


def _halving_backward(saved: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    """Even pixels were read by taps 0 and 2 of two windows, odd ones by tap 1."""
    x, kernel = saved
    _, pull = jax.vjp(lambda k: _conv(x, k, ((0, 1), (0, 1)), stride=2), kernel)
    turned = kernel.swapaxes(2, 3)
    even, odd = slice(None, None, -2), slice(1, 2)

    def phase(row: slice, column: slice) -> Array:
        taps = turned[row, column]
        return _conv(slope, taps, tuple((n - 1, 0) for n in taps.shape[:2]))

    rows = [
        jnp.stack([phase(row, even), phase(row, odd)], axis=3) for row in (even, odd)
    ]
    return jnp.stack(rows, axis=2).reshape(x.shape), pull(slope)[0]


_halving.defvjp(_halving_forward, _halving_backward)
