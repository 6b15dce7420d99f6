"""Agreement with the clip: color, mask, flow, depth, features, visibility.

One function a term (table of section 5). Each takes per-ray arrays and a weight per ray
and returns the weighted mean over the rays that count. Lengths in pixels are divided by
``unit`` (pixels), so that a weight means the same at every resolution. On several
devices every one has some of the rays: the mean over devices (``axis``) of what these
functions return is the loss over all rays, because they divide by everybody's weights.
"""

import jax
import jax.numpy as jnp

from adreamer_jax.core.rotation import safe_norm
from adreamer_jax.core.shares import mean_total, num_shares
from adreamer_jax.types import Array, Float


def weighted_mean(
    value: Float[Array, "*b"], weight: Float[Array, "*b"], axis: str | None = None
) -> Float[Array, ""]:
    """Mean of values under weights, which are constants; zero where all are zero."""
    total = jnp.sum(weight) if axis is None else mean_total(jnp.sum(weight), axis)
    return jnp.sum(value * weight) / jnp.maximum(total, 1.0 / num_shares(axis))


def rgb_loss(
    color: Float[Array, "*r 3"],
    target: Float[Array, "*r 3"],
    weight: Float[Array, "*r"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean absolute difference of colors on a common background."""
    return weighted_mean(jnp.mean(jnp.abs(color - target), axis=-1), weight, axis)


def mask_loss(
    mask: Float[Array, "*r"],
    target: Float[Array, "*r"],
    *,
    background: Float[Array, ""] | float = 1.0,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean squared difference of silhouettes, object and background by themselves.

    ``background`` weighs the second part: below one, too much shape is forgiven.
    """
    error = (mask - target) ** 2
    outside = weighted_mean(error, 1.0 - target, axis)
    return 0.5 * (weighted_mean(error, target, axis) + background * outside)


def flow_loss(
    flow: Float[Array, "*r 2"],
    target: Float[Array, "*r 2"],
    confidence: Float[Array, "*r"],
    *,
    unit: float,
    limit: float,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean end-point error in units; an error above ``limit`` units counts as limit.

    The bound keeps a wrong match (an occlusion that passed the check) from pulling.
    """
    error = jnp.minimum(safe_norm(flow - target) / unit, limit)
    return weighted_mean(error, confidence, axis)


def depth_loss(
    depth: Float[Array, "*r"],
    target: Float[Array, "*r"],
    weight: Float[Array, "*r"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean absolute difference of depths along the camera axis."""
    return weighted_mean(jnp.abs(depth - target), weight, axis)


def feature_loss(
    feature: Float[Array, "*r c"],
    target: Float[Array, "*r c"],
    weight: Float[Array, "*r"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean distance between rendered and observed unit descriptors."""
    return weighted_mean(safe_norm(feature - target), weight, axis)


def matched_points(
    observed: Float[Array, "n c"],
    candidates: Float[Array, "m c"],
    points: Float[Array, "m 3"],
    valid: Float[Array, "m"],
    *,
    temperature: Float[Array, ""],
) -> Float[Array, "n 3"]:
    """Soft match: where in rest space each observed descriptor is found.

    Mean of the candidates' points under softmax(temperature <observed, candidate>).
    """
    score = temperature * observed @ candidates.T
    score = jnp.where(valid > 0.5, score, -1e9)
    return jax.nn.softmax(score, axis=-1) @ points


def match_loss(
    pixels: Float[Array, "*r 2"],
    target: Float[Array, "*r 2"],
    weight: Float[Array, "*r"],
    *,
    unit: float,
    limit: float,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Mean distance from where matched points project to where they were seen."""
    error = jnp.minimum(safe_norm(pixels - target) / unit, limit)
    return weighted_mean(error, weight, axis)


def visibility_loss(
    logit: Float[Array, "*k"],
    transmittance: Float[Array, "*k"],
    *,
    axis: str | None = None,
) -> Float[Array, ""]:
    """Cross entropy that teaches points visibility from the light that reaches them."""
    through = jax.lax.stop_gradient(transmittance)
    return weighted_mean(-jax.nn.log_sigmoid(logit), through, axis)
