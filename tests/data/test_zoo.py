"""Individuals: deterministic, apart by stream, held out by rule, on the ground."""

import jax
import numpy as np
import pytest

from adreamer_jax.data import gait, zoo
from adreamer_jax.data.species import COLORS, SPECIES, TRAINING_SPECIES


def test_same_seed_same_animal_other_stream_another():
    draw = lambda stream: zoo.sample_individual(zoo.generator(3, stream))
    first, again, other = draw("training"), draw("training"), draw("evaluation")
    same = jax.tree.map(np.array_equal, first.coat, again.coat)
    assert all(jax.tree.leaves(same)) and first.numbers == again.numbers
    assert first.numbers != other.numbers
    states = [
        zoo.generator(seed, stream).bit_generator.state["state"]["state"]
        for seed in range(20)
        for stream in zoo.STREAMS
    ]
    assert len(set(states)) == 60


def test_training_never_draws_a_held_out_combination():
    random = zoo.generator(0, "training")
    for _ in range(300):
        one = zoo.sample_individual(random, held_out=False)
        assert not zoo.is_held_out(one.species, one.pose, one.color)
        assert one.species in TRAINING_SPECIES
    for _ in range(50):
        one = zoo.sample_individual(random, held_out=True)
        assert zoo.is_held_out(one.species, one.pose, one.color)


def test_an_eighth_is_held_out_and_every_species_keeps_some():
    kept = {
        name: [
            zoo.is_held_out(name, pose, color)
            for pose in gait.poses_of(SPECIES[name])
            for color in COLORS
        ]
        for name in TRAINING_SPECIES
    }
    every = np.concatenate(list(kept.values()))
    assert 0.1 < every.mean() < 0.15
    assert all(any(v) and np.mean(v) < 0.2 for v in kept.values())
    assert not zoo.is_held_out("fox", "walking", zoo.NATURAL)


def test_impossible_wishes_are_refused():
    one = zoo.sample_individual(zoo.generator(0, "training"), held_out=True)
    with pytest.raises(ValueError, match="in training"):
        zoo.sample_individual(
            zoo.generator(0, "training"),
            species=one.species, pose=one.pose, color=one.color, held_out=False,
        )  # fmt: skip


@pytest.mark.parametrize("species", ["fox", "ostrich", "kangaroo"])
def test_walkers_touch_the_ground_and_fill_their_box(species):
    animal = zoo.sample_individual(
        np.random.default_rng(0), species=species, pose="walking"
    )
    creature, rest, motion = zoo.posed(animal, np.linspace(0, 6.28, 24))
    wide = np.maximum((1 + creature.stretch[0]) ** -0.5, 1.0)
    low = creature.start - (creature.start_radius * wide)[..., None]
    low = np.minimum(low, creature.end - (creature.end_radius * wide)[..., None])
    high = creature.start + (creature.start_radius * wide)[..., None]
    high = np.maximum(high, creature.end + (creature.end_radius * wide)[..., None])
    sides = high.max((0, 1)) - low.min((0, 1))
    np.testing.assert_allclose(sides.max(), 2.0, atol=1e-5)
    soles = np.concatenate(
        [
            creature.start[..., 1] - creature.start_radius,
            creature.end[..., 1] - creature.end_radius,
        ],
        1,
    ).min(1)
    assert np.ptp(soles) < 0.04
    moved = np.einsum("tkij,kj->tki", motion[..., :3, :3], rest.start[0])
    np.testing.assert_allclose(moved + motion[..., :3, 3], creature.start, atol=1e-5)
    back = np.einsum("tkij,tkj->tki", creature.rest_from_posed[..., :3], creature.start)
    back = back + creature.rest_from_posed[..., 3]
    np.testing.assert_allclose(back, np.broadcast_to(rest.start, back.shape), atol=1e-5)
