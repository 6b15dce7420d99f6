"""Fitting to a sampled set: one draw for the whole run, of the shape at rest."""

import jax
import numpy as np

from adreamer_jax.systems.animatable import generation_fit as fit
from tests.systems.test_generation import second_recipe


def test_what_is_sampled_once_depends_on_the_seed_alone():
    config, other = second_recipe(), second_recipe()
    other.run.seed = config.run.seed + 1
    draw = lambda config, purpose: np.asarray(
        jax.random.normal(fit._key(config, purpose), (8,))
    )
    np.testing.assert_array_equal(draw(config, "views"), draw(config, "views"))
    assert np.abs(draw(config, "views") - draw(config, "noise")).max() > 0.1
    assert np.abs(draw(config, "views") - draw(other, "views")).max() > 0.1


def test_the_set_is_of_the_rest_shape_and_moves_the_field_alone():
    config = second_recipe()
    before = config.csd.to_dict()
    still = fit.at_rest(config)
    assert (still.csd.space, still.csd.moves) == ("canonical", "canonical")
    assert config.csd.to_dict() == before  # the caller's recipe stays
