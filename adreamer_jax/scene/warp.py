"""Warps between the posed object and its rest pose, by blended bone motions.

Backward (posed to rest) takes weights at the posed point among posed bones and blends
the inverse motions; forward takes weights at the rest point among resting bones. They
are not exact inverses, hence the cycle loss. Blending is by dual quaternions (default,
no collapse at joints) or linear (what game engines do); both are one matrix product of
[n, bones] weights with the motions' numbers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from adreamer_jax.core import rigid, rotation
from adreamer_jax.scene.bones import Bones, posed_bones, rest_pose
from adreamer_jax.scene.skinning import skin
from adreamer_jax.types import Array, Float, Rigid

Blend = Callable[[Rigid, Array, Array], Array]


def linear_blend(
    motion: Rigid, weights: Float[Array, "*t n bones"], points: Float[Array, "*t n 3"]
) -> Float[Array, "*t n 3"]:
    """Points moved by the weighted mean of the bones' matrices."""
    matrix = rigid.to_matrix(motion)[..., :3, :]
    flat = matrix.reshape(*matrix.shape[:-2], 12)
    blended = (weights @ flat).reshape(*weights.shape[:-1], 3, 4)
    return jnp.einsum("...ij,...j->...i", blended[..., :3], points) + blended[..., 3]


def dual_blend(
    motion: Rigid, weights: Float[Array, "*t n bones"], points: Float[Array, "*t n 3"]
) -> Float[Array, "*t n 3"]:
    """Points moved by the weighted, sign-aligned mean of the bones' dual quaternions.

    A quaternion and its negative are one rotation; each is taken with the sign that
    agrees with the point's strongest bone, else opposite ones would cancel.
    """
    dual = rigid.to_dual(motion)
    q = jax.lax.stop_gradient(motion.rotation)
    agree = jnp.where(jnp.einsum("...bi,...ci->...bc", q, q) < 0, -1.0, 1.0)
    strongest = jax.nn.one_hot(jnp.argmax(weights, axis=-1), weights.shape[-1])
    return rigid.apply_dual((weights * (strongest @ agree)) @ dual, points)


def to_rest(
    bones: Bones,
    motion: Rigid,
    points: Float[Array, "*t n 3"],
    *,
    time: Float[Array, "*t"] | None = None,
    blend: Blend = dual_blend,
    with_delta: bool = True,
) -> tuple[Float[Array, "*t n 3"], Float[Array, "*t n bones"], Array | None]:
    """Rest positions of posed points, with the weights and the skinning correction."""
    weights, extra = skin(
        bones, posed_bones(bones, motion), points, time=time, with_delta=with_delta
    )
    return blend(rigid.invert(motion), weights, points), weights, extra


def to_posed(
    bones: Bones,
    motion: Rigid,
    points: Float[Array, "*t n 3"],
    *,
    blend: Blend = dual_blend,
    with_delta: bool = True,
) -> tuple[Float[Array, "*t n 3"], Float[Array, "*t n bones"], Array | None]:
    """Posed positions of rest points, with the weights and the skinning correction."""
    rest = rest_pose(bones)
    lead = motion.rotation.shape[:-2]
    rest = Rigid(
        jnp.broadcast_to(rest.rotation, (*lead, *rest.rotation.shape)),
        jnp.broadcast_to(rest.translation, (*lead, *rest.translation.shape)),
    )
    weights, extra = skin(bones, rest, points, with_delta=with_delta)
    return blend(motion, weights, points), weights, extra


def mean_rotation_angle(motion: Rigid) -> Float[Array, "*t bones"]:
    """Angle in radians by which each bone is turned."""
    return rotation.safe_norm(rotation.to_vector(motion.rotation))
