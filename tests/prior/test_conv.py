"""Convolutions of the CPU equal XLA's, and so do their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior import conv

SAME, HALF = ((1, 1), (1, 1)), ((0, 1), (0, 1))


def plain(x, kernel, *, padding=SAME, stride=1):
    return conv._conv(x, kernel, padding, stride=stride)


def draw(key, height, width, inner, outer, batch=2):
    keys = jax.random.split(key)
    x = jax.random.normal(keys[0], (batch, height, width, inner))
    kernel = jax.random.normal(keys[1], (3, 3, inner, outer)) / (3 * inner**0.5)
    return x, kernel


def both_slopes(function, x, kernel):
    """The result and its gradients by picture and kernel, for one fixed cotangent."""

    @jax.jit
    def run(x, kernel):
        found, pull = jax.vjp(function, x, kernel)
        return found, *pull(jnp.sin(jnp.arange(found.size)).reshape(found.shape))

    return run(x, kernel)


def test_rows_by_sums_equal_the_plain_convolution(key):
    """Two bands and two pictures: rows meet across bands and never across pictures."""
    x, kernel = draw(key, 2 * conv._BAND, 3, 4, 5)
    found = both_slopes(conv._by_rows, x, kernel)
    wanted = both_slopes(plain, x, kernel)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(6, 10), (2, 2)])
def test_halving_and_its_gradient_by_parity(key, height, width):
    x, kernel = draw(key, height, width, 3, 4)
    found = both_slopes(conv.halving_conv, x, kernel)
    slow = lambda x, kernel: plain(x, kernel, padding=HALF, stride=2)
    for ours, theirs in zip(found, both_slopes(slow, x, kernel), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_odd_pictures_are_halved_too(key):
    x, kernel = draw(key, 5, 7, 3, 4)
    found = both_slopes(conv.halving_conv, x, kernel)
    assert found[0].shape == (2, 2, 3, 4) and found[1].shape == x.shape


def test_the_gradient_puts_no_zeros_between_pixels(key):
    x, kernel = draw(key, 8, 8, 2, 2)

    def text(function):
        slope = jax.grad(lambda x: jnp.sin(function(x, kernel)).sum())
        return jax.jit(slope).lower(x).as_text()

    slow = lambda x, kernel: plain(x, kernel, padding=HALF, stride=2)
    zeros = "lhs_dilate = [2, 2]"
    assert zeros in text(slow) and zeros not in text(conv.halving_conv)


def test_wide_pictures_take_sums_of_rows_and_others_do_not(key):
    x, kernel = draw(key, conv._BAND, 2, 128, 256, batch=1)
    np.testing.assert_allclose(conv.same_conv(x, kernel), plain(x, kernel), atol=2e-5)
    text = jax.jit(conv.same_conv).lower(x, kernel).as_text()
    narrow = jax.jit(conv.same_conv).lower(x[..., :64], kernel[:, :, :64]).as_text()
    assert "while" in text and "while" not in narrow


@pytest.mark.parametrize(
    ("backend", "dtype", "height", "channels", "chosen"),
    [
        ("cpu", jnp.float32, 64, (256, 256), True),
        ("cpu", jnp.float32, 64, (128, 256), True),
        ("cpu", jnp.float32, 64, (128, 128), False),
        ("cpu", jnp.float32, 64, (512, 8), False),
        ("cpu", jnp.float32, 40, (256, 256), False),
        ("cpu", jnp.bfloat16, 64, (256, 256), False),
        ("gpu", jnp.float32, 64, (256, 256), False),
        ("tpu", jnp.float32, 64, (256, 256), False),
    ],
)
def test_choice_by_machine_type_and_size(backend, dtype, height, channels, chosen):
    shape = (1, height, height, channels[0])
    kernel = (3, 3, *channels)
    assert conv.pays(backend, jnp.dtype(dtype), shape, kernel) == chosen
