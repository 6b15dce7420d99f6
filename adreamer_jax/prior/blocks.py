"""The parts that every diffusion UNet of this room is made of.

Arrays are NHWC; tokens are [batch, token, channel]. Parameters carry the names of the
published torch weights, a number joined to the name before it, so that a checkpoint
becomes a tree by rule. Layers compute in ``dtype``; norms, softmax and the embedding
of time are in float32 whatever the type.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.prior.attention import attention
from adreamer_jax.types import Array, Float, Key, Params

RESNET_EPS = 1e-5
TRANSFORMER_EPS = 1e-6  # of the GroupNorm before a transformer: not that of a resnet
LAYER_NORM_EPS = 1e-5
TABLE_SIZE = 0.02  # of fresh embeddings and learned tokens, as CLIP starts
SYMMETRIC = ((1, 1), (1, 1))  # XLA's "SAME" pads a stride of two on one side only


def sinusoid(time: Float[Array, " b"], width: int) -> Float[Array, "b width"]:
    """Return [cos(t f), sin(t f)] with f = 10000^(-i / (width / 2)), in float32."""
    half = width // 2
    frequency = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half) / half)
    angle = time.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def to_rows(time: Any, count: int) -> Float[Array, " count"]:
    """Give every row of a batch its diffusion time, in float32."""
    return jnp.broadcast_to(jnp.asarray(time, jnp.float32).reshape(-1), (count,))


def as_images(tokens: Float[Array, "b n c"], size: tuple[int, int]) -> Array:
    """Lay tokens out as pictures again."""
    return tokens.reshape(tokens.shape[0], *size, tokens.shape[-1])


def as_tokens(images: Float[Array, "b h w c"]) -> Float[Array, "b n c"]:
    """Read the pixels of pictures as tokens, row by row."""
    return images.reshape(images.shape[0], -1, images.shape[-1])


class GroupNorm(nn.Module):
    """Normalize groups of channels over all positions of one item, in float32.

    Channels are averaged over positions first and only then gathered into groups, so
    that no pass over the picture sees the group axis. The variance takes a second
    pass: E[x^2] - E[x]^2 loses the digits of a stream that is small beside its mean.
    The mean inside the variance needs no gradient, which is zero at the mean; that
    and one multiplication and sum for each number halve the cost of the backward pass.
    """

    groups: int = 32
    epsilon: float = RESNET_EPS
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b *p c"]) -> Float[Array, "b *p c"]:
        """Return scale * (x - mean) / sqrt(variance + epsilon) + bias."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        gain = scale.astype(jnp.float32)
        shift = bias.astype(jnp.float32)
        x = x.astype(jnp.float32)
        mean = _group_mean(x, self.groups)
        about_mean = x - jax.lax.stop_gradient(mean)
        variance = _group_mean(jnp.square(about_mean), self.groups)
        gain = gain * jax.lax.rsqrt(variance + self.epsilon)
        return (x * gain + (shift - mean * gain)).astype(self.dtype)


def _group_mean(x: Float[Array, "b *p c"], groups: int) -> Array:
    """Mean over positions and over each channel's group, ready to broadcast."""
    channels = x.shape[-1]
    means = jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))
    means = means.reshape(len(x), groups, -1).mean(axis=-1)
    means = jnp.repeat(means, channels // groups, axis=-1)
    return means.reshape(len(x), *(1,) * (x.ndim - 2), channels)


def layer_norm(name: str, dtype: Any) -> nn.LayerNorm:
    """Make a LayerNorm over channels with the epsilon of torch."""
    return nn.LayerNorm(
        epsilon=LAYER_NORM_EPS, use_fast_variance=False, dtype=dtype, name=name
    )


def conv3(channels: int, name: str, dtype: Any, **kwargs: Any) -> nn.Conv:
    """Make a 3x3 convolution with one pixel of zeros on every side."""
    return nn.Conv(
        channels, (3, 3), padding=SYMMETRIC, dtype=dtype, name=name, **kwargs
    )


class TimeMlp(nn.Module):
    """Two dense layers with a SiLU between, under the names given."""

    width: int
    names: tuple[str, str] = ("linear_1", "linear_2")
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        """Return the embedding."""
        first, second = self.names
        x = nn.silu(nn.Dense(self.width, dtype=self.dtype, name=first)(x))
        return nn.Dense(self.width, dtype=self.dtype, name=second)(x)


class ResnetNames(NamedTuple):
    """What one family of checkpoints calls the layers of a resnet."""

    norm1: str
    conv1: str
    time: str
    norm2: str
    conv2: str
    skip: str


LDM = ResnetNames(
    "in_layers_0",
    "in_layers_2",
    "emb_layers_1",
    "out_layers_0",
    "out_layers_3",
    "skip_connection",
)
DIFFUSERS = ResnetNames(
    "norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"
)


class Resnet(nn.Module):
    """Two convolutions with the embedding of time added between, and a skip."""

    channels: int
    names: ResnetNames
    groups: int = 32
    epsilon: float = RESNET_EPS
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"], embedding: Float[Array, "b e"]
    ) -> Float[Array, "b h w o"]:
        """Return skip(x) + conv(silu(norm(conv(silu(norm(x))) + embedding)))."""
        names, dtype = self.names, self.dtype
        h = GroupNorm(self.groups, self.epsilon, dtype, name=names.norm1)(x)
        h = conv3(self.channels, names.conv1, dtype)(nn.silu(h))
        time = nn.Dense(self.channels, dtype=dtype, name=names.time)
        h = h + time(nn.silu(embedding))[:, None, None]
        h = GroupNorm(self.groups, self.epsilon, dtype, name=names.norm2)(h)
        h = conv3(self.channels, names.conv2, dtype)(nn.silu(h))
        if x.shape[-1] != self.channels:
            x = nn.Conv(self.channels, (1, 1), dtype=dtype, name=names.skip)(x)
        return x + h


class Downsample(nn.Module):
    """Halve a picture by a convolution of stride two, padded on all sides."""

    name_of_conv: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Return the picture at half the size."""
        return conv3(x.shape[-1], self.name_of_conv, self.dtype, strides=(2, 2))(x)


class Upsample(nn.Module):
    """Double a picture by repeating pixels, then convolve."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Return the picture at twice the size."""
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return conv3(x.shape[-1], "conv", self.dtype)(x)


class Attention(nn.Module):
    """Multi-head attention; of images too, when ``image_tokens`` end the context.

    The last ``image_tokens`` tokens of the context have keys and values of their own
    and are attended to apart with the same queries: text + image_weight * image
    (ImageDream, section 3.2).
    """

    heads: int
    image_tokens: int = 0
    image_weight: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n c"], context: Float[Array, "b m e"] | None = None
    ) -> Float[Array, "b n c"]:
        """Return what the tokens read in the context, or in themselves without one."""
        channels = x.shape[-1]

        def project(tokens: Array, name: str) -> Array:
            dense = nn.Dense(channels, use_bias=False, dtype=self.dtype, name=name)
            return dense(tokens).reshape(*tokens.shape[:2], self.heads, -1)

        context = x if context is None else context
        text = context[:, : context.shape[1] - self.image_tokens]
        query = project(x, "to_q")
        mixed = attention(query, project(text, "to_k"), project(text, "to_v"))
        if self.image_tokens:
            image = context[:, -self.image_tokens :]
            key, value = project(image, "to_k_ip"), project(image, "to_v_ip")
            mixed = mixed + self.image_weight * attention(query, key, value)
        return nn.Dense(channels, dtype=self.dtype, name="to_out_0")(
            mixed.reshape(x.shape)
        )


class GegluProjection(nn.Module):
    """A dense layer whose second half gates the first by the exact gelu."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n m"]:
        """Return a * gelu(g)."""
        both = nn.Dense(2 * self.width, dtype=self.dtype, name="proj")(x)
        value, gate = jnp.split(both, 2, axis=-1)
        return value * nn.gelu(gate, approximate=False)


class FeedForward(nn.Module):
    """The two layers after attention, four times wider between."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Return the tokens' own update."""
        channels = x.shape[-1]
        x = GegluProjection(4 * channels, self.dtype, name="net_0")(x)
        return nn.Dense(channels, dtype=self.dtype, name="net_2")(x)


class TransformerBlock(nn.Module):
    """Self-attention over all views of a scene, then context and feed-forward.

    ``views`` neighbors in the batch see each other in the self-attention alone; one
    view is the plain 2D block. A block without context attends to itself twice.
    """

    heads: int
    views: int = 1
    image_tokens: int = 0
    image_weight: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n c"], context: Float[Array, "b m e"] | None
    ) -> Float[Array, "b n c"]:
        """Return the tokens after three residual updates."""
        dtype = self.dtype
        own = Attention(self.heads, dtype=dtype, name="attn1")
        other = Attention(
            self.heads, self.image_tokens, self.image_weight, dtype, name="attn2"
        )
        normed = layer_norm("norm1", dtype)(x)
        scene = normed.reshape(x.shape[0] // self.views, -1, x.shape[-1])
        x = x + own(scene).reshape(x.shape)
        x = x + other(layer_norm("norm2", dtype)(x), context)
        return x + FeedForward(dtype, name="ff")(layer_norm("norm3", dtype)(x))


class Transformer(nn.Module):
    """A stack of transformer blocks on the pixels of a picture, with a skip.

    ``linear`` says whether the projections around the stack are matrices (SD 2.1,
    MVDream) or 1x1 convolutions (SD 1.5): the same map in another shape of file.
    """

    heads: int
    depth: int = 1
    linear: bool = True
    views: int = 1
    groups: int = 32
    image_tokens: int = 0
    image_weight: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], context: Float[Array, "b m e"] | None
    ) -> Float[Array, "b h w c"]:
        """Return the pictures after the stack."""
        project = _projection(self.linear, x.shape[-1], self.dtype)
        h = GroupNorm(self.groups, TRANSFORMER_EPS, self.dtype, name="norm")(x)
        h = as_tokens(project("proj_in")(h))
        for index in range(self.depth):
            h = TransformerBlock(
                self.heads,
                self.views,
                self.image_tokens,
                self.image_weight,
                self.dtype,
                name=f"transformer_blocks_{index}",
            )(h, context)
        return x + project("proj_out")(as_images(h, (x.shape[1], x.shape[2])))


def _projection(linear: bool, channels: int, dtype: Any) -> Callable[[str], nn.Module]:
    """A per-pixel map in the shape in which the checkpoint keeps it."""
    if linear:
        return lambda name: nn.Dense(channels, dtype=dtype, name=name)
    return lambda name: nn.Conv(channels, (1, 1), dtype=dtype, name=name)


def network_shapes(network: nn.Module, *inputs: Any) -> Params:
    """Return the shapes of a network's parameters without drawing them."""
    return jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]


def init_network(key: Key, network: nn.Module, *inputs: Any) -> Params:
    """Draw the parameters of a network from the shapes of its inputs alone.

    Normals over the root of the fan-in, and zeros where a layer writes to a residual
    stream or to the output. Drawn on the host: the initializers of a hundred different
    shapes would take longer to compile than the network.
    """
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    shapes = network_shapes(network, *inputs)
    draw = functools.partial(_draw, generator)
    return jax.tree_util.tree_map_with_path(draw, shapes)


_SILENT = re.compile(
    r"(.*/)?(bias|position_\d+|(out_layers_3|conv2|conv4_3|out_2|conv_out|(?<!image_embed/)proj_out"
    r"|controlnet_mid_block|controlnet_down_blocks_\d+)/kernel)"
)


def _draw(generator: np.random.Generator, path: Any, leaf: Any) -> Array:
    """Draw one parameter by its name."""
    path = "/".join(step.key for step in path)
    name = path.rpartition("/")[-1]
    if name == "scale":
        return jnp.ones(leaf.shape, leaf.dtype)
    if _SILENT.fullmatch(path):
        return jnp.zeros(leaf.shape, leaf.dtype)
    fan_in = math.prod(leaf.shape[:-1])
    size = fan_in**-0.5 if name == "kernel" else TABLE_SIZE
    values = size * generator.standard_normal(leaf.shape, np.float32)
    return jnp.asarray(values, leaf.dtype)
