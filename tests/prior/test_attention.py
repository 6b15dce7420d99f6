"""Attention: one formula, three ways to compute it, and the memory of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior.attention import attention, choose


def draw(key, queries, keys, heads=2, width=8, dtype=jnp.float32):
    shapes = [(2, n, heads, width) for n in (queries, keys, keys)]
    parts = zip(jax.random.split(key, 3), shapes, strict=True)
    return [jax.random.normal(k, shape, dtype) for k, shape in parts]


def twin(query, key, value):
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    mixed = np.zeros_like(query)
    for b, q, h in np.ndindex(query.shape[:3]):
        logits = key[b, :, h] @ query[b, q, h] / np.sqrt(query.shape[-1])
        weights = np.exp(logits - logits.max())
        mixed[b, q, h] = weights / weights.sum() @ value[b, :, h]
    return mixed


@pytest.mark.parametrize("implementation", ["blocked", "xla"])
@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (300, 1030)])
def test_equals_the_slow_loop(key, implementation, queries, keys):
    arrays = draw(key, queries, keys)
    found = attention(*arrays, implementation=implementation)
    np.testing.assert_allclose(found, twin(*arrays), atol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_the_sum_of_many_values_does_not_overflow(dtype):
    query = jnp.zeros((1, 2, 1, 8), dtype)  # all keys alike
    keys, value = jnp.zeros((1, 4096, 1, 8), dtype), jnp.full((1, 4096, 1, 8), 20.0)
    found = attention(query, keys, value.astype(dtype), implementation="blocked")
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(jnp.float32), 20.0, rtol=1e-2)


def test_one_key_is_read_whatever_the_query(key):
    query, k, value = draw(key, 4, 1)
    found = attention(query, k, value)
    np.testing.assert_allclose(found, jnp.broadcast_to(value, query.shape), rtol=1e-6)


def test_large_logits_stay_finite(key):
    query, k, value = draw(key, 300, 1030)
    found, pull = jax.vjp(
        lambda q: attention(1e4 * q, k, value, implementation="blocked"), query
    )
    assert np.isfinite(found).all()
    assert np.isfinite(pull(jnp.ones_like(found))[0]).all()


def test_gradients_of_blocks_are_those_of_the_whole(key):
    arrays = draw(key, 300, 1030)

    def gradients(implementation):
        def total(q, k, v):
            return (jnp.sin(attention(q, k, v, implementation=implementation))).sum()

        return jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arrays)

    for blocked, whole in zip(gradients("blocked"), gradients("xla"), strict=True):
        np.testing.assert_allclose(blocked, whole, atol=2e-6)


def test_half_precision_keeps_its_type_and_a_float32_softmax(key):
    arrays = draw(key, 300, 1030)
    halves = [x.astype(jnp.bfloat16) for x in arrays]
    found = attention(*halves, implementation="blocked")
    assert found.dtype == jnp.bfloat16
    wanted = twin(*(x.astype(jnp.float32) for x in halves))
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, atol=2e-2)


def test_blocks_need_a_fraction_of_the_memory():
    shape = jax.ShapeDtypeStruct((1, 1024, 2, 8), jnp.float32)

    def temporaries(implementation):
        def gradient(q, k, v):
            total = lambda *x: attention(*x, implementation=implementation).sum()
            return jax.grad(total, argnums=(0, 1, 2))(q, k, v)

        compiled = jax.jit(gradient).lower(shape, shape, shape).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries("blocked") < 0.3 * temporaries("xla")


@pytest.mark.parametrize(
    ("backend", "dtype", "width", "chosen"),
    [
        ("cpu", jnp.float32, 64, "blocked"),
        ("cpu", jnp.bfloat16, 64, "blocked"),
        ("gpu", jnp.bfloat16, 64, "cudnn"),
        ("gpu", jnp.float16, 128, "cudnn"),
        ("gpu", jnp.float32, 64, "xla"),
        ("gpu", jnp.bfloat16, 160, "xla"),  # the coarse levels of SD 1.5
        ("gpu", jnp.bfloat16, 20, "xla"),
        ("tpu", jnp.bfloat16, 64, "xla"),
    ],
)
def test_choice_by_machine_type_and_width(backend, dtype, width, chosen):
    assert choose(backend, jnp.dtype(dtype), width) == chosen
