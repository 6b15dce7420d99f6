"""The push on a picture's scale: its sign, its size, and none where all is right."""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import csd_push


def disc(radius, side=32):
    """A soft disc, four channels."""
    at = np.arange(side) + 0.5 - side / 2
    far = np.hypot(*np.meshgrid(at, at))
    mask = 1.0 / (1.0 + np.exp(2.0 * (far - radius)))
    return jnp.asarray(np.repeat(mask[None, ..., None], 4, axis=-1), jnp.float32)


def test_zooming_enlarges_about_the_middle():
    larger = csd_push.zoomed(disc(8.0), 1.25)
    assert float(larger.sum()) == pytest.approx(float(disc(10.0).sum()), rel=0.02)
    np.testing.assert_allclose(csd_push.zoomed(disc(8.0), 1.0), disc(8.0), atol=1e-5)
    middle = np.asarray(larger)[0, ..., 0]
    np.testing.assert_allclose(middle, middle[::-1, ::-1], atol=1e-5)


def test_the_push_is_the_step_that_the_scale_should_take():
    one = disc(8.0)
    along = (csd_push.zoomed(one, 1.06) - csd_push.zoomed(one, 0.94)) / 0.12
    assert float(csd_push.push(one, one, along)) == 0.0
    for scale in (0.97, 1.03):
        step = float(csd_push.push(csd_push.zoomed(one, scale), one, along))
        assert step == pytest.approx(scale - 1.0, rel=0.2)
