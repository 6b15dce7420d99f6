"""One function on one device or on several: who draws what, and whose sums are whose.

A function that may run as one of several is given the name of the devices' ``axis``
(None: alone). Draws are made whole, from one key, and every device keeps its own rows,
so a number depends on the key and its place in the batch, never on how many devices
there are. Losses follow one rule: their mean over the devices is the loss of the whole.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from adreamer_jax.types import Array, Float, Int, Params


def num_shares(axis: str | None) -> int:
    """How many devices work on the batch."""
    return 1 if axis is None else jax.lax.axis_size(axis)


def my_share(axis: str | None) -> Int[Array, ""] | int:
    """The number of this device among them."""
    return 0 if axis is None else jax.lax.axis_index(axis)


def own_rows(whole: Array, axis: str | None) -> Array:
    """This device's part of the leading axis."""
    if axis is None:
        return whole
    size = whole.shape[0] // num_shares(axis)
    return jax.lax.dynamic_slice_in_dim(whole, my_share(axis) * size, size)


def all_rows(rows: Array, axis: str | None) -> Array:
    """The rows of all devices, in the order of the whole batch."""
    return rows if axis is None else jax.lax.all_gather(rows, axis, tiled=True)


def mean_total(value: Float[Array, ""], axis: str | None) -> Float[Array, ""]:
    """A constant's mean over the devices: what a ratio must be divided by.

    No gradient goes through: the value may only depend on data and stopped numbers.
    """
    value = jax.lax.stop_gradient(value)
    return value if axis is None else jnp.asarray(jax.lax.pmean(value, axis))


def mean_tree(tree: Params, axis: str | None) -> Params:
    """The mean over the devices of all leaves, by one reduction of one vector."""
    if axis is None:
        return tree
    vector, back = ravel_pytree(tree)
    return back(jax.lax.pmean(vector, axis))
