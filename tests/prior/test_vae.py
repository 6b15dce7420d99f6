"""The autoencoder against torch's numbers, and what each known mistake would cost."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import vae
from adreamer_jax.prior.blocks import Downsample
from adreamer_jax.prior.tree import check_tree, tree_from_torch
from tests.prior.golden_unets import ATOL, error, manifest, nhwc, read_golden


@pytest.fixture(scope="module")
def golden():
    settings, weights, io = read_golden("vae")
    config = vae.vae_config(settings)
    params = tree_from_torch(vae.vae_names(weights, levels=3))
    check_tree(params, vae.vae_shapes(config))
    return config, params, io


def unit(image):
    """The reference's [-1, 1] as our [0, 1]."""
    return 0.5 * nhwc(image) + 0.5


def test_moments_and_the_gradient_of_the_image(golden):
    config, params, io = golden

    def run(image):
        (mean, log_variance), pull = jax.vjp(
            lambda x: vae.vae_moments(config, params, x), image
        )
        zero = jnp.zeros_like(log_variance)
        return mean, log_variance, pull((nhwc(io["in.cotangent_mean"]), zero))[0]

    mean, log_variance, slope = jax.jit(run)(unit(io["in.image"]))
    assert error(mean, nhwc(io["out.mean"])) < ATOL
    assert error(log_variance, nhwc(io["out.logvar"])) < ATOL
    # The reference differentiates by its own [-1, 1], twice as wide as ours.
    assert error(0.5 * slope, nhwc(io["out.grad_image"])) < ATOL


def test_decoded_picture(golden):
    config, params, io = golden
    latent = config.scaling_factor * nhwc(io["in.z"])
    found = jax.jit(lambda z: vae.vae_decode(config, params, z))(latent)
    assert error(found, unit(io["out.decoded"])) < ATOL


def test_a_draw_is_the_mean_and_noise_in_proportion(golden):
    config, params, io = golden
    image, encode = unit(io["in.image"]), jax.jit(partial(vae.vae_encode, config))
    noise = jax.random.normal(jax.random.key(0), (2, 4, 6, 4))
    mean = encode(params, image)
    assert error(mean, config.scaling_factor * nhwc(io["out.mean"])) < ATOL
    spread = jnp.exp(0.5 * nhwc(io["out.logvar"]))
    draw = encode(params, image, noise=noise)
    assert error(draw - mean, config.scaling_factor * spread * noise) < ATOL


def old_names(weights):
    """As diffusers once called the attention's layers."""
    parts = {
        "to_q": "query",
        "to_k": "key",
        "to_v": "value",
        "to_out.0": "proj_attn",
    }
    renamed = {}
    for key, value in weights.items():
        for new, old in parts.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[key] = value
    return renamed


def test_old_published_names_are_the_same_network(golden):
    weights = read_golden("vae")[1]
    old = old_names(weights)
    assert old.keys() != weights.keys()
    renamed = vae.vae_names(old, levels=3)
    assert renamed.keys() == weights.keys()
    for name, value in weights.items():  # a query must not come back as a key
        np.testing.assert_array_equal(renamed[name], value)


def test_the_log_variance_is_clipped(golden):
    config, params, io = golden
    bias = np.repeat([0.0, 100.0, -100.0], [4, 2, 2]).astype(np.float32)
    loud = {**params, "quant_conv": {**params["quant_conv"], "bias": bias}}
    _, found = jax.jit(partial(vae.vae_moments, config))(loud, unit(io["in.image"]))
    np.testing.assert_array_equal(found[..., :2], 20.0)
    np.testing.assert_array_equal(found[..., 2:], -30.0)


STAGES = {
    "encoder": ("conv_in", "down_blocks.0", "mid_block", "conv_norm_out"),
    "decoder": ("mid_block",),
}


@pytest.mark.parametrize("half", STAGES)
def test_every_stage_equals_torch(golden, half):
    """The mean does not say which layer is wrong; these do."""
    config, params, io = golden
    network = vae.Autoencoder(config)
    of_image = half == "encoder"
    given = nhwc(io["in.image"] if of_image else io["in.z"])
    method = "moments" if of_image else "picture"
    run = partial(network.apply, capture_intermediates=True, method=method)
    _, state = jax.jit(run)({"params": params}, given)
    for stage in STAGES[half]:
        calls = state["intermediates"][half][stage.replace("s.", "s_")]["__call__"]
        wanted = nhwc(io[f"mid.{half}.{stage}"])
        assert error(calls[0], wanted) < ATOL, stage  # a norm's, before its SiLU


def test_original_names_and_layout():
    """The ldm layout: levels of the decoder from the other end, matrices as 1x1."""
    settings, weights, io = read_golden("mvdream_ldm")
    config = vae.ldm_vae_config(settings)
    prefix = "first_stage_model."
    part = {k.removeprefix(prefix): v for k, v in weights.items() if prefix in k}
    params = tree_from_torch(vae.vae_names(part, levels=2))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    check_tree(params, vae.vae_shapes(config))
    moments = jax.jit(partial(vae.vae_moments, config))
    mean, log_variance = moments(params, unit(io["in.image"]))
    assert error(mean, nhwc(io["out.mean"])) < ATOL
    assert error(log_variance, nhwc(io["out.logvar"])) < ATOL
    decode = jax.jit(partial(vae.vae_decode, config))
    decoded = decode(params, config.scaling_factor * nhwc(io["in.z"]))
    assert error(decoded, unit(io["out.decoded"])) < ATOL


def test_every_level_of_the_original_decoder_finds_its_place():
    renamed = vae.vae_names(
        {"decoder.up.3.block.2.nin_shortcut.weight": np.zeros((2, 2, 1, 1))}, levels=4
    )
    assert list(renamed) == ["decoder.up_blocks.0.resnets.2.conv_shortcut.weight"]


def test_published_size_by_name_and_shape():
    check_tree(manifest("sd_vae"), vae.vae_shapes(vae.VaeConfig()))


def mistaken(monkeypatch, name):
    """Make one of the mistakes that a port is prone to."""
    if name == "epsilon of the UNet":
        monkeypatch.setattr(vae, "_EPS", 1e-5)
    if name == "padding on all sides":
        halve = lambda dtype, name: Downsample("conv", dtype, name=name)
        monkeypatch.setattr(vae, "_Halve", halve)


@pytest.mark.parametrize(
    ("name", "cost"), [("epsilon of the UNet", 1e-2), ("padding on all sides", 0.5)]
)
def test_known_mistakes_would_be_seen(golden, monkeypatch, name, cost):
    config, params, io = golden
    mistaken(monkeypatch, name)
    moments = jax.jit(partial(vae.vae_moments, config))
    mean, _ = moments(params, unit(io["in.image"]))
    assert error(mean, nhwc(io["out.mean"])) > cost


def test_a_uniform_bright_picture_stays_finite(golden):
    """No variance anywhere: norms divide by their epsilon alone."""
    config, params, _ = golden
    slope = jax.jit(jax.grad(lambda x: vae.vae_encode(config, params, x).sum()))
    assert bool(jnp.isfinite(slope(jnp.ones((1, 8, 8, 3)))).all())


def test_half_precision_is_near(golden):
    config, params, io = golden
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
    image = unit(io["in.image"])
    encode = jax.jit(partial(vae.vae_moments, config, dtype=jnp.bfloat16))
    mean, _ = encode(half, image)
    assert mean.dtype == jnp.float32
    assert error(mean, nhwc(io["out.mean"])) < 0.1
