"""Vision towers against torch's numbers, their preparation, their known mistakes."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import vision
from adreamer_jax.prior.text import TextConfig
from adreamer_jax.prior.tree import check_tree, tree_from_torch
from tests.prior.golden_unets import ATOL, error, manifest, nhwc, read_golden


def read(name, config_of, shapes_of):
    settings, weights, io = read_golden(name)
    config, params = config_of(settings), tree_from_torch(weights)
    check_tree(params, shapes_of(config))
    return config, params, io


@pytest.fixture(scope="module")
def dino():
    return read("dinov2", vision.dino_config, vision.dino_shapes)


def test_penultimate_tokens_and_projection():
    config, params, io = read(
        "clip_vision_proj", vision.vision_config, vision.vision_shapes
    )
    run = jax.jit(partial(vision.vision_tokens, config))
    tokens, projected = run(params, nhwc(io["in.pixel_values"]))
    assert error(tokens, io["out.hidden_states_penultimate"]) < ATOL
    assert error(projected, io["out.image_embeds"]) < ATOL  # not of length one
    image = nhwc(io["in.pixel_values"])
    states, _ = jax.jit(vision.VisionTower(config).apply)({"params": params}, image)
    assert error(states[-1], io["out.last_hidden_state"]) < ATOL


def test_joint_clip():
    config, params, io = read("clip_model", vision.clip_config, vision.clip_shapes)
    ids, image = io["in.input_ids"].astype(np.int32), nhwc(io["in.pixel_values"])
    texts = jax.jit(partial(vision.clip_text, config))(params, ids)
    pictures = jax.jit(partial(vision.clip_image, config))(params, image)
    assert error(texts, io["out.text_embeds"]) < ATOL
    assert error(pictures, io["out.image_embeds"]) < ATOL
    run = partial(vision.Clip(config).apply, capture_intermediates=True)
    logits, state = jax.jit(run)({"params": params}, ids, image)
    assert error(logits, io["out.logits_per_image"]) < ATOL
    states, pooled = state["intermediates"]["vision_model"]["__call__"][0]
    assert error(states[-2], io["mid.vision_hidden_penultimate"]) < ATOL
    assert error(states[-1], io["mid.vision_last"]) < ATOL
    assert error(pooled, io["mid.vision_pooled"]) < ATOL
    score = vision.clip_score(pictures[:2], texts)
    cosine = np.sum(io["out.image_embeds"][:2] * io["out.text_embeds"], -1)
    np.testing.assert_allclose(score, 100 * np.maximum(cosine, 0), atol=1e-3)


@pytest.mark.parametrize("size", ["", "_24x40", "_48x48"])
def test_dino_at_its_own_and_at_other_sizes(dino, size):
    config, params, io = dino
    image = nhwc(io[f"in.pixel_values{size}"])
    tokens = jax.jit(vision.Dino(config).apply)({"params": params}, image)
    assert error(tokens, io[f"out.last_hidden_state{size}"]) < ATOL
    if not size:
        assert error(tokens[:, 0], io["out.pooler_output"]) < ATOL


def test_features_are_the_patch_tokens_on_their_grid(dino):
    config, params, io = dino
    prepared = nhwc(io["in.pixel_values_24x40"])
    image = prepared * vision._IMAGENET_SPREAD + vision._IMAGENET_MEAN
    found = jax.jit(partial(vision.dino_features, config))(params, image)
    assert found.shape == (1, 6, 10, 48)
    expected = io["out.last_hidden_state_24x40"][:, 1:].reshape(found.shape)
    assert error(found, expected) < 5e-5
    with pytest.raises(ValueError, match="multiples of 4, got 24x41"):
        vision.dino_features(config, params, jnp.zeros((1, 24, 41, 3)))


def test_features_can_be_differentiated(dino):
    config, params, _ = dino
    total = lambda x: vision.dino_features(config, params, x).sum()
    slope = jax.jit(jax.grad(total))
    assert bool(jnp.isfinite(slope(jnp.full((1, 8, 8, 3), 0.5))).all())


def test_bicubic_rows_sum_to_one_and_keep_a_line():
    weights = vision.bicubic_weights(8, 13)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    places = (np.arange(13) + 0.5) * 8 / 13 - 0.5
    inner = slice(3, 10)  # rows whose four taps do not leave the line
    np.testing.assert_allclose(
        (weights @ np.arange(8.0))[inner], places[inner], atol=0.1
    )
    np.testing.assert_allclose(vision.bicubic_weights(5, 5), np.eye(5), atol=1e-6)


def wrong_weights(source, target):
    """The bicubic of jax, A = -0.5."""
    return jax.image.resize(
        jnp.eye(source), (target, source), "bicubic", antialias=False
    )


@pytest.mark.parametrize("mistake", ["bicubic of jax", "epsilon of CLIP", "tanh gelu"])
def test_known_mistakes_would_be_seen(dino, monkeypatch, mistake):
    config, params, io = dino
    if mistake == "bicubic of jax":
        monkeypatch.setattr(vision, "bicubic_weights", wrong_weights)
    if mistake == "epsilon of CLIP":
        config = dataclasses.replace(config, layer_norm_eps=1e-5)
    if mistake == "tanh gelu":
        tanh = lambda x, approximate: jax.nn.gelu(x, approximate=True)
        monkeypatch.setattr(vision.nn, "gelu", tanh)
    found = vision.Dino(config).apply(
        {"params": params}, nhwc(io["in.pixel_values_24x40"])
    )
    assert error(found, io["out.last_hidden_state_24x40"]) > 5 * ATOL


def clip(text_width, vision_width, text_heads, vision_heads, depth, **vision_sizes):
    """Sizes of one of OpenAI's towers."""
    return vision.ClipConfig(
        text=TextConfig(
            hidden_size=text_width,
            intermediate_size=4 * text_width,
            num_hidden_layers=12,
            num_attention_heads=text_heads,
        ),
        vision=vision.VisionConfig(
            hidden_size=vision_width,
            intermediate_size=4 * vision_width,
            num_hidden_layers=depth,
            num_attention_heads=vision_heads,
            **vision_sizes,
        ),
        projection_dim=text_width,
    )


def test_published_sizes_by_name_and_shape():
    pairs = {
        "clip_vit_l14": vision.clip_shapes(clip(768, 1024, 12, 16, 24, patch_size=14)),
        "clip_vit_b32": vision.clip_shapes(clip(512, 768, 8, 12, 12, patch_size=32)),
        "openclip_vit_h14_vision": vision.vision_shapes(vision.VisionConfig()),
        "dinov2_small": vision.dino_shapes(vision.DinoConfig()),
        "dinov2_base": vision.dino_shapes(
            vision.DinoConfig(hidden_size=768, num_attention_heads=12)
        ),
    }
    for name, shapes in pairs.items():
        check_tree(manifest(name), shapes, what=name)


def test_preparation_takes_the_published_means_and_spreads():
    """Gray and white, in plain numbers of the two published processors."""
    white = jnp.ones((1, 4, 4, 3))
    of_clip = [
        (1 - 0.48145466) / 0.26862954,
        (1 - 0.4578275) / 0.26130258,
        (1 - 0.40821073) / 0.27577711,
    ]
    of_imagenet = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(
        vision.prepare_clip(white, 2)[0, 0, 0], of_clip, atol=1e-5
    )
    np.testing.assert_allclose(
        vision.prepare_dino(white)[0, 0, 0], of_imagenet, atol=1e-5
    )


def test_preparation_smooths_before_it_shrinks():
    """A checkerboard becomes gray: without antialiasing it would alias."""
    board = (jnp.indices((32, 32)).sum(0) % 2).astype(jnp.float32)
    image = jnp.repeat(board[None, :, :, None], 3, axis=3)
    prepared = vision.prepare_clip(image, 9)
    found = prepared * vision._CLIP_SPREAD + vision._CLIP_MEAN
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], 0.5, atol=0.02)


def test_preparation_rounds_as_the_published_one_does(monkeypatch):
    """The long side down: 480 x 854 to 224 x 398."""
    sizes = []
    resize = jax.image.resize
    monkeypatch.setattr(
        jax.image, "resize", lambda x, s, *a, **k: sizes.append(s) or resize(x, s, *a)
    )
    vision.prepare_clip(jnp.zeros((1, 480, 854, 3)), 224)
    vision.prepare_clip(jnp.zeros((1, 854, 480, 3)), 224)
    assert [s[1:3] for s in sizes] == [(224, 398), (398, 224)]


def test_preparation_keeps_the_middle_and_its_gradient():
    image = jnp.zeros((1, 20, 40, 3)).at[:, :, 10:30].set(1.0)
    white = (1.0 - vision._CLIP_MEAN) / vision._CLIP_SPREAD
    found = vision.prepare_clip(image, 10)
    assert found.shape == (1, 10, 10, 3)
    np.testing.assert_allclose(found[0, 5, 5], white, atol=1e-5)
    slope = jax.grad(lambda x: vision.prepare_clip(x, 10).sum())(image)
    assert float(jnp.abs(slope[:, :, 15:25]).min()) > 0
    assert float(jnp.abs(slope[:, :, :5]).max()) == 0
