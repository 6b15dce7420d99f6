"""Stable Diffusion, Zero123 and text-to-video against torch, forward and backward."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior.load import check_tree
from adreamer_jax.prior.unet_diffusers import (
    UNet,
    UNetConfig,
    init_unet,
    read_unet_config,
    unet,
    unet_shapes,
)
from tests.prior.golden_unets import (
    ATOL,
    FOLDER,
    error,
    manifest,
    nhwc,
    read_golden,
    sizes,
    to_params,
)

SD15 = UNetConfig(heads=(8,) * 4, cross_attention_dim=768, linear_projection=False)
VIDEO = UNetConfig(temporal=True)


@pytest.fixture(scope="module")
def sd21():
    config, weights, io = read_golden("unet2d_sd21")
    arrays = (
        nhwc(io["in.sample"]),
        io["in.timesteps"],
        io["in.encoder_hidden_states"],
    )
    return read_unet_config(config), to_params(weights), arrays, io


@pytest.fixture(scope="module")
def stages(sd21):
    """Output and every layer's output, in one program for all tests of SD 2.1."""
    network = UNet(sd21[0])

    @jax.jit
    def run(params, x, time, context):
        out, state = network.apply(
            {"params": params}, x, time, context, capture_intermediates=True
        )
        return out, state["intermediates"]

    return run


def test_sd21_and_its_gradient_equal_torch(sd21):
    config, params, (x, *rest), io = sd21

    @jax.jit
    def both(params, x, cotangent):
        found, pull = jax.vjp(lambda x: unet(config, params, x, *rest), x)
        return found, pull(cotangent)[0]

    found, gradient = both(params, x, nhwc(io["in.cotangent"]))
    assert error(found, nhwc(io["out.sample"])) < ATOL
    assert error(gradient, nhwc(io["out.grad_sample"])) < ATOL


def test_every_stage_of_sd21_equals_torch(sd21, stages):
    _, params, (x, time, context), io = sd21
    _, found = stages(params, x, jnp.asarray(time, jnp.float32), context)
    names = [name.removeprefix("mid.") for name in io if name.startswith("mid.")]
    assert len(names) == 8
    for name in names:
        ours = found[name.replace("s.", "s_")]["__call__"][0]
        ours = ours[0] if isinstance(ours, tuple) else ours
        wanted = io[f"mid.{name}"]
        wanted = nhwc(wanted) if wanted.ndim == 4 else wanted
        assert error(ours, wanted) < ATOL, name


def test_rows_do_not_see_each_other(sd21, stages):
    _, params, arrays, io = sd21
    found, _ = stages(params, *(jnp.asarray(y, jnp.float32)[::-1] for y in arrays))
    assert error(found[::-1], nhwc(io["out.sample"])) < ATOL


def test_fresh_networks_predict_zero(key, sd21, stages):
    config, _, (x, time, context), _ = sd21
    params = init_unet(key, config)
    check_tree(params, unet_shapes(config))
    found, _ = stages(params, x, jnp.asarray(time, jnp.float32), context)
    np.testing.assert_array_equal(found, 0.0 * x)


def test_zero123_equals_torch():
    """Eight channels in, 1x1 convolutions around the transformers (SD 1.5)."""
    config, weights, io = read_golden("unet2d_sd15")
    config = read_unet_config(config)
    assert (config.in_channels, config.linear_projection) == (8, False)
    call = jax.jit(functools.partial(unet, config))
    params = to_params(weights)
    rest = io["in.timesteps"], io["in.encoder_hidden_states"]
    x = nhwc(io["in.sample"])
    assert error(call(params, x, *rest), nhwc(io["out.sample"])) < ATOL
    condition_first = jnp.roll(x, 4, axis=-1)
    found = call(params, condition_first, *rest)
    assert error(found, nhwc(io["out.sample"])) > 1e-3


@pytest.fixture(scope="module")
def video():
    config, weights, io = read_golden("unet3d")
    arrays = (
        nhwc(io["in.sample"]),
        io["in.timesteps"],
        io["in.encoder_hidden_states"],
    )
    return read_unet_config(config), to_params(weights), arrays, io


@pytest.mark.slow  # the same network once more, to say which layer is wrong
def test_every_stage_of_video_equals_torch(video):
    config, params, (x, time, context), io = video
    frames = x.shape[1]
    network = UNet(config, frames)

    @jax.jit
    def stages(params, x, time, context):
        rows = [jnp.repeat(y, frames, axis=0) for y in (time, context)]
        x = x.reshape(-1, *x.shape[2:])
        return network.apply({"params": params}, x, *rows, capture_intermediates=True)

    out, state = stages(params, x, jnp.asarray(time, jnp.float32), context)
    assert error(out.reshape(x.shape), nhwc(io["out.sample"])) < ATOL
    found = state["intermediates"]
    block = found["down_blocks_0"]
    for name, ours in {
        "conv_in": found["conv_in"],
        "transformer_in": found["transformer_in"],
        "down_blocks.0.resnets.0": block["resnets_0"],
        "down_blocks.0.temp_convs.0": block["temp_convs_0"],
        "down_blocks.0.attentions.0": block["attentions_0"],
        "down_blocks.0.temp_attentions.0": block["temp_attentions_0"],
        "mid_block": found["mid_block"],
    }.items():
        assert error(ours["__call__"][0], nhwc(io[f"mid.{name}"])) < ATOL, name


def test_video_equals_torch_and_has_a_direction(video):
    config, params, (x, time, context), io = video
    call = jax.jit(functools.partial(unet, config))
    found = call(params, x, time, context)
    assert found.shape == x.shape
    assert error(found, nhwc(io["out.sample"])) < ATOL
    backward = call(params, x[:, ::-1], time, context)[:, ::-1]
    assert error(backward, found) > 1e-3


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [
        ("sd21_unet", UNetConfig(), (686, 865_910_724)),
        ("sd15_unet", SD15, (686, 859_520_964)),
        (
            "zero123_unet",
            dataclasses.replace(SD15, in_channels=8),
            (686, 859_532_484),
        ),
        ("text2video_unet3d", VIDEO, (1480, 1_411_233_860)),
    ],
)
def test_real_size_has_the_published_names_and_shapes(name, config, count):
    shapes = unet_shapes(config)
    check_tree(manifest(name), shapes)
    assert sizes(shapes) == count


PUBLISHED = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
}


def test_heads_are_counted_in_2d_and_measured_in_3d(sd21, video):
    """``attention_head_dim`` says how many, or how wide, as the class has it."""
    assert sd21[0].heads == (2, 4, 4)
    assert video[0].heads == (2, 4)  # 16 and 32 channels in heads of 8


def test_published_configs():
    sd21 = {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024}
    sd21 = {**PUBLISHED, **sd21, "use_linear_projection": True}
    assert read_unet_config(sd21) == dataclasses.replace(UNetConfig(), frame_head_dim=0)
    sd15 = {**PUBLISHED, "attention_head_dim": 8, "cross_attention_dim": 768}
    assert read_unet_config(sd15).heads == (8, 8, 8, 8)
    video = json.loads(json.dumps({**PUBLISHED, "cross_attention_dim": 1024}))
    for way in ("down_block_types", "up_block_types"):
        video[way] = [name.replace("2D", "3D") for name in video[way]]
    video["attention_head_dim"] = 64
    assert read_unet_config(video) == VIDEO


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("class_embed_type", "timestep", "class_embed_type of a UNet must be None"),
        ("down_block_types", ["AttnDownBlock2D"] * 4, "block types of a UNet must be"),
        ("up_block_types", ["UpBlock2D"] * 4, "must attend at the levels"),
    ],
)
def test_other_networks_are_refused(name, value, says):
    config = json.loads((FOLDER / "unet2d_sd15" / "config.json").read_text())
    with pytest.raises(ValueError, match=says):
        read_unet_config({**config, name: value})
