"""Encodings: order of the channels, the window's ends, orthogonality in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import encoding


def test_the_channels_are_the_formula():
    x = jnp.array([0.3, -1.2])
    out = encoding.fourier(x, frequencies=3)
    expected = [x]
    for k in range(3):
        expected += [np.sin(2.0**k * x), np.cos(2.0**k * x)]
    assert out.shape == (2 * (1 + 2 * 3),)
    np.testing.assert_allclose(out, np.concatenate(expected), atol=1e-6)


def test_the_window_opens_one_frequency_after_the_other():
    x = jnp.full((1,), 0.7)
    full = encoding.fourier(x, frequencies=4)
    energy = []
    for alpha in np.linspace(0, 1, 9):
        part = encoding.fourier(x, frequencies=4, alpha=float(alpha))
        assert part[0] == x[0]  # the point itself is never hidden
        energy.append((part[1:].reshape(4, 2) ** 2).sum(1))
    energy = np.array(energy)
    assert np.all(np.diff(energy, axis=0) >= -1e-6)
    assert not energy[0].any()
    np.testing.assert_allclose(part, full, atol=1e-6)
    # at a half exactly the first half is open
    np.testing.assert_allclose(energy[4], [1, 1, 0, 0], atol=1e-6)


def test_the_window_has_a_gradient_at_its_corners():
    for alpha in (0.0, 0.5, 1.0):
        slope = jax.grad(
            lambda a: encoding.fourier(jnp.ones(3), frequencies=4, alpha=a).sum()
        )(alpha)
        assert np.isfinite(slope)


@pytest.mark.parametrize("frames, expected", [(64, 6), (256, 8), (128, 7), (1, 0)])
def test_longer_clips_get_more_frequencies(frames, expected):
    assert encoding.time_frequencies(frames) == expected


def test_time_is_put_on_minus_one_to_one():
    code = encoding.time_code(jnp.array([0.0, 0.5, 1.0]), frequencies=2)
    np.testing.assert_allclose(code[:, 0], [-1, 0, 1])
    assert code.shape == (3, 5)


@pytest.mark.parametrize("frames", [7, 24])
def test_cosines_on_frame_centers_are_orthogonal(frames):
    time = encoding.frame_time(jnp.arange(frames, dtype=jnp.float32), frames)
    assert 0 < time[0] and time[-1] < 1
    basis = encoding.cosine_basis(time, terms=frames)
    gram = np.asarray(basis.T @ basis) / frames
    expected = np.diag([1.0] + [0.5] * (frames - 1))
    np.testing.assert_allclose(gram, expected, atol=1e-5)


def test_without_the_first_cosine_nothing_has_a_mean():
    time = encoding.frame_time(jnp.arange(12.0), 12)
    basis = encoding.cosine_basis(time, terms=11, first=1)
    np.testing.assert_allclose(np.asarray(basis).mean(0), 0, atol=1e-6)
    both = encoding.cosine_basis(time, terms=12)
    np.testing.assert_allclose(basis, both[:, 1:], atol=1e-6)
