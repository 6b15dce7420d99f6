"""ControlNet against torch, alone and together with the UNet that it steers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior.controlnet import (
    ControlNetConfig,
    controlnet,
    controlnet_shapes,
    init_controlnet,
    read_controlnet_config,
)
from adreamer_jax.prior.load import check_tree
from adreamer_jax.prior.unet_diffusers import UNetConfig, read_unet_config, unet
from tests.prior.golden_unets import (
    ATOL,
    error,
    manifest,
    nhwc,
    read_golden,
    sizes,
    to_params,
)

# The stem moves the tiny network's residuals by 1e-5 only: ask for the last digits.
STEM_ATOL = 5e-7


@pytest.fixture(scope="module")
def golden():
    return read_golden("controlnet")


@pytest.fixture(scope="module")
def arrays(golden):
    io = golden[2]
    names = "in.sample", "in.timesteps", "in.encoder_hidden_states"
    x, time, context = (io[name] for name in names)
    return nhwc(x), time, context, nhwc(io["in.controlnet_cond"])


@pytest.fixture(scope="module")
def control(golden):
    config, weights, _ = golden
    config = read_controlnet_config(config["controlnet"])
    call = jax.jit(functools.partial(controlnet, config))
    return functools.partial(call, to_params(weights, "controlnet."))


def test_residuals_equal_torch(golden, arrays, control):
    config, _, io = golden
    found = control(*arrays, scale=config["conditioning_scale"])
    assert len(found.down) == 4
    for index, ours in enumerate(found.down):
        assert error(ours, nhwc(io[f"out.down.{index}"])) < STEM_ATOL
    assert error(found.middle, nhwc(io["out.mid"])) < STEM_ATOL


def test_steered_unet_equals_torch(golden, arrays, control):
    config, weights, io = golden
    residuals = control(*arrays, scale=config["conditioning_scale"])
    call = jax.jit(functools.partial(unet, read_unet_config(config["unet"])))
    run = functools.partial(call, to_params(weights, "unet."), *arrays[:3])
    wanted = nhwc(io["out.unet_sample"])
    assert error(run(residuals=residuals), wanted) < ATOL
    unscaled = control(*arrays)
    assert error(run(residuals=unscaled), wanted) > 1e-3
    nothing = jax.tree.map(jnp.zeros_like, residuals)
    assert error(run(residuals=nothing), wanted) > 1e-3


def test_the_picture_matters_and_its_axes_too(arrays, control):
    x, time, context, picture = arrays
    base = control(x, time, context, picture)
    mirrored = control(x, time, context, picture[:, :, ::-1])
    assert error(base.middle, mirrored.middle) > 10 * STEM_ATOL


def test_real_size_has_the_published_names_and_shapes():
    encoder = UNetConfig(
        heads=(8,) * 4, cross_attention_dim=768, linear_projection=False
    )
    shapes = controlnet_shapes(ControlNetConfig(encoder))
    check_tree(manifest("controlnet_sd15"), shapes)
    assert sizes(shapes) == (340, 361_279_120)


def test_fresh_networks_add_nothing(golden, arrays, key):
    config = read_controlnet_config(golden[0]["controlnet"])
    params = init_controlnet(key, config)
    residuals = jax.jit(functools.partial(controlnet, config))(params, *arrays)
    assert all(np.abs(x).max() == 0 for x in jax.tree.leaves(residuals))


def test_other_orders_of_channels_are_refused(golden):
    config = {
        **golden[0]["controlnet"],
        "controlnet_conditioning_channel_order": "bgr",
    }
    with pytest.raises(ValueError, match="must be 'rgb'"):
        read_controlnet_config(config)
