"""Layers along the frames of a clip, for the text-to-video UNet.

Frames are folded into the batch, the frame index running fastest; each layer unfolds
them, works along that axis alone at every pixel, and folds them again. Both kinds end
in a residual: with zeros in their last layer they leave the pictures as they are.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from adreamer_jax.prior.blocks import (
    RESNET_EPS,
    TRANSFORMER_EPS,
    GroupNorm,
    TransformerBlock,
)
from adreamer_jax.types import Array, Float


class FrameConv(nn.Module):
    """A convolution over three neighboring frames, zeros beyond the ends."""

    channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b f n c"]) -> Float[Array, "b f n o"]:
        """Return the pictures after the convolution."""
        shape = (3, 1, 1, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        # The pixels are one axis here, so the kernel of a 3D file loses one of its own.
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel[:, :, 0].astype(self.dtype),
            window_strides=(1, 1),
            padding=((1, 1), (0, 0)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return x + bias.astype(self.dtype)


class TemporalConvs(nn.Module):
    """Four normalized convolutions along the frames, and a skip around them all."""

    frames: int
    groups: int = 32
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "bf h w c"]) -> Float[Array, "bf h w c"]:
        """Return the pictures, each having read its neighbors in time."""
        channels = x.shape[-1]
        h = x.reshape(-1, self.frames, x.shape[1] * x.shape[2], channels)
        # The first of torch's four has no dropout, hence the other number.
        for norm, conv in (
            ("conv1_0", "conv1_2"),
            ("conv2_0", "conv2_3"),
            ("conv3_0", "conv3_3"),
            ("conv4_0", "conv4_3"),
        ):
            h = GroupNorm(self.groups, RESNET_EPS, self.dtype, name=norm)(h)
            h = FrameConv(channels, self.dtype, name=conv)(nn.silu(h))
        return x + h.reshape(x.shape)


class TemporalTransformer(nn.Module):
    """A transformer whose tokens are the frames at one pixel.

    ``inner`` is the width of the tokens. The norm sees all frames at once. Where the
    2D block reads its text, this one attends to the frames a second time.
    """

    frames: int
    heads: int
    groups: int
    inner: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "bf h w c"]) -> Float[Array, "bf h w c"]:
        """Return the pictures, each having read all frames."""
        bf, height, width, channels = x.shape
        h = x.reshape(bf // self.frames, self.frames, height * width, channels)
        h = GroupNorm(self.groups, TRANSFORMER_EPS, self.dtype, name="norm")(h)
        h = h.swapaxes(1, 2).reshape(-1, self.frames, channels)
        h = nn.Dense(self.inner, dtype=self.dtype, name="proj_in")(h)
        block = TransformerBlock(
            self.heads, dtype=self.dtype, name="transformer_blocks_0"
        )
        h = block(h, None)
        h = nn.Dense(channels, dtype=self.dtype, name="proj_out")(h)
        h = h.reshape(-1, height * width, self.frames, channels)
        return x + h.swapaxes(1, 2).reshape(x.shape)
