"""The front is found where the prior says, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.systems.animatable import front
from tests.systems.small import (
    knowing_prior,
    small_model,
    small_recipe,
    small_upkeep,
    vivid,
)


@pytest.mark.parametrize(
    ("knots", "step"), [((), 0), (((0.0, 1.0),), 0), (((0.3, 0.0), (0.5, 1.0)), 31)]
)
def test_it_is_looked_for_when_distillation_begins(knots, step):
    config = small_recipe(**{"data.views.find_front": True})
    config.ramp.csd = knots
    assert front.find_front_at(config) == step
    config.data.views.find_front = False
    assert front.find_front_at(config) is None
    assert front.start_front(config, None) == {}
    config.data.views.azimuth_offset_deg = 180.0
    assert front.start_front(config, 3)["front"] == pytest.approx(np.pi)


@pytest.mark.slow
def test_the_prior_foresees_best_where_the_front_is():
    """Of four quarters, with a prior that knows the object in its own azimuths."""
    side = 18  # rays go through their pixels anywhere: outlines differ by chance
    config = small_recipe(**{"csd.resolution": side})
    truth, upkeep = vivid(small_model()), small_upkeep(config)
    prior = knowing_prior(config, side=side)
    frozen = {"prior": (truth, 0), "contexts": jnp.zeros((2, 1, 1))}
    quarters = 0.5 * jnp.pi * jnp.arange(4.0)
    errors = jax.jit(
        lambda frozen: front.front_errors(
            config, prior, truth, upkeep, frozen, jnp.array(0), jax.random.key(0),
            quarters, draws=4,
        )
    )(frozen)  # fmt: skip
    assert jnp.argmin(errors) == 0
    assert errors[0] < 0.5 * jnp.min(errors[1:])
