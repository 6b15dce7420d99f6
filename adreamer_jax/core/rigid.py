"""Rigid motions and their dual quaternions.

``compose(a_from_b, b_from_c)`` is ``a_from_c``: names cancel. A dual quaternion is an
array of 8 numbers (real part, dual part) with the dual part half of translation times
rotation, so that blending many motions is one matrix product (Kavan et al. 2007).
"""

import jax.numpy as jnp

from adreamer_jax.core import rotation
from adreamer_jax.types import Array, Float, Rigid


def identity(shape: tuple[int, ...]) -> Rigid:
    """Motions that leave everything where it is."""
    q = jnp.zeros((*shape, 4)).at[..., 0].set(1.0)
    return Rigid(rotation=q, translation=jnp.zeros((*shape, 3)))


def compose(a_from_b: Rigid, b_from_c: Rigid) -> Rigid:
    """Motion that applies b_from_c first, then a_from_b."""
    turned = rotation.rotate(a_from_b.rotation, b_from_c.translation)
    return Rigid(
        rotation=rotation.multiply(a_from_b.rotation, b_from_c.rotation),
        translation=turned + a_from_b.translation,
    )


def invert(a_from_b: Rigid) -> Rigid:
    """Motion that undoes the given one."""
    back = rotation.conjugate(a_from_b.rotation)
    return Rigid(back, -rotation.rotate(back, a_from_b.translation))


def apply(a_from_b: Rigid, points: Float[Array, "*#b 3"]) -> Float[Array, "*#b 3"]:
    """Points carried along."""
    return rotation.rotate(a_from_b.rotation, points) + a_from_b.translation


def to_matrix(motion: Rigid) -> Float[Array, "*b 4 4"]:
    """Homogeneous matrices."""
    top = jnp.concatenate(
        [rotation.to_matrix(motion.rotation), motion.translation[..., None]], axis=-1
    )
    bottom = jnp.broadcast_to(
        jnp.array([0.0, 0.0, 0.0, 1.0], top.dtype), (*top.shape[:-2], 1, 4)
    )
    return jnp.concatenate([top, bottom], axis=-2)


def from_matrix(matrix: Float[Array, "*b 4 4"]) -> Rigid:
    """Motion of a homogeneous matrix whose upper left block is a rotation."""
    return Rigid(rotation.from_matrix(matrix[..., :3, :3]), matrix[..., :3, 3])


def to_dual(motion: Rigid) -> Float[Array, "*b 8"]:
    """Unit dual quaternion of a motion."""
    zero = jnp.zeros_like(motion.translation[..., :1])
    pure = jnp.concatenate([zero, motion.translation], axis=-1)
    dual = 0.5 * rotation.multiply(pure, motion.rotation)
    return jnp.concatenate([motion.rotation, dual], axis=-1)


def apply_dual(
    dual: Float[Array, "*#b 8"], points: Float[Array, "*#b 3"]
) -> Float[Array, "*#b 3"]:
    """Points carried by a dual quaternion of any length: it is normalized first."""
    real, part = dual[..., :4], dual[..., 4:]
    scale = 1.0 / jnp.maximum(jnp.sum(real * real, -1, keepdims=True), 1e-12)
    w, u = real[..., :1], real[..., 1:]
    dw, du = part[..., :1], part[..., 1:]
    shift = 2.0 * (w * du - dw * u + jnp.cross(u, du))
    twice = 2.0 * jnp.cross(u, points)
    turned = w * twice + jnp.cross(u, twice)
    return points + scale * (turned + shift)
