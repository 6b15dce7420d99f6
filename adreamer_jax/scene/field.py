"""The canonical field: signed distance, color and features of the rest shape.

Two backbones share one set of heads: multiresolution hash tables (default) and a
Fourier-feature network. The signed distance is that of an ellipsoid plus a learned
offset, so a fresh field is already a closed surface (geometry initialization). Points
are in field space: the object fills [-1, 1]^3, y up. Distances are negative inside.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from adreamer_jax.core.encoding import fourier
from adreamer_jax.core.hashgrid import (
    GridSpec,
    encode,
    encode_with_slopes,
    init_grid,
)
from adreamer_jax.core.mlp import init_mlp, init_skip_mlp, mlp
from adreamer_jax.core.rotation import safe_norm
from adreamer_jax.types import Array, Float, Key, Params

_SKIP = 3  # hidden layer of the plain network that sees its input again


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """Shape of the field's networks; see the recipe for the meaning of each number."""

    backbone: str = "hash"  # or "mlp"
    grid: GridSpec = dataclasses.field(default_factory=GridSpec)
    width: int = 48
    depth: int = 1  # hidden layers of every head
    mlp_width: int = 128
    mlp_depth: int = 5
    frequencies: int = 8
    features: int = 16
    offset_scale: float = 0.05  # of the learned part of the distance
    density: str = "volsdf"  # or "neus"

    @property
    def channels(self) -> int:
        """Numbers that the backbone hands to the heads."""
        return self.grid.channels if self.backbone == "hash" else self.mlp_width


class FieldParams(struct.PyTreeNode):
    """Learned numbers of the field."""

    backbone: Params
    sdf: Params
    color: Params
    feature: Params
    visibility: Params
    log_beta: Float[Array, ""]
    log_temperature: Float[Array, ""]  # of feature matching
    center: Float[Array, "3"]  # of the initial ellipsoid
    axes: Float[Array, "3 3"]  # rows: unit half axes
    radii: Float[Array, "3"]
    spec: FieldSpec = struct.field(pytree_node=False)


class FieldSample(struct.PyTreeNode):
    """The field at some points."""

    sdf: Float[Array, "*b"]
    color: Float[Array, "*b 3"]
    feature: Float[Array, "*b f"] | None
    visibility: Float[Array, "*b"] | None  # logit


def init_field(
    key: Key,
    spec: FieldSpec,
    *,
    center: Float[Array, "3"],
    axes: Float[Array, "3 3"],
    radii: Float[Array, "3"],
    beta: float,
) -> FieldParams:
    """A field whose surface is the given ellipsoid."""
    keys = iter(jax.random.split(key, 6))
    if spec.backbone == "hash":
        backbone = init_grid(next(keys), spec.grid)
    else:
        inputs = 3 * (1 + 2 * spec.frequencies)
        backbone = init_skip_mlp(
            next(keys),
            inputs,
            spec.mlp_width,
            spec.mlp_depth,
            spec.mlp_width,
            skip=_SKIP,
        )
    hidden = [spec.width] * spec.depth

    def head(outputs: int, last_scale: float = 1.0) -> Params:
        sizes = [spec.channels, *hidden, outputs]
        return init_mlp(next(keys), sizes, last_scale=last_scale)

    return FieldParams(
        backbone=backbone,
        sdf=head(1, 0.1),
        color=head(3, 0.1),
        feature=head(spec.features),
        visibility=head(1, 0.1),
        log_beta=jnp.log(jnp.asarray(beta, jnp.float32)),
        log_temperature=jnp.log(jnp.asarray(5.0, jnp.float32)),
        center=jnp.asarray(center, jnp.float32),
        axes=jnp.asarray(axes, jnp.float32),
        radii=jnp.asarray(radii, jnp.float32),
        spec=spec,
    )


def ellipsoid_sdf(
    field: FieldParams, points: Float[Array, "*b 3"]
) -> Float[Array, "*b"]:
    """First-order distance to the initial ellipsoid, |p| (|p| - 1) / |p / r| in p / r.

    Exact on the surface and for spheres; its gradient is near one where it matters.
    """
    center, axes, radii = jax.lax.stop_gradient((field.center, field.axes, field.radii))
    local = jnp.einsum("ij,...j->...i", axes, points - center)
    scaled = safe_norm(local / radii)
    slope = safe_norm(local / radii**2)
    smallest = jnp.min(radii)
    # inside, near the center, the quotient is not defined: go over to a cone
    return jnp.where(
        scaled > 0.3,
        scaled * (scaled - 1.0) / jnp.maximum(slope, 1e-6),
        (scaled - 1.0) * smallest,
    )


def level_window(spec: FieldSpec, detail: Float[Array, ""] | float):
    """Multiplier of each grid channel: ``detail`` in [0, 1] opens the levels in turn."""
    at = jnp.clip(
        jnp.asarray(detail) * spec.grid.levels - jnp.arange(spec.grid.levels), 0, 1
    )
    return jnp.repeat(at, spec.grid.features)


def _unit_cube(points: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    return 0.5 * (points + 1.0)


def backbone(
    field: FieldParams, points: Float[Array, "n 3"], detail: Float[Array, ""] | float
) -> Float[Array, "n channels"]:
    """What the heads see of a point."""
    spec = field.spec
    if spec.backbone == "hash":
        features = encode(field.backbone, _unit_cube(points), spec.grid)
        return features * level_window(spec, detail)
    waves = fourier(points, frequencies=spec.frequencies, alpha=detail)
    return jax.nn.relu(mlp(field.backbone, waves, skip=_SKIP))


def query(
    field: FieldParams,
    points: Float[Array, "n 3"],
    *,
    detail: Float[Array, ""] | float = 1.0,
    with_feature: bool = False,
    with_visibility: bool = False,
) -> FieldSample:
    """Distance, color and, where asked, feature and visibility of points."""
    h = backbone(field, points, detail)
    feature = visibility = None
    if with_feature:
        raw = mlp(field.feature, h)
        feature = raw / jnp.maximum(safe_norm(raw), 1e-6)[..., None]
    if with_visibility:
        visibility = mlp(field.visibility, h)[..., 0]
    return FieldSample(
        sdf=_sdf(field, points, h),
        color=jax.nn.sigmoid(mlp(field.color, h)),
        feature=feature,
        visibility=visibility,
    )


def signed_distance(
    field: FieldParams,
    points: Float[Array, "n 3"],
    *,
    detail: Float[Array, ""] | float = 1.0,
) -> Float[Array, "n"]:
    """Distance alone, for occupancy, meshes and normals."""
    return _sdf(field, points, backbone(field, points, detail))


def _sdf(field, points, h):
    offset = mlp(field.sdf, h, activation=jax.nn.softplus)[..., 0]
    return ellipsoid_sdf(field, points) + field.spec.offset_scale * offset


def distance_with_normal(
    field: FieldParams,
    points: Float[Array, "n 3"],
    *,
    detail: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, "n"], Float[Array, "n 3"]]:
    """Distance and its gradient, written out for the hash backbone.

    The gradient is the tables' slopes times that of a small network, so that a loss on
    it is differentiated once only. Points are constants here.
    """
    points = jax.lax.stop_gradient(points)
    if field.spec.backbone != "hash":
        values, pull = jax.vjp(
            lambda p: signed_distance(field, p, detail=detail), points
        )
        return values, pull(jnp.ones_like(values))[0]
    features, slopes = encode_with_slopes(
        field.backbone, _unit_cube(points), field.spec.grid
    )
    window = level_window(field.spec, detail)

    def head(h):
        return mlp(field.sdf, h, activation=jax.nn.softplus)[..., 0]

    offset, pull = jax.vjp(head, features * window)
    along = pull(jnp.ones_like(offset))[0] * window
    base, base_pull = jax.vjp(lambda p: ellipsoid_sdf(field, p), points)
    scale = field.spec.offset_scale
    gradient = base_pull(jnp.ones_like(base))[0]
    gradient = gradient + 0.5 * scale * jnp.einsum("nac,nc->na", slopes, along)
    return base + scale * offset, gradient


def volsdf_density(
    sdf: Float[Array, "*b"], beta: Float[Array, ""]
) -> Float[Array, "*b"]:
    """Density of a distance: the Laplace distribution's CDF of -sdf, over beta (VolSDF).

    The branch is chosen by where, not by abs: at the surface abs has the wrong slope.
    """
    distance = jnp.where(sdf > 0, sdf, -sdf)
    tail = 0.5 * jnp.exp(-distance / beta)
    return jnp.where(sdf > 0, tail, 1.0 - tail) / beta


def neus_density(sdf: Float[Array, "*b"], beta: Float[Array, ""]) -> Float[Array, "*b"]:
    """Logistic density sigmoid(-sdf / beta) / beta (NeuS-like option)."""
    return jax.nn.sigmoid(-sdf / beta) / beta


def density(
    field: FieldParams, sdf: Float[Array, "*b"], beta: Float[Array, ""]
) -> Float[Array, "*b"]:
    """Density by the law that the field's spec names."""
    law = {"volsdf": volsdf_density, "neus": neus_density}[field.spec.density]
    return law(sdf, beta)
