"""Parts of the UNets: closed forms and slow twins of every layer with a trap."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import blocks


def draw(network, *inputs):
    """Parameters without structure, in which no layer is silent."""
    generator = np.random.default_rng(1)
    shapes = blocks.network_shapes(network, *inputs)
    return jax.tree.map(
        lambda leaf: generator.standard_normal(leaf.shape, np.float32), shapes
    )


def apply(network, *inputs, params):
    return jax.jit(network.apply)({"params": params}, *inputs)


def plain(norm, channels):
    """A norm without gain and bias, as a function."""
    params = {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}
    return lambda x: norm.apply({"params": params}, x)


def test_sinusoid_has_cosines_first():
    time = jnp.array([0.0, 1.0, 999.0])
    found = blocks.sinusoid(time, 6)
    frequency = [10_000 ** (-i / 3) for i in range(3)]
    wanted = [
        [math.cos(t * f) for f in frequency] + [math.sin(t * f) for f in frequency]
        for t in (0.0, 1.0, 999.0)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-4)  # float32 at 999 radians
    np.testing.assert_array_equal(found[0], [1, 1, 1, 0, 0, 0])


def test_time_of_one_number_serves_all_rows():
    np.testing.assert_array_equal(blocks.to_rows(7, 3), [7.0, 7.0, 7.0])
    np.testing.assert_array_equal(blocks.to_rows(jnp.array([1, 2]), 2), [1.0, 2.0])


def test_tokens_and_images_are_inverse(key):
    images = jax.random.normal(key, (2, 3, 5, 4))
    tokens = blocks.as_tokens(images)
    np.testing.assert_array_equal(tokens[:, 6], images[:, 1, 1])  # row by row
    np.testing.assert_array_equal(blocks.as_images(tokens, (3, 5)), images)


def group_norm_twin(x, groups, epsilon):
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    width = x.shape[-1] // groups
    for b, g in np.ndindex(len(x), groups):
        part = x[b, ..., g * width : (g + 1) * width]
        spread = np.sqrt(part.var() + epsilon)
        out[b, ..., g * width : (g + 1) * width] = (part - part.mean()) / spread
    return out


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (2, 3, 4, 5, 8)])
def test_group_norm_equals_the_slow_loop(key, shape):
    x = 2 * jax.random.normal(key, shape) + 1
    params = {"scale": jnp.arange(1.0, 9.0), "bias": jnp.arange(8.0)}
    found = apply(blocks.GroupNorm(4, 1e-2), x, params=params)
    wanted = group_norm_twin(x, 4, 1e-2) * params["scale"] + params["bias"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_group_norm_keeps_the_digits_of_a_small_stream(key):
    x = 3 + 0.01 * jax.random.normal(key, (1, 16, 16, 8))
    wanted = group_norm_twin(x, 4, 1e-5)
    found = plain(blocks.GroupNorm(4, 1e-5), 8)(x)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    groups = x.reshape(1, 16, 16, 4, 2)
    mean = groups.mean((1, 2, 4), keepdims=True)
    variance = (groups**2).mean((1, 2, 4), keepdims=True) - mean**2
    two_moments = ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(x.shape)
    assert np.abs(two_moments - wanted).max() > 1e-3  # what the second pass is for


def test_group_norm_of_halves_is_computed_in_float32(key):
    x = (100 + jax.random.normal(key, (1, 8, 8, 4))).astype(jnp.bfloat16)
    found = plain(blocks.GroupNorm(2, 1e-5, jnp.bfloat16), 4)(x)
    assert found.dtype == jnp.bfloat16
    wanted = group_norm_twin(x.astype(jnp.float32), 2, 1e-5)
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, atol=2e-2)


def test_group_norm_has_a_finite_gradient_where_nothing_varies():
    gradient = jax.grad(lambda x: plain(blocks.GroupNorm(2), 4)(x)[..., 0].sum())
    assert np.isfinite(gradient(jnp.ones((1, 2, 2, 4)))).all()


def test_downsample_pads_all_sides():
    """The window of the first output starts one pixel before the picture."""
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[0, 0].set(1.0)
    params = {"op": {"kernel": kernel, "bias": jnp.zeros(1)}}
    found = apply(blocks.Downsample("op"), x, params=params)
    np.testing.assert_array_equal(found[0, :, :, 0], [[0, 0], [0, 5]])
    same = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert not np.array_equal(same, found)


def test_upsample_repeats_pixels():
    x = jnp.array([[1.0, 2.0]]).reshape(1, 1, 2, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    params = {"conv": {"kernel": kernel, "bias": jnp.zeros(1)}}
    found = apply(blocks.Upsample(), x, params=params)
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_gate_is_the_second_half_and_the_gelu_is_exact():
    params = {
        "proj": {"kernel": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "bias": np.zeros(2)}
    }
    x = jnp.array([[[3.0, 0.7]]])
    found = float(apply(blocks.GegluProjection(1), x, params=params)[0, 0, 0])
    exact = 0.7 * 0.5 * (1 + math.erf(0.7 / math.sqrt(2)))
    assert abs(found - 3.0 * exact) < 1e-6
    assert abs(3.0 * float(nn.gelu(0.7)) - found) > 1e-4  # flax's default, by tanh


def test_views_see_each_other_in_self_attention_alone(key):
    x = jax.random.normal(key, (4, 6, 8))  # two scenes of two views
    context = jax.random.normal(jax.random.key(2), (4, 3, 5))
    block = blocks.TransformerBlock(2, views=2)
    params = draw(block, x, context)
    run = lambda x, context: apply(block, x, context, params=params)
    base = run(x, context)
    moved = np.abs(run(x.at[1].set(x[1, :, ::-1]), context) - base).max((1, 2))
    assert (moved[:2] > 1e-3).all() and (moved[2:] < 1e-6).all()
    moved = np.abs(run(x, context.at[1].multiply(2.0)) - base).max((1, 2))
    assert moved[1] > 1e-3 and (moved[[0, 2, 3]] < 1e-6).all()


def test_one_view_is_the_plain_block(key):
    x = jax.random.normal(key, (2, 6, 8))
    context = jax.random.normal(key, (2, 3, 5))
    params = draw(blocks.TransformerBlock(2), x, context)
    both = apply(blocks.TransformerBlock(2), x, context, params=params)
    each = apply(blocks.TransformerBlock(2), x[:1], context[:1], params=params)
    np.testing.assert_allclose(both[:1], each, atol=1e-6)


def test_tokens_of_an_image_have_their_own_keys_and_weight(key):
    x, context = jax.random.normal(key, (1, 4, 8)), jax.random.normal(key, (1, 5, 6))
    layer = blocks.Attention(2, image_tokens=2, image_weight=0.5)
    params = draw(layer, x, context)
    found = apply(layer, x, context, params=params)
    text = apply(blocks.Attention(2), x, context[:, :3], params=params)
    swapped = {**params, "to_k": params["to_k_ip"], "to_v": params["to_v_ip"]}
    image = apply(blocks.Attention(2), x, context[:, 3:], params=swapped)
    bias = params["to_out_0"]["bias"]
    np.testing.assert_allclose(found, text + 0.5 * (image - bias), atol=1e-5)


def test_heads_are_neighboring_channels(key):
    """The first head reads the first half of the channels, alone."""
    x = jax.random.normal(key, (1, 3, 4))
    layer = blocks.Attention(2)
    params = draw(layer, x)
    eye = {"kernel": jnp.eye(4)}
    params = {**params, "to_v": eye, "to_out_0": {**eye, "bias": jnp.zeros(4)}}
    base = apply(layer, x, params=params)
    query = params["to_q"]["kernel"] + jnp.array([1.0, 1.0, 0.0, 0.0])
    moved = apply(layer, x, params={**params, "to_q": {"kernel": query}})
    assert np.abs(moved - base)[..., :2].max() > 1e-3
    np.testing.assert_array_equal(moved[..., 2:], base[..., 2:])


@pytest.mark.parametrize("linear", [True, False])
def test_fresh_transformers_and_resnets_change_nothing(key, linear):
    x = jax.random.normal(key, (1, 4, 4, 8))
    context, embedding = jnp.ones((1, 2, 5)), jnp.ones((1, 6))
    for network, other in (
        (blocks.Resnet(8, blocks.LDM, 4), embedding),
        (blocks.Transformer(2, linear=linear, groups=4), context),
    ):
        params = blocks.init_network(key, network, x, other)
        np.testing.assert_array_equal(apply(network, x, other, params=params), x)


def test_fresh_parameters_follow_the_key_and_keep_the_size_of_a_stream(key):
    x = jnp.ones((1, 64))
    layer = nn.Dense(4096)
    params = blocks.init_network(key, layer, x)
    again = blocks.init_network(key, layer, x)
    other = blocks.init_network(jax.random.key(5), layer, x)
    np.testing.assert_array_equal(params["kernel"], again["kernel"])
    assert not np.array_equal(params["kernel"], other["kernel"])
    assert abs(float(apply(layer, x, params=params).std()) - 1) < 0.05


def test_names_of_a_resnet_are_those_of_its_checkpoints():
    x, embedding = jnp.ones((1, 2, 2, 4)), jnp.ones((1, 3))
    for names in (blocks.LDM, blocks.DIFFUSERS):
        shapes = blocks.network_shapes(blocks.Resnet(8, names, 2), x, embedding)
        assert set(shapes) == set(names)
