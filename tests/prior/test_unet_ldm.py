"""MVDream and ImageDream against torch, and what each possible mistake would cost."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import blocks, unet_ldm
from adreamer_jax.prior.load import check_tree
from adreamer_jax.prior.unet_ldm import LdmConfig, UNetLdm, read_ldm_config
from tests.prior.golden_unets import (
    ATOL,
    error,
    manifest,
    nhwc,
    read_golden,
    sizes,
    to_params,
)

RIGHT = {
    "transformer_eps": 1e-6,
    "resnet_eps": 1e-5,
    "layer_eps": 1e-5,
    "tanh": 0.0,
    "same_padding": 0.0,
}


@pytest.fixture(scope="module")
def mvdream():
    config, weights, io = read_golden("mvdream_unet")
    names = ("in.x", "in.timesteps", "in.context", "in.camera")
    x, time, context, camera = (io[name] for name in names)
    inputs = {"x": nhwc(x), "time": time, "context": context, "camera": camera}
    return read_ldm_config(config), to_params(weights), inputs, io


@pytest.fixture(scope="module")
def run(mvdream):
    """The network with its constants as inputs: one program for every mistake."""
    config = mvdream[0]

    @jax.jit
    def network(params, inputs, constants):
        with pytest.MonkeyPatch.context() as patch:
            use(patch, constants)
            return unet_ldm.unet_ldm(
                config,
                params,
                inputs["x"],
                inputs["time"],
                inputs["context"],
                camera=inputs["camera"],
                num_views=4,
            )

    return network


def use(patch, constants):
    """Put traced constants in the place of the written ones."""
    gelu, conv3 = nn.gelu, blocks.conv3

    def mixed_gelu(x, approximate):
        wrong = gelu(x, approximate=True) - gelu(x, approximate=approximate)
        return gelu(x, approximate=approximate) + constants["tanh"] * wrong

    def mixed_conv(channels, name, dtype, **kwargs):
        right = conv3(channels, name, dtype, **kwargs)
        if kwargs.get("strides") != (2, 2):
            return right
        # XLA's "SAME" starts one pixel later: shift the picture to see that window.
        later = lambda x: jnp.pad(x[:, 1:, 1:], ((0, 0), (0, 1), (0, 1), (0, 0)))
        share = constants["same_padding"]
        return lambda x: right(x) + share * (right(later(x)) - right(x))

    resnet = functools.partial(blocks.Resnet, epsilon=constants["resnet_eps"])
    patch.setattr(blocks, "TRANSFORMER_EPS", constants["transformer_eps"])
    patch.setattr(blocks, "LAYER_NORM_EPS", constants["layer_eps"])
    patch.setattr(unet_ldm, "Resnet", resnet)
    patch.setattr(blocks, "conv3", mixed_conv)
    patch.setattr(nn, "gelu", mixed_gelu)


def test_mvdream_equals_torch(mvdream, run):
    _, params, inputs, io = mvdream
    assert error(run(params, inputs, RIGHT), nhwc(io["out.sample"])) < ATOL


@pytest.mark.parametrize(
    ("name", "value", "cost"),
    [
        ("tanh", 1.0, 1e-4),
        ("transformer_eps", 1e-5, 1e-3),
        ("resnet_eps", 1e-6, 1e-3),
        ("layer_eps", 1e-6, 1e-3),
        ("same_padding", 1.0, 1e-3),
    ],
)
def test_a_wrong_constant_is_seen(mvdream, run, name, value, cost):
    _, params, inputs, io = mvdream
    found = run(params, inputs, {**RIGHT, name: value})
    assert error(found, nhwc(io["out.sample"])) > cost


def mapped(params, suffix, change):
    """Change the parameters whose path ends so."""

    def visit(path, x):
        name = "/".join(step.key for step in path)
        return change(x) if name.endswith(suffix) else x

    return jax.tree_util.tree_map_with_path(visit, params)


def interleaved(x):
    """Columns in the order in which heads would alternate channel by channel."""
    heads = x.shape[-1] // 16
    return x.reshape(-1, heads, 16).swapaxes(1, 2).reshape(x.shape)


def skip_first(x):
    return np.roll(x, x.shape[-2] // 2, axis=-2)


WRONG_WEIGHTS = {
    "sines first": ("time_embed_0/kernel", lambda x: np.roll(x, 16, axis=0)),
    "gate first": ("net_0/proj/kernel", lambda x: np.roll(x, x.shape[1] // 2, axis=1)),
    "other heads": ("attn1/to_q/kernel", interleaved),
    "skip before stream": ("output_blocks_0_0/in_layers_2/kernel", skip_first),
    "matrix not transposed": ("attn1/to_v/kernel", np.transpose),
    "rows and columns": ("out_2/kernel", lambda x: x.swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_a_wrong_layout_is_seen(mvdream, run, name):
    _, params, inputs, io = mvdream
    wrong = mapped(params, *WRONG_WEIGHTS[name])
    found = run(wrong, inputs, RIGHT)
    assert error(found, nhwc(io["out.sample"])) > 1e-3


def test_views_that_are_not_neighbors_are_seen(mvdream, run):
    _, params, inputs, io = mvdream
    order = np.arange(8).reshape(2, 4).T.reshape(-1)
    found = run(params, {k: v[order] for k, v in inputs.items()}, RIGHT)
    assert error(found, nhwc(io["out.sample"])[order]) > 1e-3


def test_scenes_do_not_see_each_other(mvdream, run):
    _, params, inputs, _ = mvdream
    base = run(params, inputs, RIGHT)
    swap = np.roll(np.arange(8), 4)
    found = run(params, {k: v[swap] for k, v in inputs.items()}, RIGHT)
    np.testing.assert_allclose(found, base[swap], atol=1e-6)


def test_every_stage_equals_torch(mvdream):
    config, params, inputs, io = mvdream
    network = UNetLdm(config, 4)

    @jax.jit
    def stages(params, x, time, context, camera):
        arrays = (x, time, context, camera, None, None)
        _, state = network.apply(
            {"params": params}, *arrays, capture_intermediates=True
        )
        return state["intermediates"]

    found = stages(params, **inputs)
    for torch, ours in {
        "time_embed": "time_embed_2",
        "camera_embed": "camera_embed_2",
        "input_blocks.1.0": "input_blocks_1_0",
        "input_blocks.1.1": "input_blocks_1_1",
        "middle_block": "middle_block_2",
        "output_blocks.0": "output_blocks_0_0",
        "output_blocks.1": "output_blocks_1_1",
        "output_blocks.3": "output_blocks_3_1",
    }.items():
        wanted = io[f"mid.{torch}"]
        wanted = nhwc(wanted) if wanted.ndim == 4 else wanted
        assert error(found[ours]["__call__"][0], wanted) < ATOL, torch


def test_one_view_without_camera_is_the_plain_network(mvdream):
    config, params, inputs, io = mvdream
    call = jax.jit(functools.partial(unet_ldm.unet_ldm, config, num_views=1))
    found = call(params, inputs["x"], inputs["time"], inputs["context"])
    assert error(found, nhwc(io["out.sample_2d_nocam"])) < ATOL


def test_bfloat16_is_near_and_comes_back_in_float32(mvdream):
    config, params, inputs, io = mvdream
    halves = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
    call = functools.partial(unet_ldm.unet_ldm, config, dtype=jnp.bfloat16)
    found = jax.jit(call)(
        halves,
        inputs["x"],
        inputs["time"],
        inputs["context"],
        camera=inputs["camera"].reshape(8, 4, 4),
    )
    assert found.dtype == jnp.float32
    assert ATOL < error(found, nhwc(io["out.sample"])) < 0.1


def test_original_checkpoint_equals_torch():
    config, weights, io = read_golden("mvdream_ldm")
    config = read_ldm_config(config["unet_config"])
    params = to_params(weights, "model.diffusion_model.")
    call = jax.jit(functools.partial(unet_ldm.unet_ldm, config))
    found = call(
        params,
        nhwc(io["in.x"]),
        io["in.timesteps"],
        io["in.context"],
        camera=io["in.camera"],
    )
    assert error(found, nhwc(io["out.sample"])) < ATOL


@pytest.fixture(scope="module")
def imagedream():
    config, weights, io = read_golden("imagedream_unet")
    config = read_ldm_config(config)
    call = functools.partial(unet_ldm.unet_ldm, config, num_views=5)
    inputs = {
        "latents": nhwc(io["in.x"]),
        "time": io["in.timesteps"],
        "context": io["in.context"],
        "camera": io["in.camera"],
        "image_features": io["in.ip"],
        "image_latents": nhwc(io["in.ip_img"]),
    }
    wanted = nhwc(io["out.sample"])
    return config, to_params(weights), jax.jit(call), inputs, wanted, io


def test_imagedream_equals_torch(imagedream):
    _, params, call, inputs, wanted, _ = imagedream
    assert error(call(params, **inputs), wanted) < ATOL


def test_resampler_equals_torch(imagedream):
    config, params, _, inputs, _, io = imagedream
    network = unet_ldm.Resampler(config.ip_dim, config.context_dim)
    found = jax.jit(network.apply)(
        {"params": params["image_embed"]}, inputs["image_features"]
    )
    assert error(found, io["mid.image_embed"]) < ATOL


def test_the_last_view_is_the_picture_and_not_what_was_given(imagedream):
    _, params, call, inputs, wanted, _ = imagedream
    noise = inputs["latents"].at[4::5].set(100.0)
    assert error(call(params, **{**inputs, "latents": noise}), wanted) < ATOL
    other = {**inputs, "image_latents": inputs["image_latents"] + 0.1}
    assert error(call(params, **other), wanted) > 1e-3


def test_tokens_of_the_picture_matter_by_their_own_weights(imagedream):
    _, params, call, inputs, wanted, _ = imagedream
    zeros = mapped(params, "to_v_ip/kernel", np.zeros_like)
    assert error(call(zeros, **inputs), wanted) > 1e-3


def test_imagedream_without_a_picture_is_refused(imagedream):
    config, params, _, inputs, _, _ = imagedream
    arrays = inputs["latents"], inputs["time"], inputs["context"]
    with pytest.raises(ValueError, match="pass zeros for the unconditional half"):
        unet_ldm.unet_ldm(config, params, *arrays, num_views=5)


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [
        ("mvdream_unet", LdmConfig(), (690, 867_572_164)),
        ("imagedream_unet", LdmConfig(ip_dim=16), (773, 941_672_900)),
    ],
)
def test_real_size_has_the_published_names_and_shapes(name, config, count):
    shapes = unet_ldm.unet_ldm_shapes(config)
    check_tree(manifest(name), shapes)
    assert sizes(shapes) == count


def test_published_config_is_the_default():
    published = {
        "_class_name": "MultiViewUNetModel",
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_head_channels": 64,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "transformer_depth": 1,
        "context_dim": 1024,
        "use_checkpoint": False,
        "legacy": False,
        "camera_dim": 16,
    }
    assert read_ldm_config(published) == LdmConfig()
    with pytest.raises(ValueError, match=r"use_scale_shift_norm .* must be False"):
        read_ldm_config({**published, "use_scale_shift_norm": True})
    with pytest.raises(ValueError, match="chanel_mult"):
        read_ldm_config({**published, "chanel_mult": [1, 2]})


POCKET = LdmConfig(
    in_channels=12,
    out_channels=12,
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
    num_head_channels=8,
    context_dim=6,
    norm_groups=8,
    position_size=8,
)


def test_a_small_network_learns(key):
    params = unet_ldm.init_unet_ldm(key, POCKET)
    x = jax.random.normal(key, (4, 8, 8, 12))
    context, camera = jnp.ones((4, 3, 6)), jnp.ones((4, 16))

    def loss(params):
        found = unet_ldm.unet_ldm(POCKET, params, x, 500, context, camera=camera)
        return jnp.square(found - x).mean()

    @jax.jit
    def step(params):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient), value, gradient

    values = []
    for _ in range(12):
        params, value, gradient = step(params)
        values.append(float(value))
    assert abs(values[0] - np.square(x).mean()) < 1e-6  # it starts by predicting zero
    assert values[-1] < 0.9 * values[0]
    for name in ("position_0", "position_1", "camera_embed_2", "time_embed_0"):
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient[name])), name


def test_attention_is_at_the_chosen_levels_alone():
    shapes = unet_ldm.unet_ldm_shapes(POCKET)
    names = {name for name, layer in shapes.items() if "attn1" in str(layer)}
    assert names == {
        "input_blocks_3_1",
        "middle_block_1",
        "output_blocks_0_1",
        "output_blocks_1_1",
    }
    assert shapes["position_1"].shape == (4, 4, 16)
    plain = dataclasses.replace(POCKET, camera_dim=None, position_size=None)
    names = unet_ldm.unet_ldm_shapes(plain)
    assert not any(name.startswith(("position", "camera")) for name in names)
