"""CLIP's text towers: words as the tokens that a UNet attends to.

Stable Diffusion 2.1 and MVDream read OpenCLIP's ViT-H tower one layer before its end,
then its last norm; the published folder has that layer already cut off, so here too
the answer is the last state after the norm. Stable Diffusion 1.x reads OpenAI's ViT-L.
Padding is not masked: later tokens do look at it, as in training.
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

from adreamer_jax.prior.blocks import init_network, network_shapes
from adreamer_jax.types import Array, Float, Int, Key, Params


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Sizes of a CLIP text tower, named as in its config.json."""

    vocab_size: int = 49408
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 23
    num_attention_heads: int = 16
    max_position_embeddings: int = 77
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407
    bos_token_id: int = 49406


def text_config(config: Mapping[str, Any]) -> TextConfig:
    """The sizes that a published config.json states."""
    return TextConfig(**known_fields(TextConfig, config))


def known_fields(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of a config that a dataclass of sizes has a place for."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: config[name] for name in names if name in config}


def activation(name: str):
    """CLIP's activation: the exact gelu, or OpenAI's sigmoid form of it."""
    known = {
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    }
    if name not in known:
        raise ValueError(
            f"hidden_act must be one of {', '.join(known)}, got {name}; use a CLIP "
            "tower that was published with one of these"
        )
    return known[name]


def layer_norm(epsilon: float, name: str) -> nn.LayerNorm:
    """A norm over the last axis whose variance keeps its digits."""
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


class _SelfAttention(nn.Module):
    heads: int
    causal: bool

    @nn.compact
    def __call__(self, x):
        batch, count, width = x.shape
        query, key, value = (
            nn.Dense(width, name=name)(x).reshape(batch, count, self.heads, -1)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        seen = jax.nn.dot_product_attention(query, key, value, is_causal=self.causal)
        return nn.Dense(width, name="out_proj")(seen.reshape(x.shape))


class _Mlp(nn.Module):
    width: int
    act: str

    @nn.compact
    def __call__(self, x):
        h = activation(self.act)(nn.Dense(self.width, name="fc1")(x))
        return nn.Dense(x.shape[-1], name="fc2")(h)


class _Layer(nn.Module):
    heads: int
    width: int
    act: str
    epsilon: float
    causal: bool

    @nn.compact
    def __call__(self, x):
        h = layer_norm(self.epsilon, "layer_norm1")(x)
        x = x + _SelfAttention(self.heads, self.causal, name="self_attn")(h)
        h = layer_norm(self.epsilon, "layer_norm2")(x)
        return x + _Mlp(self.width, self.act, name="mlp")(h)


class ClipEncoder(nn.Module):
    """The stack of pre-norm layers that both of CLIP's towers are made of."""

    depth: int
    heads: int
    width: int
    act: str
    epsilon: float
    causal: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> list[Float[Array, "b n c"]]:
        """All states, the input first and the last layer's output last."""
        states = [x]
        for i in range(self.depth):
            layer = _Layer(
                self.heads,
                self.width,
                self.act,
                self.epsilon,
                self.causal,
                name=f"layers_{i}",
            )
            states.append(layer(states[-1]))
        return states


class _TextEmbeddings(nn.Module):
    config: TextConfig

    @nn.compact
    def __call__(self, ids):
        config = self.config
        words = nn.Embed(config.vocab_size, config.hidden_size, name="token_embedding")
        places = nn.Embed(
            config.max_position_embeddings,
            config.hidden_size,
            name="position_embedding",
        )
        return words(ids) + places(jnp.arange(ids.shape[1]))


class TextModel(nn.Module):
    """The tower behind the name ``text_model``: states, last one after the norm."""

    config: TextConfig

    @nn.compact
    def __call__(self, ids: Int[Array, "b n"]) -> tuple[list[Array], Array]:
        """All states before the final norm, and the last one after it."""
        config = self.config
        x = _TextEmbeddings(config, name="embeddings")(ids)
        states = ClipEncoder(
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_act,
            config.layer_norm_eps,
            causal=True,
            name="encoder",
        )(x)
        return states, layer_norm(config.layer_norm_eps, "final_layer_norm")(states[-1])


class TextTower(nn.Module):
    """A text tower as it is published on its own."""

    config: TextConfig

    @nn.compact
    def __call__(self, ids: Int[Array, "b n"]) -> tuple[list[Array], Array]:
        """What `TextModel` returns."""
        return TextModel(self.config, name="text_model")(ids)


_IDS = jax.ShapeDtypeStruct((1, 2), jnp.int32)


def text_shapes(config: TextConfig) -> Params:
    """Shapes of all parameters, for checking a file against its config."""
    return network_shapes(TextTower(config), _IDS)


def init_text(key: Key, config: TextConfig) -> Params:
    """Random parameters, for tests and tiny priors."""
    return init_network(key, TextTower(config), _IDS)


def text_states(
    config: TextConfig, params: Params, ids: Int[Array, "b n"]
) -> tuple[list[Float[Array, "b n c"]], Float[Array, "b n c"]]:
    """All states before the final norm, and the last one after it."""
    states: Any = TextTower(config).apply({"params": params}, ids)
    return states


def text_tokens(
    config: TextConfig, params: Params, ids: Int[Array, "b n"]
) -> Float[Array, "b n c"]:
    """The context of a UNet: the last state after the norm, one vector a token."""
    return text_states(config, params, ids)[1].astype(jnp.float32)


def end_positions(ids: Int[Array, "b n"], *, eos_token_id: int) -> Int[Array, " b"]:
    """Where each text ends: the first end token.

    All of OpenAI's configs say 2, which no text holds and which stands for the older
    rule, the position of the largest id.
    """
    if eos_token_id == 2:
        return jnp.argmax(ids, axis=-1)
    return jnp.argmax(ids == eos_token_id, axis=-1)


def text_pooled(
    config: TextConfig, last: Float[Array, "b n c"], ids: Int[Array, "b n"]
) -> Float[Array, "b c"]:
    """The state at each text's end, which stands for the whole text."""
    ends = end_positions(ids, eos_token_id=config.eos_token_id)
    return last[jnp.arange(last.shape[0]), ends]


_OPENCLIP = (
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_BUFFERS = ("position_ids", "attn_mask", "text_projection", "logit_scale")


def text_names(flat: Mapping[str, np.ndarray], *, depth: int) -> dict[str, np.ndarray]:
    """The same tensors under the published names, whichever layout came in.

    Newer files of the same class lack the ``text_model.`` in front; OpenCLIP's own
    names keep query, key and value in one matrix and one layer more than ``depth``.
    """
    named: dict[str, np.ndarray] = {}
    for key, value in flat.items():
        name = key.removeprefix("text_model.")
        if name.split(".")[-1] in _BUFFERS or _is_unread(name, depth):
            continue
        for pattern, replacement in _OPENCLIP:
            name = re.sub(pattern, replacement, name)
        named |= _split_in_proj(f"text_model.{name}", value)
    return named


def _is_unread(name: str, depth: int) -> bool:
    """Whether a tensor is of OpenCLIP's last layer, behind the one diffusion reads."""
    layer = re.match(r"transformer\.resblocks\.(\d+)\.", name)
    return layer is not None and int(layer[1]) >= depth


def _split_in_proj(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    """Three projections where the file holds them as the rows of one."""
    joined = re.match(r"(.*self_attn)\.in_proj_(weight|bias)$", name)
    if joined is None:
        return {name: value}
    return {
        f"{joined[1]}.{letter}_proj.{joined[2]}": rows
        for letter, rows in zip("qkv", np.split(value, 3), strict=True)
    }
