"""Layers along the frames: laws; parity with torch is tested with the whole network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior.blocks import init_network, network_shapes
from adreamer_jax.prior.temporal import FrameConv, TemporalConvs, TemporalTransformer

FRAMES = 3
LAYERS = {
    "convs": TemporalConvs(FRAMES, groups=4),
    "transformer": TemporalTransformer(FRAMES, heads=2, groups=4, inner=6),
}


def draw(network, x):
    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: generator.standard_normal(leaf.shape, np.float32),
        network_shapes(network, x),
    )


@pytest.fixture
def clips(key):
    return jax.random.normal(key, (2 * FRAMES, 2, 4, 8))


def test_frame_conv_equals_the_slow_loop(key):
    x = jax.random.normal(key, (1, 4, 2, 3))
    network = FrameConv(5)
    params = draw(network, x)
    found = network.apply({"params": params}, x)
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    kernel = params["kernel"][:, 0, 0]
    wanted = sum(padded[:, i : i + 4] @ kernel[i] for i in range(3)) + params["bias"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_clips_do_not_see_each_other_and_frames_do(clips, name):
    network = LAYERS[name]
    params = draw(network, clips)
    run = jax.jit(lambda x: network.apply({"params": params}, x))
    moved = np.abs(run(clips.at[1].set(clips[1, ..., ::-1])) - run(clips))
    moved = moved.max((1, 2, 3))
    assert (moved[:FRAMES] > 1e-3).all()
    np.testing.assert_array_equal(moved[FRAMES:], 0.0)


@pytest.mark.parametrize("name", LAYERS)
def test_pixels_meet_in_the_norm_alone(clips, name):
    """Permuting pixels permutes the result: nothing but the frames is convolved."""
    network = LAYERS[name]
    params = draw(network, clips)
    run = jax.jit(lambda x: network.apply({"params": params}, x))
    found = run(clips[:, ::-1, ::-1])[:, ::-1, ::-1]
    np.testing.assert_allclose(found, run(clips), atol=1e-3)


def test_transformer_does_not_know_the_order_of_frames(clips):
    network = LAYERS["transformer"]
    params = draw(network, clips)
    run = jax.jit(lambda x: network.apply({"params": params}, x))
    order = np.array([2, 1, 0, 3, 4, 5])
    np.testing.assert_allclose(run(clips[order]), run(clips)[order], atol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_fresh_layers_change_nothing(clips, key, name):
    network = LAYERS[name]
    params = init_network(key, network, clips)
    found = network.apply({"params": params}, clips)
    np.testing.assert_array_equal(found, clips)
    assert found.dtype == jnp.float32
