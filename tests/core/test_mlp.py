"""Dense networks: against numpy, and the widths that a skip needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.mlp import init_mlp, init_skip_mlp, mlp


def twin(layers, x, skip=None):
    """The same network by numpy, one point after the other."""
    out = []
    for point in np.asarray(x, np.float64):
        h = point
        for i, layer in enumerate(layers):
            h = np.concatenate([point, h]) if i == skip else h
            h = h @ np.asarray(layer["weight"]) + np.asarray(layer["bias"])
            h = np.maximum(h, 0) if i < len(layers) - 1 else h
        out.append(h)
    return np.stack(out)


def test_it_is_the_plain_formula(key):
    layers = init_mlp(key, [3, 8, 8, 2])
    layers = jax.tree.map(lambda p: p + 0.1, layers)  # biases count, too
    x = jax.random.normal(key, (5, 3))
    np.testing.assert_allclose(mlp(layers, x), twin(layers, x), atol=1e-5)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_the_input_is_joined_again_where_asked(key, skip):
    layers = init_skip_mlp(key, 4, 6, 3, 2, skip=skip)
    x = jax.random.normal(key, (5, 4))
    np.testing.assert_allclose(
        mlp(layers, x, skip=skip), twin(layers, x, skip), atol=1e-5
    )
    assert layers[skip]["weight"].shape[0] == 4 + 6


def test_leading_axes_are_free(key):
    layers = init_mlp(key, [3, 4, 1])
    x = jax.random.normal(key, (2, 5, 3))
    flat = mlp(layers, x.reshape(10, 3)).reshape(2, 5, 1)
    np.testing.assert_allclose(mlp(layers, x), flat, atol=1e-6)


def test_signals_keep_their_size_and_the_last_layer_its_scale(key):
    x = jax.random.normal(key, (1000, 64))
    wide = init_mlp(key, [64, 256, 256, 256, 64])
    assert 0.5 < jnp.std(mlp(wide, x)) / 2**0.5 < 2.0  # the last layer has no relu
    small = init_mlp(key, [64, 256, 256, 256, 64], last_scale=0.01)
    np.testing.assert_allclose(mlp(small, x), 0.01 * mlp(wide, x), atol=1e-5)
    assert not np.any(mlp(init_mlp(key, [64, 8, 2], last_scale=0.0), x))


def test_the_key_decides():
    a, b, c = (init_mlp(jax.random.key(i), [3, 4, 2]) for i in (0, 0, 1))
    assert jnp.array_equal(a[0]["weight"], b[0]["weight"])
    assert not jnp.array_equal(a[0]["weight"], c[0]["weight"])
    assert not jnp.array_equal(a[0]["weight"][:, :2], a[1]["weight"][:3])
