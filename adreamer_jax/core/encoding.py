"""Fixed encodings: Fourier features with a coarse-to-fine window, and time bases.

``gamma_L(x) = (x, sin 2^k x, cos 2^k x)`` for k < L, without a factor pi (Lab4D). The
window of Nerfies/BARF opens one frequency after the other. The cosine basis describes
smooth motion over a clip by a few numbers.
"""

import math

import jax.numpy as jnp

from adreamer_jax.types import Array, Float


def fourier(
    x: Float[Array, "*b d"], *, frequencies: int, alpha: float | Array = 1.0
) -> Float[Array, "*b c"]:
    """Fourier features, d (1 + 2 frequencies) channels; alpha in [0, 1] opens them."""
    k = jnp.arange(frequencies, dtype=x.dtype)
    window = 0.5 * (1 - jnp.cos(jnp.pi * jnp.clip(alpha * frequencies - k, 0, 1)))
    angles = x[..., None, :] * (2.0**k)[:, None]
    waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-2)
    waves = waves * window[:, None, None]
    return jnp.concatenate([x, waves.reshape(*x.shape[:-1], -1)], axis=-1)


def time_frequencies(num_frames: int) -> int:
    """Frequencies of the time code: 6 at 64 frames, two more at 256 (Lab4D)."""
    return max(0, round(math.log2(num_frames / 64) + 6))


def time_code(time: Float[Array, "*b"], *, frequencies: int) -> Float[Array, "*b c"]:
    """Fourier features of time, which runs over [0, 1] and is first put on [-1, 1]."""
    return fourier(2.0 * time[..., None] - 1.0, frequencies=frequencies)


def cosine_basis(
    time: Float[Array, "*b"], *, terms: int, first: int = 0
) -> Float[Array, "*b terms"]:
    """Cosines cos(pi k t) for k = first .. first + terms - 1.

    On frame centers these are the discrete cosine transform's vectors, orthogonal over
    the clip; first = 1 leaves out the mean, so coefficients describe only movement.
    """
    k = jnp.arange(first, first + terms, dtype=time.dtype)
    return jnp.cos(jnp.pi * time[..., None] * k)


def frame_time(frame: Float[Array, "*b"], num_frames: int) -> Float[Array, "*b"]:
    """Time in (0, 1) of a frame: its center, so that cosines are orthogonal."""
    return (frame + 0.5) / num_frames
