"""Whole priors from their folders: both spaces, every form of prediction, errors."""

import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior import load
from adreamer_jax.prior.files import read_torch
from adreamer_jax.prior.text import TextConfig, text_config, text_shapes
from adreamer_jax.prior.tree import torch_from_tree
from adreamer_jax.prior.unet_ldm import read_ldm_config, unet_ldm
from adreamer_jax.prior.vae import ldm_vae_config, vae_encode
from adreamer_jax.prior.write import random_params, random_prior, write_tokenizer
from tests.prior.golden_unets import ATOL, FOLDER, error, nhwc, read_golden
from tests.prior.test_text import openclip
from tests.prior.torch_zip import write_torch

VIEWS = orbit(
    jnp.arange(4) * jnp.pi / 2, jnp.full(4, 0.2), jnp.full(4, 2.0), jnp.full(4, 0.7),
    size=(16, 16),
)  # fmt: skip
T = jnp.full(4, 500)
MVDREAM = json.loads((FOLDER / "mvdream_ldm" / "config.json").read_text())


def quiet(name, **settings):
    """A prior without its line."""
    return load.load_prior(str(name), tell=lambda _: None, **settings)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One random prior of each space."""
    root = tmp_path_factory.mktemp("priors")
    for space in ("latent", "pixel", "alpha"):
        random_prior(root / space, latent=space == "latent", alpha=space == "alpha")
    return root


@pytest.fixture
def folder(folders, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(folders / "latent", tmp_path / "prior")
    return tmp_path / "prior"


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("space", ["latent", "pixel", "alpha"])
def test_every_function_of_a_prior(folders, space):
    prior, weights = quiet(folders / space)
    image = jax.random.uniform(jax.random.key(0), (4, 16, 16, 3))

    @jax.jit
    def run(weights, ids, image):
        context = prior.embed_text(weights, ids)
        latents = prior.encode(weights, image)
        noise = prior.denoise(weights, latents, T, context, VIEWS)
        return context, latents, noise, prior.decode(weights, latents)

    ids = prior.tokenize(["a red fox"] * 4)
    context, latents, noise, decoded = run(weights, ids, image)
    assert ids.shape == (4, 8) and context.shape == (4, 8, 16)
    assert latents.shape[1:] == prior.latent_shape == noise.shape[1:]
    assert decoded.shape == image.shape and noise.dtype == jnp.float32
    assert prior.num_views == 4 and prior.image_size == 16 and prior.is_random
    assert float(noise.std()) > 0.1
    assert prior.has_alpha == (space == "alpha")
    if space != "latent":
        np.testing.assert_allclose(decoded, image, atol=1e-6)


def test_every_prior_takes_a_mask(folders):
    """Latents are those of the picture before gray; alpha comes back where it is."""
    color, mask = jax.random.uniform(jax.random.key(5), (2, 4, 16, 16, 3))
    mask = mask[..., 0]
    color = color * mask[..., None]
    gray = color + 0.5 * (1 - mask[..., None])
    for space in ("latent", "pixel"):
        prior, weights = quiet(folders / space)
        encode = jax.jit(prior.encode)
        np.testing.assert_allclose(
            encode(weights, color, mask), encode(weights, gray), atol=1e-4
        )
    prior, weights = quiet(folders / "alpha")
    latents = prior.encode(weights, color, mask)
    np.testing.assert_allclose(prior.decode(weights, latents), gray, atol=1e-6)
    np.testing.assert_allclose(prior.decode_mask(weights, latents), mask, atol=1e-6)
    empty = prior.encode(weights, jnp.zeros_like(color), jnp.zeros_like(mask))
    pixels = load.blocks_to_pixels(empty, 2)
    np.testing.assert_array_equal(pixels[..., :3], 0.0)
    np.testing.assert_array_equal(pixels[..., 3], -1.0)
    slope = jax.grad(lambda m: prior.encode(weights, color, m).sum())(mask)
    np.testing.assert_allclose(slope, 2.0 - 3.0, atol=1e-6)


def test_views_read_each_other_and_their_cameras(folders):
    prior, weights = quiet(folders / "pixel")
    context = prior.embed_text(weights, prior.tokenize(["a fox"] * 4))
    latents = jax.random.normal(jax.random.key(1), (4, *prior.latent_shape))
    run = jax.jit(lambda z, c: prior.denoise(weights, z, T, context, c))
    plain = run(latents, VIEWS)
    other = run(latents.at[3].add(1.0), VIEWS)
    assert error(other[0], plain[0]) > 1e-4
    turned = VIEWS.replace(camera_from_object=VIEWS.camera_from_object[::-1])
    assert error(run(latents, turned), plain) > 1e-3


def test_a_scene_may_have_more_views(folders):
    prior, weights = quiet(folders / "pixel")
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), VIEWS)
    context = prior.embed_text(weights, prior.tokenize(["a fox"] * 8))
    latents = jax.random.normal(jax.random.key(1), (8, *prior.latent_shape))
    more = load.with_views(prior, 8)
    assert more.num_views == 8 and load.with_views(prior, 4) is prior
    late = jnp.concatenate([T, T])
    run = lambda p, z: p.denoise(weights, z, late, context, twice)
    two_scenes, one_scene = run(prior, latents), run(more, latents)
    changed = latents.at[7].add(1.0)  # of the second scene, where there are two
    np.testing.assert_array_equal(run(prior, changed)[:4], two_scenes[:4])
    assert error(run(more, changed)[0], one_scene[0]) > 1e-4
    # twice the same views: attention sees each key twice, which changes nothing
    same = jnp.concatenate([latents[:4], latents[:4]])
    assert error(run(more, same), run(prior, same)) < 1e-5
    fixed = prior._replace(denoise_together=None)
    with pytest.raises(ValueError, match=r"asked for 4 views, got 8; .*fit\.rings=1"):
        load.with_views(fixed, 8)


def test_views_apart_read_their_cameras_and_not_each_other(folders):
    prior, weights = quiet(folders / "pixel")
    apart = load.views_apart(prior)
    assert apart.num_views == 4 and not apart.shows_views
    context = prior.embed_text(weights, prior.tokenize(["a fox"] * 4))
    latents = jax.random.normal(jax.random.key(1), (4, *prior.latent_shape))
    run = jax.jit(lambda z, c: apart.denoise(weights, z, T, context, c))
    plain = run(latents, VIEWS)
    other = run(latents.at[3].add(1.0), VIEWS)
    np.testing.assert_array_equal(other[:3], plain[:3])
    assert error(other[3], plain[3]) > 1e-4
    turned = VIEWS.replace(camera_from_object=VIEWS.camera_from_object[::-1])
    assert error(run(latents, turned), plain) > 1e-3
    more = load.with_views(apart, 8).denoise  # and so do the rings of a set
    assert error(more(weights, latents, T, context, VIEWS), plain) < 1e-5
    assert error(plain, prior.denoise(weights, latents, T, context, VIEWS)) > 1e-4
    with pytest.raises(ValueError, match=r"by itself; .*view_attention=True"):
        load.views_apart(prior._replace(denoise_together=None))


def test_pictures_of_other_sizes_are_resized(folders):
    prior, weights = quiet(folders / "pixel")
    image = jnp.full((4, 50, 30, 3), 0.25).at[..., 0].set(0.75)
    latents = prior.encode(weights, image)
    assert latents.shape == (4, 8, 8, 12)
    np.testing.assert_allclose(latents[..., 0], 0.5, atol=1e-6)
    slope = jax.grad(lambda x: prior.encode(weights, x).sum())(image)
    assert float(jnp.abs(slope).min()) > 0


def test_blocks_are_squares_of_pixels():
    image = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    blocks = load.pixels_to_blocks(image, 2)
    square = image[1, 2:4, 4:6].reshape(-1)
    np.testing.assert_array_equal(blocks[1, 1, 2], square)
    np.testing.assert_array_equal(load.blocks_to_pixels(blocks, 2), image)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_the_answer_is_noise_whatever_was_trained(folder, monkeypatch, prediction):
    """The folder's scheduler says what the network's output means."""
    output = jax.random.normal(jax.random.key(2), (4, 8, 8, 4))
    network = lambda settings, dtype: load._Network({}, lambda *_: output, 4, 4, 16)
    monkeypatch.setattr(load, "_unet", network)
    settings = folder / "scheduler" / "scheduler_config.json"
    rewrite(settings, prediction_type=prediction)
    prior, _ = load._from_folder(folder, jnp.float32, print)
    latents = jax.random.normal(jax.random.key(3), output.shape)
    noise = prior.denoise({"unet": {}}, latents, T, None, VIEWS)
    a = prior.schedule.alphas_cumprod[500]
    expected = {
        "v_prediction": a**0.5 * output + (1 - a) ** 0.5 * latents,
        "sample": (latents - a**0.5 * output) / (1 - a) ** 0.5,
    }
    np.testing.assert_allclose(noise, expected[prediction], atol=1e-4)
    assert prior.schedule.prediction == "epsilon"


def test_half_precision_is_near(folders):
    def run(dtype):
        prior, weights = quiet(folders / "pixel", dtype=dtype)
        assert all(x.dtype == dtype for x in jax.tree.leaves(weights))
        context = prior.embed_text(weights, prior.tokenize(["a fox"] * 4))
        latents = jax.random.normal(jax.random.key(3), (4, *prior.latent_shape))
        return jax.jit(prior.denoise)(weights, latents, T, context, VIEWS)

    half = run(jnp.bfloat16)
    assert half.dtype == jnp.float32
    assert error(half, run(jnp.float32)) < 0.1


def test_the_memory_is_told_before_loading(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    told = []
    with pytest.raises(ValueError, match="must hold weights as safetensors"):
        load.load_prior(str(folder), dtype=jnp.bfloat16, tell=told.append)
    assert len(told) == 1 and "unet 0.255 M" in told[0] and "bfloat16" in told[0]


def test_a_line_of_mvdream():
    from adreamer_jax.prior.unet_ldm import LdmConfig, unet_ldm_shapes

    shapes = {"unet": unet_ldm_shapes(LdmConfig()), "text": text_shapes(TextConfig())}
    line = load.memory_line("mvdream", shapes, jnp.bfloat16)
    assert line == (
        "prior mvdream: unet 868 M, text 340 M parameters; bfloat16 takes 2.42 GB"
    )


def test_missing_extra_and_misshapen_tensors_are_named(folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["more.weight"] = state.pop("quant_conv.bias")
    state["post_quant_conv.bias"] = np.zeros(5, np.float16)
    save_file(state, path)
    with pytest.raises(ValueError, match="the vae of ") as caught:
        quiet(folder)
    text = str(caught.value)
    assert "missing    quant_conv.bias (8,)" in text
    assert "unexpected more.weight (8,)" in text
    assert "misshapen  post_quant_conv.bias is (5,), must be (4,)" in text


@pytest.mark.parametrize("part", ["unet", "text_encoder", "scheduler", "tokenizer"])
def test_a_folder_in_another_layout(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(ValueError, match=f"must hold.*{part}|{part} must hold"):
        quiet(folder)


def test_a_latent_model_without_its_autoencoder_is_no_other_kind(folder):
    """Its UNet's own image_size is of latents, which four channels would pass for."""
    rewrite(folder / "unet" / "config.json", image_size=32)
    shutil.rmtree(folder / "vae")
    index = folder / "model_index.json"
    settings = json.loads(index.read_text())
    settings.pop("image_size", None), settings.pop("vae", None)
    index.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="without vae/ must say in model_index"):
        quiet(folder)
    rewrite(index, vae=["diffusers", "AutoencoderKL"])
    with pytest.raises(ValueError, match="must hold vae/, which its model_index"):
        quiet(folder)


def test_parts_of_different_models_are_refused(folder):
    """Text of another width, latents of other channels: said before any weight."""
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    rewrite(folder / "unet" / "config.json", context_dim=24)
    with pytest.raises(ValueError, match="tokens of 24 numbers, got 16; take"):
        quiet(folder)
    rewrite(folder / "unet" / "config.json", context_dim=16, in_channels=8)
    with pytest.raises(ValueError, match="must have the UNet's 8 channels, got 4"):
        quiet(folder)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_config_of_another_kind_of_network_is_refused(folder, part):
    settings = {"down_block_types": ["CrossAttnDownBlock2D"]}
    (folder / part / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="must be those of a UNet, a CLIP text"):
        quiet(folder)


def test_no_index_and_no_size(folder, folders):
    (folder / "model_index.json").unlink()
    with pytest.raises(ValueError, match=r"model_index.json, got none"):
        quiet(folder)
    shutil.rmtree(folder)
    shutil.copytree(folders / "pixel", folder)
    rewrite(folder / "model_index.json", pixel_block=3)
    with pytest.raises(ValueError, match=r"must say in model_index.json an image_size"):
        quiet(folder)


def test_random_where_nothing_is_embedded(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "EMBEDDED", tmp_path / "none")
    told = []
    prior, _ = load.load_prior(tell=told.append)
    assert prior.is_random and "random" in told[0]


def test_a_published_folder_gives_the_published_numbers(folders, tmp_path, monkeypatch):
    """The tiny reference network as a folder, its cameras put in as they are."""
    settings, weights, io = read_golden("mvdream_unet")
    shutil.copytree(folders / "latent", tmp_path / "prior")
    unet = tmp_path / "prior" / "unet"
    (unet / "config.json").write_text(json.dumps(settings))
    save_file(weights, unet / "diffusion_pytorch_model.safetensors")
    tower = tmp_path / "prior" / "text_encoder"
    rewrite(tower / "config.json", hidden_size=settings["context_dim"])
    sizes = text_config(json.loads((tower / "config.json").read_text()))
    words = torch_from_tree(random_params(0, text_shapes(sizes)))
    save_file(words, tower / "model.safetensors")
    prior, found = quiet(tmp_path / "prior")
    monkeypatch.setattr(load, "camera_tokens", lambda cameras: cameras)
    t = io["in.timesteps"].astype(np.int32)
    args = (nhwc(io["in.x"]), t, io["in.context"], io["in.camera"])
    noise = jax.jit(prior.denoise)(found, *args)
    assert error(noise, nhwc(io["out.sample"])) < ATOL


def original(path):
    """A tiny original checkpoint: UNet and autoencoder by torch, a random tower."""
    sizes = dict(
        vocab_size=8,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=7,
    )
    tower = torch_from_tree(random_params(0, text_shapes(TextConfig(**sizes))))
    state = read_torch(FOLDER / "mvdream_ldm" / "model.pt")
    state |= {
        f"cond_stage_model.model.{k}": np.asarray(v, np.float32)
        for k, v in openclip(tower).items()
    }
    path.parent.mkdir()
    write_torch(path, state)
    beside = {**MVDREAM, "text_config": sizes}
    (path.parent / "config.json").write_text(json.dumps(beside))
    write_tokenizer(path.parent / "tokenizer", ["a", "red", "fox"])


def test_the_original_file(tmp_path):
    """One .pt, read without torch: its numbers are those of torch."""
    path = tmp_path / "old" / "sd-4view.pt"
    original(path)
    prior, weights = quiet(path)
    io = load_file(FOLDER / "mvdream_ldm" / "io.safetensors")
    assert prior.latent_shape == (32, 32, 4) and prior.image_size == 64
    settings = json.loads((path.parent / "config.json").read_text())["unet_config"]
    run = jax.jit(partial(unet_ldm, read_ldm_config(settings)))
    output = run(
        weights["unet"],
        nhwc(io["in.x"]),
        io["in.timesteps"],
        io["in.context"],
        camera=io["in.camera"],
    )
    assert error(output, nhwc(io["out.sample"])) < ATOL
    config = ldm_vae_config({**MVDREAM, "scale_factor": 1.0})
    encode = jax.jit(partial(vae_encode, config))
    latents = encode(weights["vae"], 0.5 * nhwc(io["in.image"]) + 0.5)
    assert error(latents, nhwc(io["out.mean"])) < ATOL
    assert prior.embed_text(weights, prior.tokenize(["a fox"])).shape == (1, 7, 24)
    shutil.rmtree(path.parent / "tokenizer")
    with pytest.raises(ValueError, match="files of a tokenizer"):
        quiet(path)


def test_schedules_from_their_files():
    sd = load.read_schedule(
        dict(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            set_alpha_to_one=False,
        )
    )
    assert float(sd.alphas_cumprod[999]) == pytest.approx(0.0046601, rel=1e-5)
    assert sd.final_alpha == float(sd.alphas_cumprod[0]) and sd.steps_offset == 1
    with pytest.raises(ValueError, match="trained_betas must be absent"):
        load.read_schedule({"trained_betas": [0.1]})
    for name in ("rescale_betas_zero_snr", "thresholding"):
        with pytest.raises(ValueError, match=f"{name} must be false"):
            load.read_schedule({name: True})
        load.read_schedule({name: False})
    with pytest.raises(ValueError, match="beta_schedule must be"):
        load.read_schedule({"beta_schedule": "sigmoid"})


def test_a_larger_picture_is_averaged_over_every_pixel():
    """An outline is then as soft as in the pictures that a pixel prior was taught."""
    space = load._pixel_space(8, 2, 16)
    mask = jax.random.uniform(jax.random.key(0), (4, 16, 16))
    image = mask[..., None] * jax.random.uniform(jax.random.key(1), (4, 16, 16, 3))
    mean = lambda x: x.reshape(4, 8, 2, 8, 2, -1).mean((2, 4))
    found = space["encode"](None, image, mask)
    expected = space["encode"](None, mean(image), mean(mask)[..., 0])
    np.testing.assert_allclose(found, expected, atol=1e-5)
