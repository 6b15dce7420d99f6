"""Rings of views: true animals agree with their hull from all of them."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import prior_rings

from adreamer_jax.data import zoo
from adreamer_jax.prior.load import load_prior
from adreamer_jax.systems.animatable.generation_fit import hull_agreement, ring_cameras
from tests.systems.test_generation import second_recipe


def test_a_true_animal_agrees_with_its_hull_and_mixed_views_do_not():
    config = second_recipe(**{"fit.rings": 2})
    prior, _ = load_prior("")
    camera = ring_cameras(config, prior)
    animal = zoo.sample_individual(
        zoo.generator(prior_rings.SEED, "evaluation", 0), pose="standing"
    )
    masks = prior_rings.true_masks(animal, camera)
    assert masks.shape == (8, prior.image_size, prior.image_size)
    whole = float(hull_agreement(camera, masks))
    mixed = float(hull_agreement(camera, masks[np.array([1, 0, 2, 3, 4, 5, 6, 7])]))
    assert whole > 0.9 > mixed
