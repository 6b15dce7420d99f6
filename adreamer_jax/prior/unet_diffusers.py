"""The UNet in the layout of diffusers: SD 2.1, SD 1.5, Zero123 and video.

A stack of down blocks, a middle and a stack of up blocks that reads the down blocks'
outputs in reverse. With ``temporal`` every layer is followed by one along the frames
of a clip (ModelScope's text-to-video network), which are neighbors in the batch. The
residuals of a ControlNet (`controlnet.py`) are added to what the up blocks read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from adreamer_jax.prior.blocks import (
    DIFFUSERS,
    Downsample,
    GroupNorm,
    Resnet,
    TimeMlp,
    Transformer,
    Upsample,
    conv3,
    init_network,
    network_shapes,
    sinusoid,
    to_rows,
)
from adreamer_jax.prior.temporal import TemporalConvs, TemporalTransformer
from adreamer_jax.types import Array, Float, Key, Params

IN_HEADS = 8  # heads of the transformer over frames that follows conv_in

# Options of the published classes that these networks do not have: their only values.
_FIXED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None,),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "global_pool_conditions": (False,),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "num_attention_heads": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": (None,),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
}


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """The sizes of one network; the defaults are those of SD 2.1."""

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attends: tuple[bool, ...] = (True, True, True, False)  # levels, from the finest
    heads: tuple[int, ...] = (5, 10, 20, 20)
    depth: int = 1  # transformer blocks in a stack
    cross_attention_dim: int = 1024
    linear_projection: bool = True
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    temporal: bool = False
    frame_head_dim: int = 64  # width of a head of the first transformer over frames


class Residuals(NamedTuple):
    """What a ControlNet adds to a UNet's skips and to its middle."""

    down: tuple[Float[Array, "b h w c"], ...]
    middle: Float[Array, "b h w c"]


def read_unet_config(config: Mapping[str, Any]) -> UNetConfig:
    """Read the ``config.json`` of a 2D, 3D or control network in diffusers format."""
    for name, allowed in _FIXED.items():
        if config.get(name, allowed[0]) not in allowed:
            raise ValueError(
                f"{name} of a UNet must be {allowed[0]!r}, got {config[name]!r}; "
                "this network has no such option"
            )
    channels = tuple(config["block_out_channels"])
    attends = tuple(name.startswith("CrossAttn") for name in config["down_block_types"])
    _check_blocks(config, attends)
    temporal = all(name.endswith("3D") for name in config["down_block_types"])
    return UNetConfig(
        in_channels=config["in_channels"],
        out_channels=config.get("out_channels", 4),
        block_out_channels=channels,
        layers_per_block=config["layers_per_block"],
        attends=attends,
        heads=_heads(config["attention_head_dim"], channels, temporal),
        depth=config.get("transformer_layers_per_block", 1),
        cross_attention_dim=config["cross_attention_dim"],
        linear_projection=temporal or config.get("use_linear_projection", False),
        norm_num_groups=config["norm_num_groups"],
        norm_eps=config["norm_eps"],
        temporal=temporal,
        frame_head_dim=config["attention_head_dim"] if temporal else 0,
    )


def _check_blocks(config: Mapping[str, Any], attends: tuple[bool, ...]) -> None:
    """Refuse kinds of blocks that are not built here."""
    known = {
        f"{cross}{way}Block{kind}"
        for cross in ("CrossAttn", "")
        for way in ("Down", "Up")
        for kind in ("2D", "3D")
    }
    up = config.get("up_block_types")
    names = [*config["down_block_types"], *(up or ())]
    for name in names:
        if name not in known:
            raise ValueError(
                f"block types of a UNet must be among {sorted(known)}, got {name!r}; "
                "other networks are not supported"
            )
    if up and attends[::-1] != tuple(name.startswith("CrossAttn") for name in up):
        raise ValueError(
            "up_block_types must attend at the levels of down_block_types, got "
            f"{names}; other networks are not supported"
        )


def _heads(
    number: int | Sequence[int], channels: tuple[int, ...], temporal: bool
) -> tuple[int, ...]:
    """Heads of every level.

    ``attention_head_dim`` counts heads in the 2D class, whatever its name says, and is
    the width of a head in the 3D class.
    """
    numbers = (number,) * len(channels) if isinstance(number, int) else tuple(number)
    if not temporal:
        return numbers
    return tuple(c // width for c, width in zip(channels, numbers, strict=True))


def unet(
    config: UNetConfig,
    params: Params,
    latents: Float[Array, "b *f h w c"],
    time: Float[Array, " b"],
    context: Float[Array, "b m e"],
    *,
    residuals: Residuals | None = None,
    dtype: Any = jnp.float32,
) -> Float[Array, "b *f h w o"]:
    """Return the network's prediction in float32.

    A temporal network takes clips, [b, f, h, w, c], with one time and one context for
    all frames of a clip. Zero123 takes the noisy latents first and the latents of its
    condition behind them, along the channels.
    """
    frames = latents.shape[1] if config.temporal else 1
    shape = latents.shape
    latents = latents.reshape(-1, *shape[-3:])
    time = jnp.repeat(to_rows(time, shape[0]), frames, axis=0)
    context = jnp.repeat(context, frames, axis=0)
    network = UNet(config, frames, dtype)
    out = network.apply({"params": params}, latents, time, context, residuals)
    return jnp.asarray(out, jnp.float32).reshape(*shape[:-1], -1)


def init_unet(key: Key, config: UNetConfig) -> Params:
    """Draw parameters with which the network predicts zero and can be trained."""
    return init_network(key, UNet(config), *network_inputs(config))


def unet_shapes(config: UNetConfig) -> Params:
    """Return the shapes that parameters of this configuration must have."""
    return network_shapes(UNet(config), *network_inputs(config))


def network_inputs(config: UNetConfig) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the smallest batch that touches every layer."""
    size = 2 ** len(config.block_out_channels)
    shapes = (
        (1, size, size, config.in_channels),
        (1,),
        (1, 1, config.cross_attention_dim),
    )
    return tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)


class UNet(nn.Module):
    """The network; call it through `unet`."""

    config: UNetConfig
    frames: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latents, time, context, residuals=None):
        """Return the prediction in ``dtype``."""
        config, build = self.config, (self.config, self.frames, self.dtype)
        context = context.astype(self.dtype)
        embedding = embed_time(config, time, self.dtype)
        h = first_conv(config, latents, self.dtype)
        h, skips = encode(*build, h, embedding, context)
        if residuals is not None:
            h = h + residuals.middle.astype(h.dtype)
            added = [x.astype(h.dtype) for x in residuals.down]
            skips = [skip + x for skip, x in zip(skips, added, strict=True)]
        for index, level in enumerate(reversed(range(len(config.heads)))):
            block = UpBlock(*build, level, name=f"up_blocks_{index}")
            h, skips = block(h, skips, embedding, context)
        groups, epsilon = config.norm_num_groups, config.norm_eps
        h = GroupNorm(groups, epsilon, self.dtype, name="conv_norm_out")(h)
        return conv3(config.out_channels, "conv_out", self.dtype)(nn.silu(h))


# The functions below build layers in whatever module calls them: the encoder half is
# the same, name for name, in a UNet and in a ControlNet.


def embed_time(config: UNetConfig, time: Float[Array, " b"], dtype: Any) -> Array:
    """Embed the diffusion time: computed in float32, handed on in ``dtype``."""
    width = config.block_out_channels[0]
    mlp = TimeMlp(4 * width, name="time_embedding")
    return mlp(sinusoid(time, width)).astype(dtype)


def first_conv(config: UNetConfig, latents: Array, dtype: Any) -> Array:
    """Lift the latents to the width of the first level."""
    width = config.block_out_channels[0]
    return conv3(width, "conv_in", dtype)(latents.astype(dtype))


def encode(
    config: UNetConfig,
    frames: int,
    dtype: Any,
    h: Float[Array, "b h w c"],
    embedding: Float[Array, "b e"],
    context: Float[Array, "b m k"],
) -> tuple[Array, list[Array]]:
    """Run the down blocks and the middle; return its output and the skips."""
    if config.temporal:
        inner = IN_HEADS * config.frame_head_dim
        groups = config.norm_num_groups
        h = TemporalTransformer(
            frames, IN_HEADS, groups, inner, dtype, name="transformer_in"
        )(h)
    skips = [h]
    for level in range(len(config.heads)):
        block = DownBlock(config, frames, dtype, level, name=f"down_blocks_{level}")
        h, new = block(h, embedding, context)
        skips = [*skips, *new]
    return MidBlock(config, frames, dtype, name="mid_block")(
        h, embedding, context
    ), skips


class DownBlock(nn.Module):
    """The layers of one level on the way down, and the step to the next."""

    config: UNetConfig
    frames: int
    dtype: Any
    level: int

    @nn.compact
    def __call__(
        self, h: Array, embedding: Array, context: Array
    ) -> tuple[Array, list[Array]]:
        """Return the picture and what the up blocks will read."""
        config, skips = self.config, []
        make = _Layers(config, self.frames, self.dtype, self.level)
        for index in range(config.layers_per_block):
            h = make.resnet(index, h, embedding)
            if config.attends[self.level]:
                h = make.attention(index, h, context)
            skips.append(h)
        if self.level < len(config.heads) - 1:
            h = Downsample("conv", self.dtype, name="downsamplers_0")(h)
            skips.append(h)
        return h, skips


class MidBlock(nn.Module):
    """Attention between two resnets, at the coarsest level."""

    config: UNetConfig
    frames: int
    dtype: Any

    @nn.compact
    def __call__(self, h: Array, embedding: Array, context: Array) -> Array:
        """Return the picture at the turning point."""
        make = _Layers(self.config, self.frames, self.dtype, len(self.config.heads) - 1)
        h = make.resnet(0, h, embedding)
        h = make.attention(0, h, context)
        return make.resnet(1, h, embedding)


class UpBlock(nn.Module):
    """The layers of one level on the way up, one more than on the way down."""

    config: UNetConfig
    frames: int
    dtype: Any
    level: int

    @nn.compact
    def __call__(
        self, h: Array, skips: list[Array], embedding: Array, context: Array
    ) -> tuple[Array, list[Array]]:
        """Return the picture and the skips that are left."""
        config = self.config
        make = _Layers(config, self.frames, self.dtype, self.level)
        for index in range(config.layers_per_block + 1):
            *skips, skip = skips
            h = make.resnet(index, jnp.concatenate([h, skip], axis=-1), embedding)
            if config.attends[self.level]:
                h = make.attention(index, h, context)
        if self.level:
            h = Upsample(self.dtype, name="upsamplers_0")(h)
        return h, skips


class _Layers(NamedTuple):
    """Makes the numbered layers of one block, in the module that is being called."""

    config: UNetConfig
    frames: int
    dtype: Any
    level: int

    def resnet(self, index: int, h: Array, embedding: Array) -> Array:
        config, groups = self.config, self.config.norm_num_groups
        channels = config.block_out_channels[self.level]
        h = Resnet(
            channels,
            DIFFUSERS,
            groups,
            config.norm_eps,
            self.dtype,
            name=f"resnets_{index}",
        )(h, embedding)
        if config.temporal:
            name = f"temp_convs_{index}"
            h = TemporalConvs(self.frames, groups, self.dtype, name=name)(h)
        return h

    def attention(self, index: int, h: Array, context: Array) -> Array:
        config, groups = self.config, self.config.norm_num_groups
        heads = config.heads[self.level]
        h = Transformer(
            heads,
            config.depth,
            config.linear_projection,
            groups=groups,
            dtype=self.dtype,
            name=f"attentions_{index}",
        )(h, context)
        if config.temporal:
            h = TemporalTransformer(
                self.frames,
                heads,
                groups,
                h.shape[-1],
                self.dtype,
                name=f"temp_attentions_{index}",
            )(h)
        return h
