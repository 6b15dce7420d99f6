"""Captions speak the truth about the animal, in many ways, in known words."""

import dataclasses

import numpy as np
import pytest

from adreamer_jax.data import zoo
from adreamer_jax.data.captions import VOCABULARY, caption, describe, prompt


@pytest.fixture(scope="module")
def animal():
    return zoo.sample_individual(
        np.random.default_rng(0), species="cat", pose="walking", color="red",
        pattern="striped", build="fat",
    )  # fmt: skip


def test_captions_name_the_species_and_only_true_words(animal):
    random = np.random.default_rng(0)
    said = [caption(random, animal) for _ in range(300)]
    assert len(set(said)) > 60
    wrong = {"blue", "green", "dog", "slim", "baby", "spotted", "running"}
    for text in said:
        words = set(text.split())
        assert {"cat", "kitty"} & words and not wrong & words
    assert 0.75 < np.mean(["red" in t.split() for t in said]) < 0.95
    assert any(t.startswith("a walking") for t in said)
    assert any("with stripes" in t for t in said)


def test_all_words_are_in_the_vocabulary():
    random = np.random.default_rng(1)
    for _ in range(400):
        one = zoo.sample_individual(random)
        text = caption(random, one)
        assert set(text.split()) <= set(VOCABULARY) and len(text.split()) <= 16
    assert len(VOCABULARY) < 160


def test_natural_looks_go_without_saying(animal):
    zebra = zoo.sample_individual(
        np.random.default_rng(0), species="zebra", pose="standing", color=zoo.NATURAL,
        build="normal",
    )  # fmt: skip
    texts = [caption(np.random.default_rng(i), zebra) for i in range(40)]
    assert not any("strip" in t for t in texts)
    assert any("an elephant" in caption(np.random.default_rng(i), dataclasses.replace(
        zebra, species="elephant", pattern="plain")) for i in range(20))  # fmt: skip


def test_a_description_says_what_is_given_and_nothing_else():
    random = np.random.default_rng(2)
    texts = [describe(random, "fox", color="teal", pose="sitting") for _ in range(60)]
    assert all("fox" in t and "teal" in t for t in texts)
    assert all({"sitting", "seated"} & set(t.split()) for t in texts)
    silent = [describe(random, "cat", color=zoo.NATURAL, build="normal",
                       pattern="plain") for _ in range(60)]  # fmt: skip
    said = {"a", "cat", "kitty", "picture", "of", "3d", "model"}
    assert {word for t in silent for word in t.split()} == said
    spotted = {describe(random, "pig", pattern="spotted") for _ in range(60)}
    assert any("with spots" in t for t in spotted)
    assert any("spotted" in t for t in spotted)


def test_the_plainest_captions():
    assert prompt("fox", color="red", pose="walking") == "a red fox walking"
    assert prompt("owl") == "an owl" and prompt("owl", color="blue") == "a blue owl"
