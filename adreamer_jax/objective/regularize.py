"""What is asked of shape, bones and cameras apart from agreement with the clip.

One function a term: the table of section 5, and the terms that a measured recipe added
(smooth normals, symmetry, neighbor bones, gauge, camera acceleration). All return a
scalar that is zero for a model without fault.
"""

import jax
import jax.numpy as jnp

from adreamer_jax.core import rigid
from adreamer_jax.core.rotation import safe_norm
from adreamer_jax.objective.reconstruct import weighted_mean
from adreamer_jax.types import Array, Float, Rigid


def eikonal_loss(gradient: Float[Array, "*n 3"]) -> Float[Array, ""]:
    """Mean squared deviation of the distance's slope from one."""
    return jnp.mean((safe_norm(gradient) - 1.0) ** 2)


def smooth_loss(
    gradient: Float[Array, "*n 3"], nearby: Float[Array, "*n 3"]
) -> Float[Array, ""]:
    """Mean squared change of the distance's gradient between neighboring points."""
    return jnp.mean(jnp.sum((gradient - nearby) ** 2, axis=-1))


def symmetry_loss(
    sdf: Float[Array, "*n"], mirrored: Float[Array, "*n"], *, limit: float = 0.1
) -> Float[Array, ""]:
    """Mean difference between the distance and that of the mirrored point.

    Far from the surface the distance means little: it is clipped at ``limit``.
    """
    a, b = (jnp.clip(v, -limit, limit) for v in (sdf, mirrored))
    return jnp.mean(jnp.abs(a - b))


def cycle_loss(
    back: Float[Array, "*n 3"],
    points: Float[Array, "*n 3"],
    weight: Float[Array, "*n"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean distance of points that were warped to rest and forth (3D cycle)."""
    return weighted_mean(safe_norm(back - points), weight, axis)


def delta_skin_loss(delta: Float[Array, "*n bones"]) -> Float[Array, ""]:
    """Mean squared skinning correction."""
    return jnp.mean(delta**2)


def skin_entropy_loss(
    weights: Float[Array, "*n bones"],
    importance: Float[Array, "*n"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Cross entropy of skinning weights against their own largest entry."""
    own = -jnp.log(jnp.maximum(jnp.max(weights, axis=-1), 1e-6))
    return weighted_mean(own, importance, axis)


def bone_density(distance: Float[Array, "*n bones"]) -> Float[Array, "*n"]:
    """Occupancy by the bones' ellipsoids: exp(-d / 2) of the nearest one."""
    return jnp.exp(-0.5 * jnp.min(distance, axis=-1))


def bone_skin_loss(
    density: Float[Array, "*n"],
    occupancy: Float[Array, "*n"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Balanced cross entropy between the bones' ellipsoids and the (fixed) shape."""
    inside = jax.lax.stop_gradient(occupancy)
    p = jnp.clip(density, 1e-4, 1.0 - 1e-4)
    covered = weighted_mean(jnp.log(p), inside, axis)
    return -0.5 * (covered + weighted_mean(jnp.log(1.0 - p), 1 - inside, axis))


def bone_mask_loss(
    bone_mask: Float[Array, "*r"], mask: Float[Array, "*r"]
) -> Float[Array, ""]:
    """Mean squared difference between the bones' silhouette and the (fixed) shape's."""
    return jnp.mean((bone_mask - jax.lax.stop_gradient(mask)) ** 2)


def bone_surface_loss(
    sdf: Float[Array, "bones"], *, slack: float = 0.01
) -> Float[Array, ""]:
    """L_bone: how far rest bone centers lie outside of the surface (section 5)."""
    return 0.1 * safe_norm(jnp.maximum(sdf - slack, 0.0))


def tear_loss(
    sdf: Float[Array, "n"],
    stretch: Float[Array, "t n"],
    *,
    most: float,
    width: Float[Array, ""] | float,
) -> Float[Array, ""]:
    """Mean depth of matter that the motion pulls farther apart than by ``most``.

    ``stretch`` is the length of a short stroke in every pose by its length at rest, so
    that a bridge between two legs that part gives way, and not a knee that bends. Depth
    below the surface counts in ``width`` and ends so far outside; by its gradient only
    the shape can give way.
    """
    excess = jax.nn.relu(jnp.max(stretch, axis=0) - most)
    depth = jax.nn.softplus(-sdf / width)
    return jnp.mean(jax.lax.stop_gradient(excess) * depth)


def bone_smooth_loss(
    motion: Rigid, later: Rigid, centers: Float[Array, "bones 3"]
) -> Float[Array, ""]:
    """Mean change of bones between two times: 0.1 angle plus the path of the center."""
    change = rigid.compose(later, rigid.invert(motion))
    angle = 2.0 * safe_norm(change.rotation[..., 1:])
    path = safe_norm(rigid.apply(later, centers) - rigid.apply(motion, centers))
    return jnp.mean(0.1 * angle + path)


def camera_prior_loss(correction: Float[Array, "t 6"]) -> Float[Array, ""]:
    """Mean squared departure of root poses from the initial ones."""
    return jnp.mean(jnp.sum(correction**2, axis=-1))


def camera_acceleration_loss(poses: Float[Array, "t 4 4"]) -> Float[Array, ""]:
    """Mean squared change of the root's speed; zero for less than three frames.

    Speeds are seen from the object itself: a turn of constant rate about any point of
    it costs nothing. (Second differences of the matrices would be the fourth power of
    the rate, and an orbit would shorten itself at its ends.)
    """
    turn, shift = poses[:, :3, :3], poses[:, :3, 3]
    step = jnp.einsum("tji,tjk->tik", turn[:-1], turn[1:])
    path = jnp.einsum("tji,tj->ti", turn[:-1], shift[1:] - shift[:-1])
    change = jnp.sum((step[1:] - step[:-1]) ** 2) + jnp.sum((path[1:] - path[:-1]) ** 2)
    return change / max(1, poses.shape[0] - 2)


def motion_size_loss(
    motion: Rigid, centers: Float[Array, "bones 3"]
) -> Float[Array, ""]:
    """Mean squared movement of bones away from rest."""
    turn = 4.0 * jnp.sum(motion.rotation[..., 1:] ** 2, axis=-1)
    path = jnp.sum((rigid.apply(motion, centers) - centers) ** 2, axis=-1)
    return jnp.mean(path + 0.1 * turn)


def gauge_loss(motion: Rigid, centers: Float[Array, "bones 3"]) -> Float[Array, ""]:
    """Squared movement of the bones all together, which belongs to the root pose."""
    shift = jnp.mean(rigid.apply(motion, centers) - centers, axis=-2)
    turn = jnp.mean(2.0 * motion.rotation[..., 1:], axis=-2)
    spread = jnp.mean(
        jnp.cross(centers, rigid.apply(motion, centers) - centers), axis=-2
    )
    inertia = jnp.mean(jnp.sum(centers**2, axis=-1)) + 1e-3
    whole = spread / inertia
    terms = [jnp.sum(v**2, axis=-1) for v in (shift, turn, whole)]
    return jnp.mean(sum(terms))


def motion_rank_loss(
    motion: Rigid,
    centers: Float[Array, "bones 3"],
    *,
    floor: float = 0.003,
    knee: float = 0.3,
) -> Float[Array, ""]:
    """Weighted nuclear norm of all bones' paths over the clip: few movements mixed.

    A gait is a few movements that all limbs share, each in its own measure and phase.
    What a hidden limb does is not seen, but it does it in step with the others: its
    path is a mixture of theirs. The sum of singular values, of which few ones make a
    small sum, is the usual convex stand-in for their number (low-rank non-rigid
    structure from motion, e.g. Dai et al., CVPR 2012). It makes every movement smaller,
    the swing itself too, so a singular value counts 1 / (1 + it / (knee times the
    largest one)), and this weight is held: small movements are drawn to nothing, large
    ones hardly (reweighting as in Candes et al., J. Fourier Anal. Appl. 2008).

    Per frame and bone, in units of field space; a turn of one radian counts as a shift
    of .3. Singular values below ``floor`` cost their square only, so that bones at rest
    have a gradient. Frames are all of the clip's, in any order.
    """
    path = rigid.apply(motion, centers) - centers
    turn = 2.0 * motion.rotation[..., 1:]
    rows = jnp.concatenate([path, 0.3 * turn], axis=-1).reshape(len(path), -1)
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    gram = rows @ rows.T / (len(path) * len(centers))
    # d tr f(G) = tr f'(G) dG: with the decomposition held the gradient is exact, and it
    # needs none of its own, which it has not where singular values are equal
    square, side = jnp.linalg.eigh(jax.lax.stop_gradient(gram))
    root = jnp.sqrt(jnp.maximum(square, 0.0) + floor**2)
    half = knee * root[-1]  # counts half
    weight = half / (half + root - floor)
    slope = (side * (0.5 * weight / root)) @ side.T
    inner = jnp.sum(slope * gram)
    value = jnp.sum(weight * (root - floor))
    return inner - jax.lax.stop_gradient(inner) + value


def parallax_loss(
    motion: Rigid,
    centers: Float[Array, "bones 3"],
    camera_from_object: Float[Array, "t 4 4"],
) -> Float[Array, ""]:
    """Mean squared movement of bones that goes along with the camera's path.

    A limb at the wrong depth looks right from every side if it drifts while the camera
    turns. So the part of a bone's path that is a linear function of the direction to
    the camera is taken for an error of shape.

    A gait goes along with a quarter turn by chance, with a full turn hardly: the whole
    is weighted by the variance of the directions (about .2 and 1). Frames are all of
    the clip's, in order.
    """
    turn, shift = camera_from_object[:, :3, :3], camera_from_object[:, :3, 3]
    toward = -jnp.einsum("tij,ti->tj", turn, shift)
    toward /= jnp.linalg.norm(toward, axis=-1, keepdims=True)
    toward = jax.lax.stop_gradient(toward - jnp.mean(toward, axis=0))
    path = rigid.apply(motion, centers) - centers
    path -= jnp.mean(path, axis=0)
    # directions in which the camera hardly moves explain nothing
    spread = toward.T @ toward + 0.02 * len(toward) * jnp.eye(3)
    slope = jnp.linalg.solve(
        spread, jnp.einsum("ta,tbi->abi", toward, path).reshape(3, -1)
    )
    along = toward @ slope
    wide = jnp.mean(jnp.sum(toward**2, axis=-1))
    return wide * jnp.sum(along**2) / (len(toward) * len(centers))


def neighbor_loss(
    motion: Rigid,
    centers: Float[Array, "bones 3"],
    joined: Float[Array, "bones bones"],
    *,
    radius: float = 0.15,
) -> Float[Array, ""]:
    """Mean squared disagreement of neighboring bones about the point between them.

    As-rigid-as-possible between bones: weights exp(-d^2 / 2 radius^2) at rest, times
    ``joined`` in [0, 1], which tells whether matter lies between the two.
    """
    middle = midpoints(centers)
    gap = jnp.sum((centers[:, None] - centers[None, :]) ** 2, axis=-1)
    weight = jnp.exp(-0.5 * gap / radius**2) * (1.0 - jnp.eye(centers.shape[0]))
    weight = jax.lax.stop_gradient(weight * joined)

    def carried(q, t):  # [bones 4], [bones 3] -> every middle by its first bone
        return rigid.apply(Rigid(q[:, None], t[:, None]), middle)

    moved = jax.vmap(carried)(motion.rotation, motion.translation)
    error = jnp.sum((moved - jnp.swapaxes(moved, 1, 2)) ** 2, axis=-1)
    return jnp.sum(weight * error) / (moved.shape[0] * jnp.sum(weight) + 1e-9)


def midpoints(centers: Float[Array, "bones 3"]) -> Float[Array, "bones bones 3"]:
    """The points between every two centers."""
    return 0.5 * (centers[:, None] + centers[None, :])


def hidden_visibility_loss(logit: Float[Array, "*n"]) -> Float[Array, ""]:
    """Cross entropy that calls points invisible unless something teaches otherwise."""
    return jnp.mean(-jax.nn.log_sigmoid(-logit))


def opacity_entropy_loss(mask: Float[Array, "*r"]) -> Float[Array, ""]:
    """Mean entropy of rendered opacities: zero for silhouettes of only 0 and 1."""
    p = jnp.clip(mask, 1e-4, 1.0 - 1e-4)
    return jnp.mean(-p * jnp.log(p) - (1.0 - p) * jnp.log1p(-p))
