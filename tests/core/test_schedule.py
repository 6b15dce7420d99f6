"""Numbers that change with the step: knots, ends, and the geometric ramp."""

import jax
import jax.numpy as jnp
import pytest

from adreamer_jax.core.schedule import ramp


def test_no_knots_mean_one():
    assert ramp((), 0.3) == 1.0


@pytest.mark.parametrize(
    "at, value",
    [(-1.0, 2.0), (0.0, 2.0), (0.25, 3.0), (0.5, 4.0), (0.75, 2.0), (9.0, 0.0)],
)
def test_lines_between_knots_and_flat_outside(at, value):
    knots = ((0.0, 2.0), (0.5, 4.0), (1.0, 0.0))
    assert ramp(knots, at) == pytest.approx(value)


def test_two_knots_at_one_place_are_a_jump():
    knots = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))
    assert ramp(knots, 0.499) == 0 and ramp(knots, 0.501) == 1


def test_a_traced_step_is_welcome():
    compiled = jax.jit(lambda step: ramp(((0.0, 0.0), (1.0, 1.0)), step / 10))
    assert compiled(jnp.int32(5)) == pytest.approx(0.5)
