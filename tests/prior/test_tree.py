"""Torch names to trees and back, and errors that name the tensors."""

import jax
import numpy as np
import pytest

from adreamer_jax.prior.tree import check_tree, torch_from_tree, tree_from_torch
from tests.prior.golden_unets import FOLDER, manifest

MANIFESTS = sorted(path.stem for path in (FOLDER / "manifests").glob("*.json"))


def random(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


FLAT = {
    "down_blocks.0.resnets.1.conv1.weight": random(5, 4, 3, 2),
    "down_blocks.0.resnets.1.conv1.bias": random(5),
    "temp_convs.0.conv1.2.weight": random(5, 4, 3, 1, 1),
    "time_embedding.linear_1.weight": random(6, 7),
    "to_out.0.weight": random(8, 9),
    "layers.0.1.3.weight": random(2, 2),
    "norm.weight": random(5),
    "embeddings.token_embedding.weight": random(10, 3),
    "embeddings.patch_embedding.weight": random(6, 3, 2, 2),
    "cls_token": random(1, 1, 4),
    "logit_scale": np.float32(2.0),
}


def test_there_and_back_again():
    back = torch_from_tree(tree_from_torch(FLAT))
    assert back.keys() == FLAT.keys()
    for name, value in FLAT.items():
        assert back[name].shape == np.shape(value)  # a scalar stays one
        np.testing.assert_array_equal(back[name], value)


def test_names_and_axes():
    tree = tree_from_torch(FLAT)
    conv = tree["down_blocks_0"]["resnets_1"]["conv1"]
    assert conv["kernel"].shape == (3, 2, 4, 5) and conv["bias"].shape == (5,)
    assert tree["temp_convs_0"]["conv1_2"]["kernel"].shape == (3, 1, 1, 4, 5)
    assert tree["to_out_0"]["kernel"].shape == (9, 8)
    assert tree["layers_0_1_3"]["kernel"].shape == (2, 2)
    assert tree["norm"]["scale"].shape == (5,)
    assert tree["embeddings"]["token_embedding"]["embedding"].shape == (10, 3)
    assert tree["embeddings"]["patch_embedding"]["kernel"].shape == (2, 2, 3, 6)
    assert tree["logit_scale"].shape == ()


@pytest.mark.parametrize("name", MANIFESTS)
def test_real_names_and_shapes_survive_both_ways(name):
    """As a tree of shapes: nothing of real size is allocated."""
    tree = manifest(name)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    check_tree(tree, shapes)


def test_every_difference_is_named_with_shapes_as_in_the_file():
    wanted = tree_from_torch(FLAT)
    wrong = dict(FLAT)
    del wrong["norm.weight"]
    wrong["extra.0.weight"] = random(2, 3)
    wrong["to_out.0.weight"] = random(9, 8)
    with pytest.raises(ValueError, match="3 differing tensors") as caught:
        check_tree(tree_from_torch(wrong), wanted, what="unet of x")
    text = str(caught.value)
    assert text.startswith("unet of x must be")
    assert "missing    norm.weight (5,)" in text
    assert "unexpected extra.0.weight (2, 3)" in text
    assert "misshapen  to_out.0.weight is (9, 8), must be (8, 9)" in text


def test_the_file_of_another_model_is_told_in_forty_lines():
    other = {f"layer.{i}.weight": random(2) for i in range(900)}
    with pytest.raises(ValueError, match=r"911 differing tensors") as caught:
        check_tree(tree_from_torch(other), tree_from_torch(FLAT))
    assert str(caught.value).count("\n") == 41 and str(caught.value).endswith("  ...")


def test_transposing_copies_nothing():
    tree = tree_from_torch(FLAT)
    assert np.shares_memory(tree["to_out_0"]["kernel"], FLAT["to_out.0.weight"])
