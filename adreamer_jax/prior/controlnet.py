"""ControlNet: a copy of a UNet's encoder that reads a picture and steers the UNet.

Its outputs, one for each skip and one for the middle, pass through 1x1 convolutions
that start at zero and are added to those of the UNet (`unet`, ``residuals``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from adreamer_jax.prior.blocks import conv3, init_network, network_shapes, to_rows
from adreamer_jax.prior.unet_diffusers import (
    Residuals,
    UNetConfig,
    embed_time,
    encode,
    first_conv,
    network_inputs,
    read_unet_config,
)
from adreamer_jax.types import Array, Float, Key, Params


@dataclasses.dataclass(frozen=True)
class ControlNetConfig:
    """The encoder and the stem that reads the picture of condition."""

    encoder: UNetConfig
    stem: tuple[int, ...] = (16, 32, 96, 256)  # every width but the first halves


def read_controlnet_config(config: Mapping[str, Any]) -> ControlNetConfig:
    """Read the ``config.json`` of a ControlNet in diffusers format."""
    order = config.get("controlnet_conditioning_channel_order", "rgb")
    if order != "rgb":
        raise ValueError(
            f"controlnet_conditioning_channel_order must be 'rgb', got {order!r}; "
            "convert the network's first layer"
        )
    stem = tuple(config["conditioning_embedding_out_channels"])
    return ControlNetConfig(read_unet_config(config), stem)


def controlnet(
    config: ControlNetConfig,
    params: Params,
    latents: Float[Array, "b h w c"],
    time: Float[Array, " b"],
    context: Float[Array, "b m e"],
    condition: Float[Array, "b h8 w8 3"],
    *,
    scale: float = 1.0,
    dtype: Any = jnp.float32,
) -> Residuals:
    """Return what the UNet of the same latents is to add, in float32.

    The condition is a picture in [0, 1], eight times the size of the latents with the
    published stem.
    """
    network = ControlNet(config, dtype)
    arrays = latents, to_rows(time, len(latents)), context, condition
    residuals = network.apply({"params": params}, *arrays)
    return jax.tree.map(lambda x: scale * x.astype(jnp.float32), residuals)


def init_controlnet(key: Key, config: ControlNetConfig) -> Params:
    """Draw parameters with which the network adds zero and can be trained."""
    return init_network(key, ControlNet(config), *_inputs(config))


def controlnet_shapes(config: ControlNetConfig) -> Params:
    """Return the shapes that parameters of this configuration must have."""
    return network_shapes(ControlNet(config), *_inputs(config))


def _inputs(config: ControlNetConfig) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the smallest batch that touches every layer."""
    latents, time, context = network_inputs(config.encoder)
    size = latents.shape[1] * 2 ** (len(config.stem) - 1)
    picture = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return latents, time, context, picture


class ControlNet(nn.Module):
    """The network; call it through `controlnet`."""

    config: ControlNetConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latents, time, context, condition):
        """Return the residuals in ``dtype``."""
        config, dtype = self.config.encoder, self.dtype
        embedding = embed_time(config, time, dtype)
        width = config.block_out_channels[0]
        stem = Stem(width, self.config.stem, dtype, name="controlnet_cond_embedding")
        h = first_conv(config, latents, dtype) + stem(condition)
        h, skips = encode(config, 1, dtype, h, embedding, context.astype(dtype))
        down = tuple(
            _silent(skip, f"controlnet_down_blocks_{index}", dtype)
            for index, skip in enumerate(skips)
        )
        return Residuals(down, _silent(h, "controlnet_mid_block", dtype))


def _silent(x: Array, name: str, dtype: Any) -> Array:
    """Pass an output through the 1x1 convolution that training starts from zero."""
    return nn.Conv(x.shape[-1], (1, 1), dtype=dtype, name=name)(x)


class Stem(nn.Module):
    """Convolutions that bring the picture of condition to the size of the latents."""

    channels: int
    widths: tuple[int, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h8 w8 3"]) -> Float[Array, "b h w c"]:
        """Return the features that are added to the first convolution's."""
        x = nn.silu(conv3(self.widths[0], "conv_in", self.dtype)(x.astype(self.dtype)))
        plan = [
            (width, stride)
            for here, there in zip(self.widths, self.widths[1:], strict=False)
            for width, stride in ((here, 1), (there, 2))
        ]
        for index, (width, stride) in enumerate(plan):
            conv = conv3(width, f"blocks_{index}", self.dtype, strides=(stride, stride))
            x = nn.silu(conv(x))
        return conv3(self.channels, "conv_out", self.dtype)(x)
