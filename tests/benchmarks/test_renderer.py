"""Deferred back-propagation needs the memory of a chunk, at any size of picture."""

import jax

from benchmarks import renderer


def test_memory_does_not_grow_with_the_picture():
    params = jax.eval_shape(renderer.scene, jax.random.key(0))
    small, large = (
        renderer.temporaries(params, side, 0.25, chunk=256) for side in (16, 32)
    )
    rays = 4 * 4 * (32**2 - 16**2) * 12  # rays and cotangents themselves, in bytes
    assert large <= 1.1 * small + rays
    assert renderer.temporaries(params, 32, 0.25) > 3 * large
