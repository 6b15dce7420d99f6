"""Dense networks as plain lists of {weight, bias}: an init and a function."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from adreamer_jax.types import Array, Float, Key, Params


def init_mlp(key: Key, sizes: Sequence[int], *, last_scale: float = 1.0) -> Params:
    """Layers of He-initialized weights and zero biases for the given widths.

    ``last_scale`` multiplies the last layer: small values start the network near zero.
    """
    keys = jax.random.split(key, len(sizes) - 1)
    layers = []
    for i, (k, fan_in, fan_out) in enumerate(
        zip(keys, sizes[:-1], sizes[1:], strict=True)
    ):
        scale = (2.0 / fan_in) ** 0.5 * (last_scale if i == len(sizes) - 2 else 1.0)
        layers.append(
            {
                "weight": scale * jax.random.normal(k, (fan_in, fan_out)),
                "bias": jnp.zeros((fan_out,)),
            }
        )
    return layers


def mlp(
    layers: Params,
    x: Float[Array, "*b i"],
    *,
    activation: Callable = jax.nn.relu,
    skip: int | None = None,
) -> Float[Array, "*b o"]:
    """Output of the network; the input is joined again before hidden layer ``skip``."""
    h = x
    for i, layer in enumerate(layers):
        if skip is not None and i == skip:
            h = jnp.concatenate([x, h], axis=-1)
        h = h @ layer["weight"] + layer["bias"]
        if i < len(layers) - 1:
            h = activation(h)
    return h


def init_skip_mlp(
    key: Key, inputs: int, width: int, depth: int, outputs: int, *, skip: int
) -> Params:
    """Like `init_mlp`, with the input joined again before hidden layer ``skip``."""
    layers = init_mlp(key, [inputs, *[width] * depth, outputs])
    fan_in = inputs + width
    layers[skip]["weight"] = (2.0 / fan_in) ** 0.5 * jax.random.normal(
        jax.random.fold_in(key, skip), (fan_in, layers[skip]["bias"].shape[0])
    )
    return layers
