"""Warps between the posed object and its rest pose, by blended bone motions.

Backward (posed to rest) takes weights at the posed point among posed bones and blends
the inverse motions; forward takes weights at the rest point among resting bones. They
are not exact inverses, hence the cycle loss; `preimage` is the forward warp's own
inverse, for shapes that no cycle loss has seen. Blending is by dual quaternions
(default, no collapse at joints) or linear (what game engines do); both are one matrix
product of [n, bones] weights with the motions' numbers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from adreamer_jax.core import rigid, rotation
from adreamer_jax.scene.bones import Bones, posed_bones, rest_pose
from adreamer_jax.scene.skinning import skin
from adreamer_jax.types import Array, Float, Rigid

_FLAT = 0.05  # a warp that leaves less of a volume is not inverted

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


def preimage(
    bones: Bones,
    motion: Rigid,
    points: Float[Array, "*t n 3"],
    guess: Float[Array, "*t n 3"],
    *,
    steps: int = 2,
    blend: Blend = dual_blend,
    with_delta: bool = True,
) -> tuple[Float[Array, "*t n 3"], Float[Array, "*t n"]]:
    """Rest points near ``guess`` that `to_posed` carries to posed points, and the gaps.

    The gap is how far from the posed point the last iterate but one came to lie: large
    where none was found, as in the space between bones that part. So many steps of a
    fixed-point iteration (each is the backward warp with the weights of the point found
    so far) are followed by one of Newton's, through which the gradient runs: it is that
    of the implicit function, whatever came before. (After SNARF, Chen et al., ICCV
    2021, who search the same points by Broyden's method.)
    """
    still, moved, aim = jax.lax.stop_gradient((bones, motion, points))
    inverse = rigid.invert(moved)

    def carried(bones: Bones, motion: Rigid, rest: Array):
        return to_posed(bones, motion, rest, blend=blend, with_delta=with_delta)

    def nearer(rest: Array, _):
        there, weights, _ = carried(still, moved, rest)
        return rest + blend(inverse, weights, aim) - blend(inverse, weights, there), ()

    rest, _ = jax.lax.scan(nearer, jax.lax.stop_gradient(guess), length=steps)
    _, push = jax.linearize(lambda x: carried(still, moved, x)[0], rest)
    axes = [jnp.broadcast_to(axis, rest.shape) for axis in jnp.eye(3)]
    slopes = jax.lax.stop_gradient([push(axis) for axis in axes])
    miss = points - carried(bones, motion, rest)[0]
    gap = jax.lax.stop_gradient(rotation.safe_norm(miss))
    return rest + _solved(slopes, miss), gap


def _solved(
    columns: list[Float[Array, "*b 3"]], value: Float[Array, "*b 3"]
) -> Float[Array, "*b 3"]:
    """What the matrix of three columns maps to the value; short where it is flat."""
    a, b, c = columns
    rows = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-2)
    volume = jnp.sum(a * rows[..., 0, :], axis=-1, keepdims=True)
    volume = jnp.where(jnp.abs(volume) > _FLAT, volume, jnp.copysign(_FLAT, volume))
    return jnp.einsum("...ij,...j->...i", rows, value) / volume


def mean_rotation_angle(motion: Rigid) -> Float[Array, "*t bones"]:
    """Angle in radians by which each bone is turned."""
    return rotation.safe_norm(rotation.to_vector(motion.rotation))
