"""The canonical field: signed distance, color and features of the rest shape.

Two backbones share one set of heads: multiresolution hash tables (default) and a
Fourier-feature network. The signed distance is that of an ellipsoid plus a learned
offset, so a fresh field is already a closed surface (geometry initialization). With the
symmetry option shape is looked up on one side of a learned mirror plane, while color
and features see the true place: what one side shows of the shape the other side has.
Points are in field space: the object fills [-1, 1]^3, y up. Distances are negative
inside.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import struct

from adreamer_jax.core.encoding import fourier
from adreamer_jax.core.hashgrid import GridSpec, encode, encode_with_slopes, init_grid
from adreamer_jax.core.mlp import init_mlp, init_skip_mlp, mlp
from adreamer_jax.core.rotation import normalize, safe_norm
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
    symmetric: bool = True
    stance: float = 2.0  # exponent of the initial shape's lower half; 2: an ellipsoid
    gap: float = 0.0  # of that half, along the mirror plane, as a share of its width

    @property
    def channels(self) -> int:
        """Numbers that one backbone (of shape or of color) hands to the heads."""
        return self.grid.channels if self.backbone == "hash" else self.mlp_width


@no_type_check  # tree.map fills it with other things than arrays
class FieldParams(struct.PyTreeNode):
    """Learned numbers of the field."""

    shape: Params  # backbone of the distance
    paint: Params  # backbone that color and features see beside it
    sdf: Params
    color: Params
    feature: Params
    visibility: Params
    log_beta: Float[Array, ""]
    log_temperature: Float[Array, ""]  # of feature matching
    center: Float[Array, "3"]  # of the initial ellipsoid
    axes: Float[Array, "3 3"]  # rows: unit half axes
    radii: Float[Array, "3"]
    plane: Float[Array, "4"]  # of symmetry: normal, offset
    spec: FieldSpec = struct.field(pytree_node=False)


@no_type_check  # tree.map fills it with other things than arrays
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
    side: Float[Array, "3"],
    beta: float,
) -> FieldParams:
    """A field whose surface is the given ellipsoid, mirrored along ``side``."""
    keys = jax.random.split(key, 6)
    hidden = [spec.width] * spec.depth

    def head(key: Key, inputs: int, outputs: int, last_scale: float = 1.0) -> Params:
        return init_mlp(key, [inputs, *hidden, outputs], last_scale=last_scale)

    center, side = (jnp.asarray(v, jnp.float32) for v in (center, side))
    return FieldParams(
        shape=_init_backbone(keys[0], spec),
        paint=_init_backbone(keys[1], spec),
        sdf=head(keys[2], spec.channels, 1, 0.1),
        color=head(keys[3], 2 * spec.channels, 3, 0.1),
        feature=head(keys[4], 2 * spec.channels, spec.features),
        visibility=head(keys[5], 2 * spec.channels, 1, 0.1),
        log_beta=jnp.log(jnp.asarray(beta, jnp.float32)),
        log_temperature=jnp.log(jnp.asarray(5.0, jnp.float32)),
        center=center,
        axes=jnp.asarray(axes, jnp.float32),
        radii=jnp.asarray(radii, jnp.float32),
        plane=jnp.append(side, side @ center),
        spec=spec,
    )


def _init_backbone(key: Key, spec: FieldSpec) -> Params:
    if spec.backbone == "hash":
        return init_grid(key, spec.grid)
    inputs = 3 * (1 + 2 * spec.frequencies)
    width = spec.mlp_width
    return init_skip_mlp(key, inputs, width, spec.mlp_depth, width, skip=_SKIP)


def height(
    plane: Float[Array, "4"], points: Float[Array, "*b 3"]
) -> Float[Array, "*b"]:
    """Signed distance of points to the plane; only the normal's direction counts."""
    return points @ normalize(plane[:3]) - plane[3]


def mirror(
    plane: Float[Array, "4"], points: Float[Array, "*b 3"]
) -> Float[Array, "*b 3"]:
    """Points on the other side of the plane."""
    return points - 2.0 * height(plane, points)[..., None] * normalize(plane[:3])


def folded(field: FieldParams, points: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Points, those behind the mirror plane replaced by their mirror images."""
    if not field.spec.symmetric:
        return points
    behind = height(field.plane, points) < 0
    return jnp.where(behind[..., None], mirror(field.plane, points), points)


def ellipsoid_sdf(
    field: FieldParams, points: Float[Array, "*b 3"]
) -> Float[Array, "*b"]:
    """First-order distance to the initial shape: (n - 1) / |grad n| for its norm n.

    The norm of p / r has exponent 2 above the center, and ``spec.stance`` well below
    it, which makes the lower half a rounded box: legs stand under the sides of a body,
    and an ellipsoid, lowest in the middle, would have them all grow there. For the same
    reason ``spec.gap`` takes a wedge out of that half, around the mirror plane: limbs
    that swing past each other would be carved down to what they share, the middle.
    """
    center, axes, radii = jax.lax.stop_gradient((field.center, field.axes, field.radii))
    local = jnp.einsum("ij,...j->...i", axes, points - center) / radii
    below = _smooth_step(2.0 * local[..., 1:2])  # the second axis points down
    p = 2.0 + (field.spec.stance - 2.0) * below
    size = jnp.maximum(jnp.abs(local), 1e-4)
    norm = jnp.sum(size**p, axis=-1, keepdims=True) ** (1.0 / p)
    slope = safe_norm((size / norm) ** (p - 1.0) / radii)
    norm = norm[..., 0]
    # at the center each direction has a slope of its own: go over to a cone, smoothly,
    # since the networks cannot mend a step and a smaller animal would be hollow there
    outside = _smooth_step(norm / 0.3)
    least = jnp.min(radii)
    length = least + outside * (1.0 / jnp.maximum(slope, 1e-3) - least)
    body = (norm - 1.0) * length
    if not field.spec.gap:
        return body
    plane = jax.lax.stop_gradient(field.plane)
    across = jnp.sum(jnp.abs(axes @ normalize(plane[:3])) * radii)
    below = local[..., 1] - 0.2
    width = field.spec.gap * across * jnp.clip(below / 0.3, 0.0, 1.0)
    slot = jnp.minimum(width - jnp.abs(height(plane, points)), below * radii[1])
    return jnp.maximum(body, slot)


def _smooth_step(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """From 0 to 1 as x goes there, level at both ends."""
    x = jnp.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def level_window(spec: FieldSpec, detail: Float[Array, ""] | float):
    """Multiplier of each grid channel; ``detail`` in [0, 1] opens levels in turn."""
    at = jnp.clip(
        jnp.asarray(detail) * spec.grid.levels - jnp.arange(spec.grid.levels), 0, 1
    )
    return jnp.repeat(at, spec.grid.features)


def _unit_cube(points: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    return 0.5 * (points + 1.0)


def backbone(
    spec: FieldSpec,
    params: Params,
    points: Float[Array, "n 3"],
    detail: Float[Array, ""] | float,
) -> Float[Array, "n channels"]:
    """What the heads see of a point."""
    if spec.backbone == "hash":
        features = encode(params, _unit_cube(points), spec.grid)
        return features * level_window(spec, detail)
    waves = fourier(points, frequencies=spec.frequencies, alpha=detail)
    return jax.nn.relu(mlp(params, waves, skip=_SKIP))


def query(
    field: FieldParams,
    points: Float[Array, "n 3"],
    *,
    detail: Float[Array, ""] | float = 1.0,
    with_feature: bool = False,
    with_visibility: bool = False,
) -> FieldSample:
    """Distance, color and, where asked, feature and visibility of points."""
    place = folded(field, points)
    shape = backbone(field.spec, field.shape, place, detail)
    paint = backbone(field.spec, field.paint, points, detail)
    h = jnp.concatenate([shape, paint], axis=-1)
    feature = visibility = None
    if with_feature:
        raw = mlp(field.feature, h)
        feature = raw / jnp.maximum(safe_norm(raw), 1e-6)[..., None]
    if with_visibility:
        visibility = mlp(field.visibility, h)[..., 0]
    return FieldSample(
        sdf=_sdf(field, place, shape),
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
    place = folded(field, points)
    return _sdf(field, place, backbone(field.spec, field.shape, place, detail))


def _sdf(field, points, h):
    offset = mlp(field.sdf, h, activation=jax.nn.squareplus)[..., 0]
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
    place = jax.lax.stop_gradient(folded(field, points))
    features, slopes = encode_with_slopes(
        field.shape, _unit_cube(place), field.spec.grid
    )
    window = level_window(field.spec, detail)

    def head(h):
        return mlp(field.sdf, h, activation=jax.nn.squareplus)[..., 0]

    offset, pull = jax.vjp(head, features * window)
    along = pull(jnp.ones_like(offset))[0] * window
    base, base_pull = jax.vjp(lambda p: ellipsoid_sdf(field, p), place)
    scale = field.spec.offset_scale
    gradient = base_pull(jnp.ones_like(base))[0]
    gradient = gradient + 0.5 * scale * jnp.einsum("nac,nc->na", slopes, along)
    if field.spec.symmetric:  # of a mirrored point the gradient is mirrored back
        plane = jax.lax.stop_gradient(field.plane)
        back = mirror(plane.at[3].set(0.0), gradient)
        behind = height(plane, points) < 0
        gradient = jnp.where(behind[:, None], back, gradient)
    return base + scale * offset, gradient


def volsdf_density(
    sdf: Float[Array, "*b"], beta: Float[Array, ""]
) -> Float[Array, "*b"]:
    """Density of a distance: the Laplace law's CDF of -sdf, over beta (VolSDF).

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
