"""Rotations: unit quaternions (w, x, y, z), rotation vectors and matrices.

A rotation vector is axis times angle in radians. Every function broadcasts over leading
dimensions; the last axis is space. Functions are safe to differentiate at the identity.
"""

import jax.numpy as jnp

from adreamer_jax.types import Array, Float


def safe_norm(vector: Float[Array, "*b d"]) -> Float[Array, "*b"]:
    """Euclidean length whose gradient at zero is zero instead of NaN."""
    square = jnp.sum(vector * vector, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def normalize(vector: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Vector of length one in the same direction; zero stays zero."""
    return vector / jnp.maximum(safe_norm(vector), 1e-12)[..., None]


def multiply(
    a: Float[Array, "*#b 4"], b: Float[Array, "*#b 4"]
) -> Float[Array, "*#b 4"]:
    """Hamilton product: the rotation b followed by the rotation a."""
    aw, ax, ay, az = (a[..., i] for i in range(4))
    bw, bx, by, bz = (b[..., i] for i in range(4))
    return jnp.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(q: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """Inverse rotation of a unit quaternion."""
    return q * jnp.array([1.0, -1.0, -1.0, -1.0], q.dtype)


def rotate(
    q: Float[Array, "*#b 4"], vector: Float[Array, "*#b 3"]
) -> Float[Array, "*#b 3"]:
    """Vector turned by a unit quaternion."""
    w, u = q[..., :1], q[..., 1:]
    twice = 2.0 * jnp.cross(u, vector)
    return vector + w * twice + jnp.cross(u, twice)


def from_vector(vector: Float[Array, "*b 3"]) -> Float[Array, "*b 4"]:
    """Quaternion of a rotation vector (exponential map)."""
    square = jnp.sum(vector * vector, axis=-1, keepdims=True)
    small = square < 1e-8
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    # sin(a/2)/a by its series near zero, where sqrt has no gradient
    scale = jnp.where(small, 0.5 - square / 48.0, jnp.sin(0.5 * angle) / angle)
    w = jnp.where(small, 1.0 - square / 8.0, jnp.cos(0.5 * angle))
    return jnp.concatenate([w, scale * vector], axis=-1)


def to_vector(q: Float[Array, "*b 4"]) -> Float[Array, "*b 3"]:
    """Rotation vector of a unit quaternion, angle at most pi (logarithm)."""
    q = jnp.where(q[..., :1] < 0, -q, q)
    w, u = q[..., :1], q[..., 1:]
    square = jnp.sum(u * u, axis=-1, keepdims=True)
    small = square < 1e-8
    sine = jnp.sqrt(jnp.where(small, 1.0, square))
    scale = jnp.where(small, 2.0, 2.0 * jnp.arctan2(sine, w) / sine)
    return scale * u


def to_matrix(q: Float[Array, "*b 4"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrix of a unit quaternion."""
    w, x, y, z = (q[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 4"]:
    """Unit quaternion of a rotation matrix, w >= 0; well conditioned everywhere."""
    m = matrix
    diagonal = [m[..., i, i] for i in range(3)]
    trace = diagonal[0] + diagonal[1] + diagonal[2]
    # four times q_i q, for each choice of the pivot i: take the longest row
    candidates = jnp.stack(
        [
            jnp.stack(
                [
                    1 + trace,
                    m[..., 2, 1] - m[..., 1, 2],
                    m[..., 0, 2] - m[..., 2, 0],
                    m[..., 1, 0] - m[..., 0, 1],
                ],
                -1,
            ),
            jnp.stack(
                [
                    m[..., 2, 1] - m[..., 1, 2],
                    1 + 2 * diagonal[0] - trace,
                    m[..., 1, 0] + m[..., 0, 1],
                    m[..., 0, 2] + m[..., 2, 0],
                ],
                -1,
            ),
            jnp.stack(
                [
                    m[..., 0, 2] - m[..., 2, 0],
                    m[..., 1, 0] + m[..., 0, 1],
                    1 + 2 * diagonal[1] - trace,
                    m[..., 2, 1] + m[..., 1, 2],
                ],
                -1,
            ),
            jnp.stack(
                [
                    m[..., 1, 0] - m[..., 0, 1],
                    m[..., 0, 2] + m[..., 2, 0],
                    m[..., 2, 1] + m[..., 1, 2],
                    1 + 2 * diagonal[2] - trace,
                ],
                -1,
            ),
        ],
        axis=-2,
    )
    pivots = jnp.stack([trace, *diagonal], axis=-1)
    best = jnp.argmax(pivots, axis=-1)[..., None, None]
    q = normalize(jnp.take_along_axis(candidates, best, axis=-2)[..., 0, :])
    return jnp.where(q[..., :1] < 0, -q, q)


def angle(a: Float[Array, "*#b 4"], b: Float[Array, "*#b 4"]) -> Float[Array, "*#b"]:
    """Angle in radians of the rotation that leads from a to b."""
    return safe_norm(to_vector(multiply(conjugate(a), b)))
