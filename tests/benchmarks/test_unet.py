"""The comparison of UNets: both contestants are given the same network and inputs."""

import itertools

import numpy as np

from benchmarks import unet


def test_weights_are_those_of_the_manifest_and_of_every_run():
    first = list(itertools.islice(unet.weights(), 6))
    again = list(itertools.islice(unet.weights(), 6))
    names = [name for name, _ in first]
    assert names[:2] == ["conv_in.bias", "conv_in.weight"]
    assert first[1][1].shape == (320, 4, 3, 3)
    for (_, a), (_, b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_norms_start_near_one():
    weights = dict(itertools.islice(unet.weights(), 4))
    assert abs(weights["conv_norm_out.weight"].mean() - 1) < 0.05
    assert abs(weights["conv_norm_out.bias"].mean()) < 0.05


def test_leaves_are_put_into_one_tree():
    tree = unet.merge({"a": {"b": 1}}, {"a": {"c": 2}, "d": 3})
    assert tree == {"a": {"b": 1, "c": 2}, "d": 3}


def test_inputs_are_the_same_in_both_processes():
    for a, b in zip(unet.inputs(), unet.inputs(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert unet.inputs()[0].shape == unet.SHAPE
