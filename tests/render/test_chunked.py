"""Chunks: the same picture, the same gradient, and memory of one chunk only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.mlp import init_mlp, mlp
from adreamer_jax.render.chunked import deferred_gradient, map_chunks

SAMPLES = 16


def render(params, rays):
    """A toy renderer: a network along each ray, summed."""
    at = jnp.linspace(0.0, 1.0, SAMPLES)[:, None]
    points = rays["origin"][:, None] + at * rays["direction"][:, None]
    value = mlp(params, points)
    return {
        "color": jnp.sum(jnp.tanh(value), axis=1),
        "mask": jnp.max(value[..., 0], 1),
    }


def rays(count, seed=1):
    a, b = jax.random.split(jax.random.key(seed))
    return {
        "origin": jax.random.normal(a, (count, 3)),
        "direction": jax.random.normal(b, (count, 3)),
    }


@pytest.fixture(scope="module")
def params():
    return init_mlp(jax.random.key(0), [3, 32, 3])


@pytest.mark.parametrize("count, chunk", [(24, 8), (23, 8), (5, 8), (8, 1)])
def test_chunks_make_the_same_picture(params, count, chunk):
    whole = render(params, rays(count))
    parts = map_chunks(lambda r: render(params, r), rays(count), chunk=chunk)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, parts)


@pytest.mark.parametrize("count, chunk", [(24, 8), (23, 8), (5, 8)])
def test_the_deferred_gradient_is_the_direct_one(params, count, chunk):
    some = rays(count)
    cotangent = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(2), x.shape), render(params, some)
    )

    @jax.jit
    def both(params):
        def inner(p):
            out = render(p, some)
            pairs = zip(jax.tree.leaves(out), jax.tree.leaves(cotangent), strict=True)
            return sum(jnp.sum(a * b) for a, b in pairs)

        return jax.grad(inner)(params), deferred_gradient(
            render, params, some, cotangent, chunk=chunk
        )

    direct, deferred = both(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5),
        direct,
        deferred,
    )


def test_padding_does_not_count(params):
    """Rays repeated to fill the last chunk get no gradient, even a non-zero one."""
    some = rays(3)
    ones = jax.tree.map(jnp.ones_like, render(params, some))
    four = deferred_gradient(render, params, some, ones, chunk=4)
    one = deferred_gradient(render, params, some, ones, chunk=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), four, one)


def temporaries(count, params, chunk=None):
    """Bytes that XLA plans beside arguments and results, for the gradient."""
    some = jax.eval_shape(lambda: rays(count))
    cotangent = jax.eval_shape(render, params, some)

    def direct(params, some, cotangent):
        _, pull = jax.vjp(lambda p: render(p, some), params)
        return pull(cotangent)[0]

    def deferred(params, some, cotangent):
        return deferred_gradient(render, params, some, cotangent, chunk=chunk)

    step = jax.jit(deferred if chunk else direct)
    compiled = step.lower(params, some, cotangent).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_is_that_of_a_chunk(params):
    """Four times the rays cost at most a tenth more; directly they cost four times."""
    small, large = (temporaries(n, params, chunk=256) for n in (1024, 4096))
    inputs = (
        4 * (3 + 3 + 3 + 1) * (4096 - 1024)
    )  # rays and cotangent are data, not work
    assert large <= 1.1 * small + inputs
    assert temporaries(4096, params) > 4 * large
