"""The UNet of latent-diffusion checkpoints: MVDream, ImageDream and the pocket prior.

All views of a scene are neighbors in the batch, the view index running fastest, and
attend to each other in every self-attention; cameras enter with the time. ImageDream
adds the input picture as one more view and as tokens of its own in the context.
Parameters follow the keys of the original code (``input_blocks.1.0.in_layers.2``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from adreamer_jax.prior.attention import attention
from adreamer_jax.prior.blocks import (
    LDM,
    Downsample,
    GroupNorm,
    Resnet,
    Transformer,
    Upsample,
    conv3,
    init_network,
    layer_norm,
    network_shapes,
    sinusoid,
    to_rows,
)
from adreamer_jax.types import Array, Float, Key, Params

IMAGE_FEATURES = 1280  # width of OpenCLIP-H tokens, which the resampler reads

# What published configs say besides, and the only values that this network has.
_FIXED: dict[str, Any] = {
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "legacy": False,
    "dims": 2,
    "conv_resample": True,
    "resblock_updown": False,
    "use_scale_shift_norm": False,
    "num_classes": None,
    "disable_self_attentions": None,
    "num_attention_blocks": None,
    "disable_middle_self_attn": False,
    "num_heads": -1,
}
_IGNORED = ("image_size", "use_checkpoint", "use_fp16", "use_bf16", "dropout")


@dataclasses.dataclass(frozen=True)
class LdmConfig:
    """The sizes of one network, named as in the published configs."""

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)  # downsampling factors
    num_head_channels: int = 64
    transformer_depth: int = 1
    context_dim: int = 1024
    camera_dim: int | None = 16
    text_embed: bool = False  # the last token's state is added to the time too
    ip_dim: int = 0  # tokens that stand for the input picture
    ip_weight: float = 1.0
    norm_groups: int = 32
    # Edge of a learned map of position at full size; the widths below halve it.
    position_size: int | None = None


def read_ldm_config(config: Mapping[str, Any]) -> LdmConfig:
    """Read the ``config.json`` or yaml section of a published network."""
    names = {field.name for field in dataclasses.fields(LdmConfig)}
    for name, value in config.items():
        if name in names or name in _IGNORED or name.startswith("_"):
            continue
        if name not in _FIXED or value != _FIXED[name]:
            raise ValueError(
                f"{name} of an ldm UNet must be {_FIXED.get(name, 'absent')!r}, got "
                f"{value!r}; this network has no such option"
            )
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, (list, tuple)) else value
        for name, value in config.items()
        if name in names
    }
    return LdmConfig(**known)


def unet_ldm(
    config: LdmConfig,
    params: Params,
    latents: Float[Array, "b h w c"],
    time: Float[Array, " b"],
    context: Float[Array, "b m e"],
    *,
    camera: Float[Array, "b 16"] | None = None,
    num_views: int = 4,
    image_features: Float[Array, "s n 1280"] | None = None,
    image_latents: Float[Array, "s h w c"] | None = None,
    dtype: Any = jnp.float32,
) -> Float[Array, "b h w o"]:
    """Return the network's prediction in float32: noise, for the published weights.

    ``b`` counts scenes times views. One view without camera is the plain 2D network.
    An ImageDream network takes the features and latents of one picture a scene (zeros
    for the unconditional half) and sees the picture in place of each scene's last view.
    """
    network = UNetLdm(config, num_views, dtype)
    if config.ip_dim and (image_features is None or image_latents is None):
        raise ValueError(
            "a network with image tokens must be given image_features and "
            "image_latents, got None; pass zeros for the unconditional half"
        )
    arrays = (latents, time, context, camera, image_features, image_latents)
    return jnp.asarray(network.apply({"params": params}, *arrays), jnp.float32)


def init_unet_ldm(key: Key, config: LdmConfig) -> Params:
    """Draw parameters with which the network predicts zero and can be trained."""
    return init_network(key, UNetLdm(config, 1), *_inputs(config))


def unet_ldm_shapes(config: LdmConfig) -> Params:
    """Return the shapes that parameters of this configuration must have."""
    return network_shapes(UNetLdm(config, 1), *_inputs(config))


def _inputs(config: LdmConfig) -> tuple[Any, ...]:
    """Shapes of the smallest batch that touches every layer."""
    size = config.position_size or 2 ** len(config.channel_mult)
    shapes = [
        (1, size, size, config.in_channels),
        (1,),
        (1, 1, config.context_dim),
        (1, config.camera_dim),
        (1, 1, IMAGE_FEATURES),
        (1, size, size, config.in_channels),
    ]
    wanted = [True, True, True, config.camera_dim, config.ip_dim, config.ip_dim]
    return tuple(
        jax.ShapeDtypeStruct(shape, jnp.float32) if want else None
        for shape, want in zip(shapes, wanted, strict=True)
    )


class UNetLdm(nn.Module):
    """The network; call it through `unet_ldm`."""

    config: LdmConfig
    views: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latents, time, context, camera, features, picture):
        """Return the prediction in ``dtype``."""
        config, dtype = self.config, self.dtype
        if config.ip_dim:
            context = self._append_picture(context, features)
            latents = latents.at[self.views - 1 :: self.views].set(picture)
        context, h = context.astype(dtype), latents.astype(dtype)
        embedding = self._embed(to_rows(time, len(latents)), camera, context)

        h = conv3(config.model_channels, "input_blocks_0_0", dtype)(h)
        h, skips = self._down(self._place(h, 0), embedding, context)
        h = self._resnet("middle_block_0", h.shape[-1])(h, embedding)
        h = self._transformer("middle_block_1", h.shape[-1])(h, context)
        h = self._resnet("middle_block_2", h.shape[-1])(h, embedding)
        h = self._up(h, skips, embedding, context)
        h = nn.silu(GroupNorm(config.norm_groups, dtype=dtype, name="out_0")(h))
        return conv3(config.out_channels, "out_2", dtype)(h)

    def _append_picture(self, context: Array, features: Array) -> Array:
        """Tokens of the picture behind the text of each of its scene's views."""
        config = self.config
        tokens = Resampler(
            config.ip_dim, config.context_dim, dtype=self.dtype, name="image_embed"
        )(features.astype(self.dtype))
        tokens = jnp.repeat(tokens, self.views, axis=0).astype(context.dtype)
        return jnp.concatenate([context, tokens], axis=1)

    def _embed(self, time: Array, camera: Array | None, context: Array) -> Array:
        """Time, camera and the whole text in one vector: in float32, then in dtype."""
        width = 4 * self.config.model_channels

        def mlp(x: Array, name: str) -> Array:
            x = nn.silu(nn.Dense(width, dtype=jnp.float32, name=f"{name}_0")(x))
            return nn.Dense(width, dtype=jnp.float32, name=f"{name}_2")(x)

        embedding = mlp(sinusoid(time, self.config.model_channels), "time_embed")
        if camera is not None:
            camera = camera.reshape(len(time), -1).astype(jnp.float32)
            embedding = embedding + mlp(camera, "camera_embed")
        if self.config.text_embed:
            whole = context[:, -1].astype(
                jnp.float32
            )  # a causal tower ends its text so
            embedding = embedding + mlp(whole, "text_embed")
        return embedding.astype(self.dtype)

    def _down(self, h: Array, embedding: Array, context: Array) -> tuple[Array, list]:
        """Halve the picture level by level; keep what every block hands on."""
        config = self.config
        skips, index = [h], 1
        for level, multiple in enumerate(config.channel_mult):
            if level:
                name = f"input_blocks_{index}_0"
                h = Downsample("op", self.dtype, name=name)(h)
                h = self._place(h, level)
                skips, index = [*skips, h], index + 1
            for _ in range(config.num_res_blocks):
                channels = multiple * config.model_channels
                h = self._resnet(f"input_blocks_{index}_0", channels)(h, embedding)
                if 2**level in config.attention_resolutions:
                    h = self._transformer(f"input_blocks_{index}_1", channels)(
                        h, context
                    )
                skips, index = [*skips, h], index + 1
        return h, skips

    def _up(self, h: Array, skips: list, embedding: Array, context: Array) -> Array:
        """Double the picture level by level, reading the skips in reverse."""
        config = self.config
        skips, index = list(skips), 0
        for level, multiple in reversed(list(enumerate(config.channel_mult))):
            for block in range(config.num_res_blocks + 1):
                name, layer = f"output_blocks_{index}", 1
                channels = multiple * config.model_channels
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._resnet(f"{name}_0", channels)(h, embedding)
                if 2**level in config.attention_resolutions:
                    h = self._transformer(f"{name}_1", channels)(h, context)
                    layer = 2
                if level and block == config.num_res_blocks:
                    h = Upsample(self.dtype, name=f"{name}_{layer}")(h)
                index += 1
        return h

    def _place(self, h: Array, level: int) -> Array:
        """Add the learned map of position, where the configuration has one."""
        if self.config.position_size is None:
            return h
        size = self.config.position_size // 2**level
        shape = (size, size, h.shape[-1])
        zeros = nn.initializers.zeros
        return h + self.param(f"position_{level}", zeros, shape).astype(h.dtype)

    def _resnet(self, name: str, channels: int) -> Resnet:
        groups = self.config.norm_groups
        return Resnet(channels, LDM, groups, dtype=self.dtype, name=name)

    def _transformer(self, name: str, channels: int) -> Transformer:
        config = self.config
        return Transformer(
            channels // config.num_head_channels,
            config.transformer_depth,
            views=self.views,
            groups=config.norm_groups,
            image_tokens=config.ip_dim,
            image_weight=config.ip_weight,
            dtype=self.dtype,
            name=name,
        )


class Resampler(nn.Module):
    """Condense the many tokens of a picture to a few of the width of the context."""

    tokens: int
    width: int
    depth: int = 4
    heads: int = 12
    head_width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "s n i"]) -> Float[Array, "s t e"]:
        """Return the learned queries after reading the features ``depth`` times."""
        shape = (1, self.tokens, self.width)
        latents = self.param("latents", nn.initializers.normal(), shape)
        latents = jnp.repeat(latents.astype(self.dtype), len(features), axis=0)
        x = nn.Dense(self.width, dtype=self.dtype, name="proj_in")(features)
        for index in range(self.depth):
            name = f"layers_{index}"
            latents = latents + ResamplerAttention(
                self.heads, self.head_width, self.dtype, name=f"{name}_0"
            )(x, latents)
            latents = latents + self._feed_forward(latents, f"{name}_1")
        latents = nn.Dense(self.width, dtype=self.dtype, name="proj_out")(latents)
        return layer_norm("norm_out", self.dtype)(latents)

    def _feed_forward(self, x: Array, name: str) -> Array:
        def dense(width: int, index: int) -> nn.Dense:
            name_of_layer = f"{name}_{index}"
            return nn.Dense(width, use_bias=False, dtype=self.dtype, name=name_of_layer)

        x = layer_norm(f"{name}_0", self.dtype)(x)
        x = nn.gelu(dense(4 * self.width, 1)(x), approximate=False)
        return dense(self.width, 3)(x)


class ResamplerAttention(nn.Module):
    """Attention of a few queries to the features and to themselves."""

    heads: int
    head_width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, features: Float[Array, "s n e"], latents: Float[Array, "s t e"]
    ) -> Float[Array, "s t e"]:
        """Return the update of the queries."""
        inner = self.heads * self.head_width

        def project(x: Array, width: int, name: str) -> Array:
            return nn.Dense(width, use_bias=False, dtype=self.dtype, name=name)(x)

        def split(x: Array) -> Array:
            return x.reshape(*x.shape[:2], self.heads, self.head_width)

        features = layer_norm("norm1", self.dtype)(features)
        normed = layer_norm("norm2", self.dtype)(latents)
        both = jnp.concatenate([features, normed], axis=1)
        query = project(normed, inner, "to_q")
        key, value = jnp.split(project(both, 2 * inner, "to_kv"), 2, axis=-1)
        mixed = attention(split(query), split(key), split(value))
        mixed = mixed.reshape(*latents.shape[:2], inner)
        return project(mixed, latents.shape[-1], "to_out")
