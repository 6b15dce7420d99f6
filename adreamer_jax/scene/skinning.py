"""Skinning weights: softmax over Gaussian bones of the negative Mahalanobis distance.

``logit_b(x) = -(|| R_b (x - c_b) / g_b ||^2 + delta_b(x))`` (Lab4D; without the factor
one half, the scales are learned). The quadratic form is a product of [n, 10] monomials
with [10, bones] coefficients; it is taken in full precision, because a TF32 product is
off by more than one in the logit for sharp bones.
"""

import jax
import jax.numpy as jnp

from adreamer_jax.core import rotation
from adreamer_jax.core.encoding import time_code
from adreamer_jax.core.mlp import mlp
from adreamer_jax.scene.bones import Bones
from adreamer_jax.types import Array, Float, Rigid

_EXACT = jax.lax.Precision.HIGHEST


def monomials(points: Float[Array, "*b 3"]) -> Float[Array, "*b 10"]:
    """xx, yy, zz, xy, xz, yz, x, y, z, 1."""
    x, y, z = (points[..., i] for i in range(3))
    one = jnp.ones_like(x)
    return jnp.stack([x * x, y * y, z * z, x * y, x * z, y * z, x, y, z, one], axis=-1)


def quadratic_forms(
    pose: Rigid, log_scale: Float[Array, "bones 3"]
) -> Float[Array, "*t 10 bones"]:
    """Coefficients of the squared Mahalanobis distance to each bone, per monomial."""
    bone_from_object = jnp.swapaxes(rotation.to_matrix(pose.rotation), -1, -2)
    scaled = bone_from_object * jnp.exp(-log_scale)[..., :, None]
    p = jnp.einsum("...ki,...kj->...ij", scaled, scaled, precision=_EXACT)
    c = pose.translation
    pc = jnp.einsum("...ij,...j->...i", p, c, precision=_EXACT)
    k = jnp.sum(pc * c, axis=-1)
    rows = [p[..., 0, 0], p[..., 1, 1], p[..., 2, 2]]
    rows += [2 * p[..., 0, 1], 2 * p[..., 0, 2], 2 * p[..., 1, 2]]
    rows += [-2 * pc[..., 0], -2 * pc[..., 1], -2 * pc[..., 2], k]
    return jnp.stack(rows, axis=-2)


def mahalanobis(
    pose: Rigid, log_scale: Float[Array, "bones 3"], points: Float[Array, "*t n 3"]
) -> Float[Array, "*t n bones"]:
    """Squared distance of points to each bone, in units of its scales."""
    forms = quadratic_forms(pose, log_scale)
    return jnp.matmul(monomials(points), forms, precision=_EXACT)


def delta(
    bones: Bones,
    pose: Rigid,
    points: Float[Array, "*t n 3"],
    time: Float[Array, "*t"] | None,
) -> Float[Array, "*t n bones"]:
    """Learned correction 0.1 relu(network) of the distances, never negative.

    The network sees the point in every bone's frame and the time code; ``time`` None is
    the rest pose, whose code is the mean over the clip.
    """
    m = rotation.to_matrix(pose.rotation)
    flat = jnp.moveaxis(m, -3, -2).reshape(*m.shape[:-3], 3, -1)  # [*t 3 bones*3]
    shift = jnp.einsum("...bij,...bi->...bj", m, pose.translation)
    local = points @ flat - shift.reshape(*m.shape[:-3], 1, -1)
    frequencies = bones.spec.frequencies
    if time is None:
        times = (jnp.arange(64) + 0.5) / 64
        code = jnp.mean(time_code(times, frequencies=frequencies), axis=0)
    else:
        code = time_code(time, frequencies=frequencies)[..., None, :]
    # the first layer's product with the time code is shared by all points of a frame
    first, *rest = bones.delta
    width = local.shape[-1]
    h = local @ first["weight"][:width] + code @ first["weight"][width:] + first["bias"]
    return 0.1 * jax.nn.relu(mlp(rest, jax.nn.relu(h)))


def skin(
    bones: Bones,
    pose: Rigid,
    points: Float[Array, "*t n 3"],
    *,
    time: Float[Array, "*t"] | None = None,
    with_delta: bool = True,
) -> tuple[Float[Array, "*t n bones"], Float[Array, "*t n bones"] | None]:
    """Weights (rows sum to one) of points among bones at ``pose``; the correction."""
    distance = mahalanobis(pose, bones.log_scale, points)
    extra = None
    if with_delta:
        extra = delta(bones, pose, points, time)
        distance = distance + extra
    return jax.nn.softmax(-distance, axis=-1), extra
