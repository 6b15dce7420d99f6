"""Numbers that change with the step."""

from collections.abc import Sequence

import jax.numpy as jnp

from adreamer_jax.types import Array, Float


def ramp(
    knots: Sequence[tuple[float, float]], progress: Float[Array, ""] | float
) -> Float[Array, ""]:
    """Value at ``progress`` of the line through (progress, value) knots, flat outside.

    No knots means one: a term without a ramp keeps its weight.
    """
    if not knots:
        return jnp.ones(())
    at, values = (jnp.array(v, jnp.float32) for v in zip(*knots, strict=True))
    return jnp.interp(jnp.asarray(progress, jnp.float32), at, values)
