"""The autoencoder of latent diffusion: an eighth of the pixels a side, four channels.

Images go in and come out in [0, 1]; the network's own range [-1, 1] and the latent
scale stay inside. Letters: a level halves the picture, ``mid`` is the deepest one.
Downsampling pads right and bottom only, and every norm has epsilon 1e-6, both unlike
the UNets.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from adreamer_jax.prior.attention import attention
from adreamer_jax.prior.blocks import (
    GroupNorm,
    Upsample,
    as_tokens,
    conv3,
    init_network,
    network_shapes,
)
from adreamer_jax.prior.conv import halving_conv, same_conv
from adreamer_jax.types import Array, Float, Key, Params


@dataclasses.dataclass(frozen=True)
class VaeConfig:
    """Sizes of an AutoencoderKL, named as in its config.json."""

    in_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215


def vae_config(config: Mapping[str, Any]) -> VaeConfig:
    """The sizes that a published config.json states."""
    names = [field.name for field in dataclasses.fields(VaeConfig)]
    known = {name: config[name] for name in names if name in config}
    known["block_out_channels"] = tuple(config["block_out_channels"])
    return VaeConfig(**known)


def ldm_vae_config(settings: Mapping[str, Any]) -> VaeConfig:
    """The sizes in an original (ldm) config; Stable Diffusion's where it says none."""
    if "ddconfig" not in settings:
        return VaeConfig()
    sizes = settings["ddconfig"]
    return VaeConfig(
        in_channels=sizes["in_channels"],
        latent_channels=settings["embed_dim"],
        block_out_channels=tuple(sizes["ch"] * m for m in sizes["ch_mult"]),
        layers_per_block=sizes["num_res_blocks"],
        scaling_factor=settings.get("scale_factor", VaeConfig.scaling_factor),
    )


_EPS = 1e-6


class _NormSilu(GroupNorm):
    """A norm and the SiLU after it, computed again in the backward pass.

    Both cost little beside the convolutions, and only the norm's input is kept: half of
    what a gradient by the picture would hold otherwise.
    """

    def __call__(self, x):
        return nn.silu(super().__call__(x))


def _norm_silu(groups: int, dtype: Any, name: str) -> nn.Module:
    return nn.remat(_NormSilu)(groups, _EPS, dtype, name=name)


def _conv3(channels: int, name: str, dtype: Any) -> nn.Conv:
    return conv3(channels, name, dtype, conv_general_dilated=same_conv)


class _ResBlock(nn.Module):
    channels: int
    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        dtype = self.dtype
        h = _norm_silu(self.groups, dtype, "norm1")(x)
        h = _conv3(self.channels, "conv1", dtype)(h)
        h = _norm_silu(self.groups, dtype, "norm2")(h)
        h = _conv3(self.channels, "conv2", dtype)(h)
        if x.shape[-1] != self.channels:
            x = nn.Conv(self.channels, (1, 1), dtype=dtype, name="conv_shortcut")(x)
        return x + h


class _Attention(nn.Module):
    """One head over all pixels of the deepest level."""

    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        def dense(name):
            return nn.Dense(x.shape[-1], dtype=self.dtype, name=name)

        tokens = GroupNorm(self.groups, _EPS, self.dtype, name="group_norm")(x)
        tokens = as_tokens(tokens)[:, :, None]
        query, key, value = (dense(name)(tokens) for name in ("to_q", "to_k", "to_v"))
        seen = attention(query, key, value)
        return x + dense("to_out_0")(seen).reshape(x.shape)


class _Middle(nn.Module):
    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        x = _ResBlock(x.shape[-1], self.groups, self.dtype, name="resnets_0")(x)
        x = _Attention(self.groups, self.dtype, name="attentions_0")(x)
        return _ResBlock(x.shape[-1], self.groups, self.dtype, name="resnets_1")(x)


class _Halve(nn.Module):
    """A convolution of stride two, padded on the right and below alone."""

    dtype: Any

    @nn.compact
    def __call__(self, x):
        return nn.Conv(
            x.shape[-1],
            (3, 3),
            strides=2,
            padding=((0, 1), (0, 1)),
            dtype=self.dtype,
            conv_general_dilated=halving_conv,
            name="conv",
        )(x)


class _Level(nn.Module):
    channels: int
    depth: int
    groups: int
    dtype: Any
    sampler: str = ""  # "down", "up" or neither

    @nn.compact
    def __call__(self, x):
        for i in range(self.depth):
            name = f"resnets_{i}"
            x = _ResBlock(self.channels, self.groups, self.dtype, name=name)(x)
        if self.sampler == "down":
            x = _Halve(self.dtype, name="downsamplers_0")(x)
        if self.sampler == "up":
            x = Upsample(self.dtype, name="upsamplers_0")(x)
        return x


class _Encoder(nn.Module):
    config: VaeConfig
    dtype: Any

    @nn.compact
    def __call__(self, x):
        config, dtype = self.config, self.dtype
        groups, last = config.norm_num_groups, len(config.block_out_channels) - 1
        x = conv3(config.block_out_channels[0], "conv_in", dtype)(x)
        for i, channels in enumerate(config.block_out_channels):
            x = _Level(
                channels,
                config.layers_per_block,
                groups,
                dtype,
                sampler="down" if i < last else "",
                name=f"down_blocks_{i}",
            )(x)
        x = _Middle(groups, dtype, name="mid_block")(x)
        x = _norm_silu(groups, dtype, "conv_norm_out")(x)
        return conv3(2 * config.latent_channels, "conv_out", dtype)(x)


class _Decoder(nn.Module):
    config: VaeConfig
    dtype: Any

    @nn.compact
    def __call__(self, x):
        config, dtype = self.config, self.dtype
        groups, last = config.norm_num_groups, len(config.block_out_channels) - 1
        x = conv3(config.block_out_channels[-1], "conv_in", dtype)(x)
        x = _Middle(groups, dtype, name="mid_block")(x)
        for i, channels in enumerate(reversed(config.block_out_channels)):
            x = _Level(
                channels,
                config.layers_per_block + 1,
                groups,
                dtype,
                sampler="up" if i < last else "",
                name=f"up_blocks_{i}",
            )(x)
        x = _norm_silu(groups, dtype, "conv_norm_out")(x)
        return conv3(config.in_channels, "conv_out", dtype)(x)


class Autoencoder(nn.Module):
    """AutoencoderKL: moments of a latent from an image, and an image from a latent.

    In the network's own ranges: images in [-1, 1], latents not scaled.
    """

    config: VaeConfig
    dtype: Any = jnp.float32

    def setup(self):
        """Name the parts as the published files do."""
        channels, dtype = self.config.latent_channels, self.dtype
        self.encoder = _Encoder(self.config, dtype)
        self.decoder = _Decoder(self.config, dtype)
        self.quant_conv = nn.Conv(2 * channels, (1, 1), dtype=dtype)
        self.post_quant_conv = nn.Conv(channels, (1, 1), dtype=dtype)

    def moments(self, image: Array) -> tuple[Array, Array]:
        """Mean and log-variance of the posterior."""
        mean, log_variance = jnp.split(self.quant_conv(self.encoder(image)), 2, axis=-1)
        return mean, jnp.clip(log_variance, -30.0, 20.0)

    def picture(self, latent: Array) -> Array:
        """The image of a latent."""
        return self.decoder(self.post_quant_conv(latent))

    def __call__(self, image: Array) -> Array:
        """The image through the bottleneck: touches every parameter once."""
        return self.picture(self.moments(image)[0])


def vae_shapes(config: VaeConfig) -> Params:
    """Shapes of all parameters, for checking a file against its config."""
    return network_shapes(Autoencoder(config), *_smallest(config))


def init_vae(key: Key, config: VaeConfig) -> Params:
    """Random parameters, for tests and tiny priors."""
    return init_network(key, Autoencoder(config), *_smallest(config))


def _smallest(config: VaeConfig) -> tuple[jax.ShapeDtypeStruct]:
    side = 2 ** len(config.block_out_channels)
    shape = (1, side, side, config.in_channels)
    return (jax.ShapeDtypeStruct(shape, jnp.float32),)


def vae_moments(
    config: VaeConfig,
    params: Params,
    image: Float[Array, "b h w 3"],
    *,
    dtype: Any = jnp.float32,
) -> tuple[Float[Array, "b lh lw c"], Float[Array, "b lh lw c"]]:
    """Mean and log-variance of the unscaled latent of an image in [0, 1]."""
    network = Autoencoder(config, dtype)
    moments: Any = network.apply(
        {"params": params}, 2.0 * image - 1.0, method="moments"
    )
    mean, log_variance = moments
    return mean.astype(jnp.float32), log_variance.astype(jnp.float32)


def vae_encode(
    config: VaeConfig,
    params: Params,
    image: Float[Array, "b h w 3"],
    *,
    noise: Float[Array, "b lh lw c"] | None = None,
    dtype: Any = jnp.float32,
) -> Float[Array, "b lh lw c"]:
    """The scaled latent of an image in [0, 1]: its mean, or a draw by ``noise``."""
    latent, log_variance = vae_moments(config, params, image, dtype=dtype)
    if noise is not None:
        latent = latent + jnp.exp(0.5 * log_variance) * noise
    return config.scaling_factor * latent


def vae_decode(
    config: VaeConfig,
    params: Params,
    latent: Float[Array, "b lh lw c"],
    *,
    dtype: Any = jnp.float32,
) -> Float[Array, "b h w 3"]:
    """The image, about [0, 1] and not clipped, of a scaled latent."""
    network = Autoencoder(config, dtype)
    x = latent / config.scaling_factor
    image: Any = network.apply({"params": params}, x, method="picture")
    return 0.5 * image.astype(jnp.float32) + 0.5


_OLD_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
_LDM_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


def vae_names(flat: Mapping[str, np.ndarray], *, levels: int) -> dict[str, np.ndarray]:
    """The same tensors under the present names, whichever of three layouts came in.

    Old published files call the attention's layers query, key, value and proj_attn;
    the original (ldm) files count the decoder's levels from the other end and keep
    the attention's matrices as 1x1 convolutions.
    """
    named = {_current_name(key, levels): value for key, value in flat.items()}
    return {
        key: value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
        for key, value in named.items()
    }


def _current_name(key: str, levels: int) -> str:
    """The diffusers name of one tensor."""
    old = re.sub(
        r"(attentions\.0\.)(query|key|value|proj_attn)\.",
        lambda m: f"{m[1]}{_OLD_ATTENTION[m[2]]}.",
        key,
    )
    steps = (
        (r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets."),
        (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
        (
            r"\.up\.(\d+)\.block\.",
            lambda m: f".up_blocks.{levels - 1 - int(m[1])}.resnets.",
        ),
        (
            r"\.up\.(\d+)\.upsample\.",
            lambda m: f".up_blocks.{levels - 1 - int(m[1])}.upsamplers.0.",
        ),
        (r"\.mid\.block_(\d)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}."),
        (
            r"\.mid\.attn_1\.(\w+)\.",
            lambda m: f".mid_block.attentions.0.{_LDM_ATTENTION[m[1]]}.",
        ),
        (r"coder\.norm_out\.", "coder.conv_norm_out."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
    )
    for pattern, replacement in steps:
        old = re.sub(pattern, replacement, old)
    return old
