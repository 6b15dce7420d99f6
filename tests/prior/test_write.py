"""Prior folders written here come back the same."""

import jax
import numpy as np
import pytest

from adreamer_jax.prior.files import read_config, read_state, read_tokenizer
from adreamer_jax.prior.tree import tree_from_torch
from adreamer_jax.prior.unet_ldm import LdmConfig, read_ldm_config, unet_ldm_shapes
from adreamer_jax.prior.write import (
    END,
    START,
    UNKNOWN,
    random_params,
    random_prior,
    word_ids,
    write_tokenizer,
)


@pytest.mark.parametrize("latent", [True, False])
def test_configs_and_weights_come_back(tmp_path, latent):
    random_prior(tmp_path, latent=latent)
    config = read_ldm_config(read_config(tmp_path / "unet"))
    found = tree_from_torch(read_state(tmp_path / "unet"))
    wanted = random_params(0, unet_ldm_shapes(config))
    wanted = jax.tree.map(lambda x: x.astype(np.float16), wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert (tmp_path / "vae").is_dir() == latent


def test_the_same_seed_is_the_same_folder(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        random_prior(tmp_path / name, seed=seed)
    file = "unet/diffusion_pytorch_model.safetensors"
    first, again, other = ((tmp_path / n / file).read_bytes() for n in "abc")
    assert first == again and first != other


def test_whole_words(tmp_path):
    words = ("a", "red", "fox", "t-rex")
    write_tokenizer(tmp_path / "t", words)
    ids = word_ids(words)
    assert ids["a"] == 3 and len(ids) == 7
    tokenize = read_tokenizer(tmp_path / "t", length=6, vocabulary=7)
    found = tokenize(["A red  fox, a", "", "zebra"])
    assert found[0].tolist() == [START, ids["a"], ids["red"], ids["fox"], UNKNOWN, END]
    assert found[1].tolist() == [START, END, END, END, END, END]
    assert found[2].tolist() == [START, UNKNOWN, END, END, END, END]


def test_random_weights_keep_the_size_of_what_goes_through():
    shapes = unet_ldm_shapes(LdmConfig(model_channels=32, num_head_channels=16))
    tree = random_params(0, shapes)
    kernel = tree["middle_block_0"]["in_layers_2"]["kernel"]
    assert np.std(kernel) * np.sqrt(9 * 128) == pytest.approx(1.0, rel=0.05)
    scale = tree["middle_block_0"]["in_layers_0"]["scale"]
    assert np.mean(scale) == pytest.approx(1.0, abs=0.05)
