"""Networks that look at pictures: CLIP's vision tower, joint CLIP, DINOv2.

CLIP scores how well a picture fits a text; its penultimate tokens describe a picture
to ImageDream, its projection to Zero123. DINOv2's patch features tell which parts of
an animal belong together. Pictures come in [0, 1] and are prepared here, in JAX, so
that a loss on them can be differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from adreamer_jax.prior.blocks import network_shapes
from adreamer_jax.prior.text import (
    ClipEncoder,
    TextConfig,
    TextModel,
    known_fields,
    layer_norm,
    text_config,
    text_pooled,
)
from adreamer_jax.types import Array, Float, Int, Params

_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_SPREAD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Sizes of a CLIP vision tower, named as in its config.json."""

    hidden_size: int = 1280
    intermediate_size: int = 5120
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    projection_dim: int = 1024
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Both towers and the width of the space they share."""

    text: TextConfig
    vision: VisionConfig
    projection_dim: int


@dataclasses.dataclass(frozen=True)
class DinoConfig:
    """Sizes of a DINOv2, named as in its config.json."""

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    image_size: int = 518
    patch_size: int = 14
    mlp_ratio: int = 4
    layer_norm_eps: float = 1e-6


def vision_config(config: Mapping[str, Any]) -> VisionConfig:
    """The sizes that a published config.json of a vision tower states."""
    return VisionConfig(**known_fields(VisionConfig, config))


def clip_config(config: Mapping[str, Any]) -> ClipConfig:
    """The sizes that a published config.json of joint CLIP states."""
    return ClipConfig(
        text=text_config(config["text_config"]),
        vision=vision_config(config["vision_config"]),
        projection_dim=config["projection_dim"],
    )


def dino_config(config: Mapping[str, Any]) -> DinoConfig:
    """The sizes that a published config.json of a DINOv2 states."""
    return DinoConfig(**known_fields(DinoConfig, config))


class _Embeddings(nn.Module):
    config: VisionConfig

    @nn.compact
    def __call__(self, image):
        config = self.config
        patches = nn.Conv(
            config.hidden_size,
            (config.patch_size,) * 2,
            strides=config.patch_size,
            padding="VALID",
            use_bias=False,
            name="patch_embedding",
        )(image)
        tokens = patches.reshape(image.shape[0], -1, config.hidden_size)
        count = (config.image_size // config.patch_size) ** 2 + 1
        first = self.param(
            "class_embedding", nn.initializers.normal(0.02), (config.hidden_size,)
        )
        tokens = _with_first(first, tokens)
        places = nn.Embed(count, config.hidden_size, name="position_embedding")
        return tokens + places(jnp.arange(count))


def _with_first(first: Array, tokens: Float[Array, "b n c"]) -> Float[Array, "b m c"]:
    """The tokens of each picture behind one token that all pictures share."""
    shared = jnp.broadcast_to(first, (tokens.shape[0], 1, tokens.shape[-1]))
    return jnp.concatenate([shared.astype(tokens.dtype), tokens], axis=1)


class _VisionModel(nn.Module):
    config: VisionConfig

    @nn.compact
    def __call__(self, image):
        config = self.config
        x = _Embeddings(config, name="embeddings")(image)
        x = layer_norm(config.layer_norm_eps, "pre_layrnorm")(x)  # sic, in every file
        states = ClipEncoder(
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_act,
            config.layer_norm_eps,
            causal=False,
            name="encoder",
        )(x)
        pooled = layer_norm(config.layer_norm_eps, "post_layernorm")(states[-1][:, 0])
        return states, pooled


class VisionTower(nn.Module):
    """CLIP's vision tower with its projection, as it is published on its own."""

    config: VisionConfig

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> tuple[list[Array], Array]:
        """All states, and the projected picture, not normalized."""
        states, pooled = _VisionModel(self.config, name="vision_model")(image)
        width = self.config.projection_dim
        return states, nn.Dense(width, use_bias=False, name="visual_projection")(pooled)


class Clip(nn.Module):
    """Both towers of CLIP and the space they share."""

    config: ClipConfig

    def setup(self):
        """Name the parts as the published files do."""
        width = self.config.projection_dim
        self.text_model = TextModel(self.config.text)
        self.vision_model = _VisionModel(self.config.vision)
        self.text_projection = nn.Dense(width, use_bias=False)
        self.visual_projection = nn.Dense(width, use_bias=False)
        self.logit_scale = self.param("logit_scale", nn.initializers.zeros, ())

    def of_text(self, ids: Int[Array, "b n"]) -> Float[Array, "b c"]:
        """Texts in the shared space, of length one."""
        pooled = text_pooled(self.config.text, self.text_model(ids)[1], ids)
        return _unit(self.text_projection(pooled))

    def of_image(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b c"]:
        """Prepared pictures in the shared space, of length one."""
        return _unit(self.visual_projection(self.vision_model(image)[1]))

    def __call__(self, ids: Array, image: Array) -> Float[Array, "images texts"]:
        """How well each picture fits each text: scaled cosines."""
        cosines = self.of_image(image) @ self.of_text(ids).T
        return jnp.exp(self.logit_scale) * cosines


def _unit(x: Float[Array, "b c"]) -> Float[Array, "b c"]:
    x = x.astype(jnp.float32)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class _DinoEmbeddings(nn.Module):
    config: DinoConfig

    @nn.compact
    def __call__(self, image):
        config = self.config
        patches = _DinoPatches(config, name="patch_embeddings")(image)
        batch, height, width, channels = patches.shape
        side = config.image_size // config.patch_size
        small = nn.initializers.normal(0.02)
        table = self.param("position_embeddings", small, (1, side * side + 1, channels))
        first = self.param("cls_token", small, (1, 1, channels))
        self.param(
            "mask_token", small, (1, channels)
        )  # in every file, read in training
        tokens = _with_first(first, patches.reshape(batch, height * width, channels))
        return tokens + _places(table, side, (height, width)).astype(tokens.dtype)


class _DinoPatches(nn.Module):
    config: DinoConfig

    @nn.compact
    def __call__(self, image):
        size = self.config.patch_size
        return nn.Conv(
            self.config.hidden_size,
            (size, size),
            strides=size,
            padding="VALID",
            name="projection",
        )(image)


def _places(
    table: Float[Array, "1 n c"], side: int, grid: tuple[int, int]
) -> Float[Array, "1 m c"]:
    """The learned places, resampled to another grid of patches."""
    if grid == (side, side):
        return table
    square = table[0, 1:].reshape(side, side, -1).astype(jnp.float32)
    rows, columns = (bicubic_weights(side, count) for count in grid)
    resampled = jnp.einsum("ia,jb,abc->ijc", rows, columns, square)
    flat = resampled.reshape(1, -1, table.shape[-1])
    return jnp.concatenate([table[:, :1].astype(jnp.float32), flat], axis=1)


def bicubic_weights(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Rows of the matrix that resamples a line as torch does: four taps, A = -0.75.

    Centers half a pixel in, no antialiasing, the border's value repeated outside.
    `jax.image.resize` has A = -0.5, which is another function.
    """
    a = -0.75
    places = (np.arange(target) + 0.5) * source / target - 0.5
    taps = np.floor(places).astype(int)[:, None] + np.arange(-1, 3)
    d = np.abs(places[:, None] - taps)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    weights = np.zeros((target, source))
    rows = np.broadcast_to(np.arange(target)[:, None], taps.shape)
    np.add.at(
        weights, (rows, np.clip(taps, 0, source - 1)), np.where(d <= 1, near, far)
    )
    return weights.astype(np.float32)


class _DinoHeads(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x):
        batch, count, width = x.shape
        query, key, value = (
            nn.Dense(width, name=name)(x).reshape(batch, count, self.heads, -1)
            for name in ("query", "key", "value")
        )
        return jax.nn.dot_product_attention(query, key, value).reshape(x.shape)


class _DinoOutput(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(x.shape[-1], name="dense")(x)


class _DinoAttention(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x):
        return _DinoOutput(name="output")(_DinoHeads(self.heads, name="attention")(x))


class _DinoMlp(nn.Module):
    ratio: int

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(self.ratio * x.shape[-1], name="fc1")(x)
        return nn.Dense(x.shape[-1], name="fc2")(nn.gelu(h, approximate=False))


class _LayerScale(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x * self.param("lambda1", nn.initializers.ones, (x.shape[-1],))


class _DinoLayer(nn.Module):
    config: DinoConfig

    @nn.compact
    def __call__(self, x):
        config = self.config
        h = layer_norm(config.layer_norm_eps, "norm1")(x)
        h = _DinoAttention(config.num_attention_heads, name="attention")(h)
        x = x + _LayerScale(name="layer_scale1")(h)
        h = layer_norm(config.layer_norm_eps, "norm2")(x)
        h = _DinoMlp(config.mlp_ratio, name="mlp")(h)
        return x + _LayerScale(name="layer_scale2")(h)


class _DinoEncoder(nn.Module):
    config: DinoConfig

    @nn.compact
    def __call__(self, x):
        for i in range(self.config.num_hidden_layers):
            x = _DinoLayer(self.config, name=f"layer_{i}")(x)
        return x


class Dino(nn.Module):
    """DINOv2: one token for the picture, then one for each patch."""

    config: DinoConfig

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b n c"]:
        """All tokens after the last norm, for a prepared picture."""
        x = _DinoEmbeddings(self.config, name="embeddings")(image)
        x = _DinoEncoder(self.config, name="encoder")(x)
        return layer_norm(self.config.layer_norm_eps, "layernorm")(x)


def _precision(params: Params) -> jnp.dtype:
    return jax.tree.leaves(params)[0].dtype


def _picture(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def vision_shapes(config: VisionConfig) -> Params:
    """Shapes of all parameters of a vision tower."""
    return network_shapes(VisionTower(config), _picture(config.image_size))


def clip_shapes(config: ClipConfig) -> Params:
    """Shapes of all parameters of joint CLIP."""
    ids = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return network_shapes(Clip(config), ids, _picture(config.vision.image_size))


def dino_shapes(config: DinoConfig) -> Params:
    """Shapes of all parameters of a DINOv2."""
    return network_shapes(Dino(config), _picture(config.image_size))


def prepare_clip(image: Float[Array, "b h w 3"], size: int) -> Float[Array, "b s s 3"]:
    """A picture in [0, 1] as CLIP wants it: short side resized, center cut out."""
    batch, height, width, _ = image.shape
    short = min(height, width)
    shape = (size * height // short, size * width // short)  # as transformers rounds
    resized = jax.image.resize(image, (batch, *shape, 3), "bicubic", antialias=True)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    cut = resized[:, top : top + size, left : left + size]
    return (cut - _CLIP_MEAN) / _CLIP_SPREAD


def prepare_dino(image: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """A picture in [0, 1] with ImageNet's mean and spread taken out."""
    return (image - _IMAGENET_MEAN) / _IMAGENET_SPREAD


def vision_tokens(
    config: VisionConfig, params: Params, prepared: Float[Array, "b h w 3"]
) -> tuple[Float[Array, "b n c"], Float[Array, "b p"]]:
    """Penultimate tokens (no final norm) and the projected picture, not normalized."""
    x = prepared.astype(_precision(params))
    both: Any = VisionTower(config).apply({"params": params}, x)
    states, projected = both
    return states[-2].astype(jnp.float32), projected.astype(jnp.float32)


def clip_text(
    config: ClipConfig, params: Params, ids: Int[Array, "b n"]
) -> Float[Array, "b p"]:
    """Texts in the shared space, of length one."""
    text: Any = Clip(config).apply({"params": params}, ids, method="of_text")
    return text


def clip_image(
    config: ClipConfig, params: Params, prepared: Float[Array, "b h w 3"]
) -> Float[Array, "b p"]:
    """Prepared pictures in the shared space, of length one."""
    x = prepared.astype(_precision(params))
    picture: Any = Clip(config).apply({"params": params}, x, method="of_image")
    return picture


def clip_score(
    image: Float[Array, "b p"], text: Float[Array, "b p"]
) -> Float[Array, " b"]:
    """Fit of pictures and texts in percent: 100 max(cosine, 0)."""
    return 100.0 * jnp.maximum(jnp.sum(image * text, axis=-1), 0.0)


def dino_features(
    config: DinoConfig, params: Params, image: Float[Array, "b h w 3"]
) -> Float[Array, "b gh gw c"]:
    """One feature for each patch of a picture in [0, 1]."""
    size = config.patch_size
    if image.shape[1] % size or image.shape[2] % size:
        raise ValueError(
            f"the picture's sides must be multiples of {size}, got "
            f"{image.shape[1]}x{image.shape[2]}; resize it first"
        )
    x = prepare_dino(image).astype(_precision(params))
    states: Any = Dino(config).apply({"params": params}, x)
    tokens = states[:, 1:]
    grid = (image.shape[1] // size, image.shape[2] // size)
    return tokens.reshape(image.shape[0], *grid, -1).astype(jnp.float32)
