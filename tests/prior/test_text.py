"""CLIP's text tower against torch's numbers, in every published layout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import text
from adreamer_jax.prior.tree import check_tree, tree_from_torch
from tests.prior.golden_unets import ATOL, error, manifest, read_golden


@pytest.fixture(scope="module")
def golden():
    settings, weights, io = read_golden("clip_text")
    config = text.text_config(settings)
    params = tree_from_torch(text.text_names(weights, depth=3))
    check_tree(params, text.text_shapes(config))
    return config, params, io


def test_all_states_and_the_pooled_one(golden):
    config, params, io = golden
    ids = io["in.input_ids"].astype(np.int32)
    states, last = jax.jit(lambda p: text.text_states(config, p, ids))(params)
    assert len(states) == 4
    for i, state in enumerate(states):
        assert error(state, io[f"out.hidden_states.{i}"]) < ATOL
    assert error(last, io["out.last_hidden_state"]) < ATOL
    assert error(text.text_pooled(config, last, ids), io["out.pooler_output"]) < ATOL


def test_tokens_are_the_normed_last_state_in_float32(golden):
    config, params, io = golden
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
    tokens = text.text_tokens(config, half, io["in.input_ids"].astype(np.int32))
    assert tokens.dtype == jnp.float32
    assert error(tokens, io["out.last_hidden_state"]) < 0.1


def test_words_look_back_and_never_ahead(golden):
    config, params, io = golden
    ids = io["in.input_ids"].astype(np.int32)
    changed = ids.copy()
    changed[:, 6] = (changed[:, 6] + 1) % 62
    before, after = (text.text_tokens(config, params, x) for x in (ids, changed))
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert error(before[:, 6:].min(1), after[:, 6:].min(1)) > 1e-3


def test_padding_is_seen_by_what_follows_it(golden):
    """No padding mask: the value behind the padding changes the last tokens."""
    config, params, io = golden
    ids = io["in.input_ids"].astype(np.int32)
    padded = ids.copy()
    padded[:, -3:] = 0
    other = padded.copy()
    other[:, -3] = 5
    found, changed = (text.text_tokens(config, params, x) for x in (padded, other))
    assert error(found[:, -1], changed[:, -1]) > 1e-3


def test_ends_by_the_new_rule_and_by_the_old():
    ids = jnp.array([[60, 3, 61, 61, 0], [60, 4, 5, 61, 7]])
    assert text.end_positions(ids, eos_token_id=61).tolist() == [2, 3]
    assert text.end_positions(ids, eos_token_id=2).tolist() == [2, 3]
    odd = jnp.array([[1, 2, 9, 2]])
    assert text.end_positions(odd, eos_token_id=2).tolist() == [2]


def openclip(weights):
    """The same tower in OpenCLIP's layout, with the further layer that it has."""
    out = {}
    for key, value in weights.items():
        key = key.removeprefix("text_model.")
        key = key.replace("embeddings.token_embedding", "token_embedding")
        key = key.replace(
            "embeddings.position_embedding.weight", "positional_embedding"
        )
        key = key.replace("encoder.layers", "transformer.resblocks")
        key = key.replace("layer_norm", "ln_").replace("final_ln_", "ln_final")
        key = key.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")
        out[key.replace("self_attn.", "attn.")] = value
    for i in range(3):
        stem = f"transformer.resblocks.{i}.attn."
        for kind in ("weight", "bias"):
            rows = [out.pop(f"{stem}{x}_proj.{kind}") for x in "qkv"]
            out[f"{stem}in_proj_{kind}"] = np.concatenate(rows)
    last = {k: v for k, v in out.items() if ".resblocks.2." in k}
    out |= {k.replace(".resblocks.2.", ".resblocks.3."): v + 1 for k, v in last.items()}
    buffers = {"text_projection": np.eye(32), "logit_scale": np.ones(())}
    return out | buffers | {"attn_mask": np.zeros((12, 12))}


LAYOUTS = {
    "without the first name": lambda weights: {
        k.removeprefix("text_model."): v for k, v in weights.items()
    },
    "with positions as a buffer": lambda weights: (
        weights | {"text_model.embeddings.position_ids": np.arange(12)[None]}
    ),
    "OpenCLIP": openclip,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_the_same_tower(golden, name):
    _, params, _ = golden
    other = LAYOUTS[name](read_golden("clip_text")[1])
    found = tree_from_torch(text.text_names(other, depth=3))
    check_tree(found, params)
    jax.tree.map(np.testing.assert_array_equal, found, params)


PUBLISHED = {
    "sd21_text_encoder": text.TextConfig(),
    "sd15_text_encoder": text.TextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        hidden_act="quick_gelu",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_by_name_and_shape(name):
    check_tree(manifest(name), text.text_shapes(PUBLISHED[name]))


MISTAKES = {
    "tanh gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "quick gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_known_mistakes_would_be_seen(golden, monkeypatch, name):
    config, params, io = golden
    monkeypatch.setattr(text, "activation", lambda _: MISTAKES[name])
    found = text.text_tokens(config, params, io["in.input_ids"].astype(np.int32))
    assert error(found, io["out.last_hidden_state"]) > 10 * ATOL


def test_a_wrong_epsilon_would_be_seen(golden):
    config, params, io = golden
    wrong = dataclasses.replace(config, layer_norm_eps=1e-6)
    found = text.text_tokens(wrong, params, io["in.input_ids"].astype(np.int32))
    assert error(found, io["out.last_hidden_state"]) > 1e-3


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match=r"hidden_act must be one of gelu.*got relu"):
        text.activation("relu")
