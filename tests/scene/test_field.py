"""The canonical field: geometry initialization, densities, and written-out normals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from adreamer_jax.core.hashgrid import GridSpec
from adreamer_jax.scene import field as fields
from adreamer_jax.scene.field import FieldSpec

SPEC = FieldSpec(
    grid=GridSpec(levels=4, log2_slots=9, features=2, coarsest=4, finest=16),
    width=8,
    mlp_width=16,
    mlp_depth=4,
    frequencies=3,
    features=5,
    symmetric=False,
)
RADII = jnp.array([0.6, 0.4, 0.3])


def make(spec=SPEC, radii=RADII, seed=0, tables=0.0):
    """A field; random numbers of size ``tables`` are added to what is learned."""
    out = fields.init_field(
        jax.random.key(seed),
        spec,
        center=jnp.array([0.1, 0.0, -0.1]),
        axes=jnp.eye(3)[jnp.array([1, 2, 0])],
        radii=radii,
        side=jnp.array([0.0, 0.0, 1.0]),
        beta=0.05,
    )
    noise = lambda x: tables * jax.random.normal(jax.random.key(9), x.shape)
    learned = {"shape": out.shape, "sdf": out.sdf}
    return out.replace(**jax.tree.map(lambda x: x + noise(x), learned))


@pytest.fixture(scope="module")
def points():
    return jax.random.uniform(jax.random.key(5), (64, 3), minval=-1.0, maxval=1.0)


def test_the_ellipsoid_of_a_sphere_is_its_distance(points):
    sphere = make(radii=jnp.full(3, 0.5))
    far = jnp.linalg.norm(points - sphere.center, axis=-1)
    # nearer than 0.3 radii the formula gives way to a cone with the same slope
    ours = fields.ellipsoid_sdf(sphere, points)
    np.testing.assert_allclose(ours, far - 0.5, atol=1e-6)


def test_the_ellipsoid_is_zero_on_its_surface_with_slope_one_outward():
    shape = make()
    unit = jax.random.normal(jax.random.key(0), (50, 3))
    unit = unit / jnp.linalg.norm(unit, axis=-1, keepdims=True)
    surface = (unit * RADII) @ shape.axes + shape.center
    value, slope = jax.vmap(
        jax.value_and_grad(lambda p: fields.ellipsoid_sdf(shape, p))
    )(surface)
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(slope, axis=-1), 1.0, atol=1e-4)
    assert np.all(
        fields.ellipsoid_sdf(shape, 0.9 * (surface - shape.center) + shape.center) < 0
    )
    assert np.all(np.sum(slope * (surface - shape.center), axis=-1) > 0)


def test_the_middle_of_the_ellipsoid_has_a_finite_slope():
    shape = make()
    slope = jax.grad(lambda p: fields.ellipsoid_sdf(shape, p))(shape.center)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_the_ellipsoid_has_no_step_inside(gap):
    # a step would stay a hollow in every animal that is thinner than the first shape
    spec = dataclasses.replace(SPEC, stance=6.0, gap=gap)
    shape = make(spec, radii=jnp.array([0.75, 0.55, 0.2]))
    ends = jax.random.uniform(jax.random.key(7), (2, 40, 3), minval=-0.5, maxval=0.5)
    ends = ends.at[0].set(0.1 * ends[0]) + shape.center  # from near the center outward
    along = jnp.linspace(0.0, 1.0, 2001)[:, None, None]
    value = fields.ellipsoid_sdf(shape, ends[0] + along * (ends[1] - ends[0]))
    length = jnp.linalg.norm(ends[1] - ends[0], axis=-1) / 2000
    assert np.max(np.abs(np.diff(value, axis=0)) / length) < 8.0


@pytest.mark.parametrize("backbone", ["hash", "mlp"])
def test_a_fresh_field_is_nearly_the_ellipsoid(backbone, points):
    fresh = make(dataclasses.replace(SPEC, backbone=backbone))
    sample = jax.jit(
        lambda f, p: fields.query(f, p, with_feature=True, with_visibility=True)
    )(fresh, points)
    gap = np.abs(sample.sdf - fields.ellipsoid_sdf(fresh, points))
    assert gap.max() < 0.05
    assert np.all((sample.color > 0) & (sample.color < 1))
    np.testing.assert_allclose(jnp.linalg.norm(sample.feature, axis=-1), 1, atol=1e-4)
    assert sample.visibility.shape == (64,)


def test_what_is_not_asked_for_is_not_there(points):
    sample = fields.query(make(), points[:3])
    assert sample.feature is None and sample.visibility is None
    np.testing.assert_allclose(
        sample.sdf, fields.signed_distance(make(), points[:3]), atol=1e-6
    )


def test_detail_opens_the_levels_in_turn():
    window = lambda detail: np.asarray(fields.level_window(SPEC, detail))
    np.testing.assert_array_equal(window(0.0), 0)
    np.testing.assert_array_equal(window(0.5), [1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(window(0.625), [1, 1, 1, 1, 0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(window(1.0), 1)


@pytest.mark.parametrize("backbone", ["hash", "mlp"])
def test_the_written_out_gradient_is_autodiffs(backbone, points):
    rough = make(dataclasses.replace(SPEC, backbone=backbone), tables=0.3)

    @jax.jit
    def both(f, p):
        slope = jax.grad(lambda p: fields.signed_distance(f, p, detail=0.8).sum())(p)
        return fields.distance_with_normal(f, p, detail=0.8), (
            fields.signed_distance(f, p, detail=0.8),
            slope,
        )

    ours, autodiff = both(rough, points)
    np.testing.assert_allclose(ours[0], autodiff[0], atol=1e-5)
    np.testing.assert_allclose(ours[1], autodiff[1], atol=2e-4)


def test_a_loss_on_the_gradient_has_the_gradient_of_the_plain_form(points):
    """The eikonal loss differentiated once here is autodiff's second derivative."""
    rough = make(tables=0.3)

    def plain(f):
        sdf = lambda p: fields.signed_distance(f, p[None])[0]
        return jnp.sum(jax.vmap(jax.jacfwd(sdf))(points) ** 2)

    def ours(f):
        return jnp.sum(fields.distance_with_normal(f, points)[1] ** 2)

    learned = lambda f: (f.shape, f.sdf)
    # the plain form in forward mode over the tables: one direction is enough
    direction = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(3), x.shape), learned(rough)
    )

    @jax.jit
    def compare(f):
        gradient = learned(jax.grad(ours)(f))
        along = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        shifted = lambda s: f.replace(
            shape=f.shape + s * direction[0],
            sdf=jax.tree.map(lambda x, d: x + s * d, f.sdf, direction[1]),
        )
        numeric = (ours(shifted(1e-2)) - ours(shifted(-1e-2))) / 2e-2
        return sum(jax.tree.leaves(along)), numeric, ours(f)

    ours_along, numeric, value = compare(rough)
    np.testing.assert_allclose(ours_along, numeric, rtol=2e-2)
    slope = jax.jit(jax.grad(lambda p: jnp.sum(fields.signed_distance(rough, p))))(
        points
    )
    np.testing.assert_allclose(value, jnp.sum(slope**2), rtol=1e-4)


@pytest.mark.parametrize("law", [fields.volsdf_density, fields.neus_density])
def test_densities_fall_from_one_over_beta_through_the_half_to_nothing(law):
    beta = jnp.asarray(0.1)
    at = jnp.array([-50.0, 0.0, 50.0])
    np.testing.assert_allclose(law(at, beta), [10.0, 5.0, 0.0], atol=1e-6)
    line = law(jnp.linspace(-0.5, 0.5, 101), beta)
    assert np.all(np.diff(line) < 0)
    # the two sides add up to the whole
    np.testing.assert_allclose(line + line[::-1], 10.0, rtol=1e-5)


def test_the_density_has_its_slope_at_the_surface_and_no_overflow():
    beta = jnp.asarray(0.1)
    slope = jax.grad(lambda s: fields.volsdf_density(s, beta))
    for at in (0.0, 1e-7, -1e-7):  # -1 / (2 beta^2) from both sides
        np.testing.assert_allclose(slope(jnp.asarray(at)), -50.0, rtol=1e-4)
    for at in (-1e4, 1e4):
        g = jax.grad(fields.volsdf_density, (0, 1))(jnp.asarray(at), jnp.asarray(1e-3))
        assert np.all(np.isfinite(g))
    with jax.enable_x64(True):
        at = (jnp.array([-0.2, 0.05, 0.3]), jnp.asarray(0.1))
        for law in (fields.volsdf_density, fields.neus_density):
            check_grads(jax.jit(law), at, 1, modes=["rev"])


@pytest.mark.parametrize("name, middle", [("volsdf", 5.0), ("neus", 5.0)])
def test_the_spec_names_the_law(name, middle):
    shape = make(dataclasses.replace(SPEC, density=name))
    out = fields.density(shape, jnp.zeros(3), jnp.asarray(0.1))
    np.testing.assert_allclose(out, middle)


def test_the_initial_ellipsoid_is_constant(points):
    gradient = jax.jit(jax.grad(lambda f: fields.signed_distance(f, points).sum()))(
        make()
    )
    for leaf in (gradient.center, gradient.axes, gradient.radii):
        assert not np.any(leaf)
    assert np.any(gradient.shape)


def test_mirroring_twice_is_the_identity_whatever_the_normals_length(points):
    for plane in (jnp.array([1.0, 0, 0, 0.2]), jnp.array([0.3, -2.0, 0.4, -0.1])):
        across = fields.mirror(plane, points)
        np.testing.assert_allclose(fields.mirror(plane, across), points, atol=1e-6)
        low, high = fields.height(plane, across), fields.height(plane, points)
        np.testing.assert_allclose(low, -high, atol=1e-6)
        middle = fields.height(plane, 0.5 * (points + across))
        np.testing.assert_allclose(middle, 0.0, atol=1e-6)


def test_a_symmetric_field_has_one_shape_for_both_sides_and_two_paints(points):
    spec = dataclasses.replace(SPEC, symmetric=True)
    rough = make(spec, tables=0.3).replace(plane=jnp.array([0.2, 0.1, 2.0, -0.1]))
    points = 0.5 * points  # mirrored ones stay in the cube
    rough = rough.replace(
        paint=rough.paint
        + 0.3 * jax.random.normal(jax.random.key(2), rough.paint.shape)
    )
    across = fields.mirror(rough.plane, points)

    @jax.jit
    def both(f, p):
        slope = jax.grad(lambda p: fields.signed_distance(f, p).sum())(p)
        return fields.query(f, p), slope, fields.distance_with_normal(f, p)

    here, slope, written = both(rough, points)
    there, turned, _ = both(rough, across)
    np.testing.assert_allclose(here.sdf, there.sdf, atol=1e-5)
    assert np.abs(here.color - there.color).max() > 0.01
    linear = rough.plane.at[3].set(0.0)
    np.testing.assert_allclose(fields.mirror(linear, slope), turned, atol=1e-3)
    np.testing.assert_allclose(written[1], slope, atol=1e-3)


def test_a_symmetric_field_is_continuous_across_its_plane():
    spec = dataclasses.replace(SPEC, symmetric=True)
    plane = jnp.array([0.0, 0.3, 0.4, 0.1])  # the normal is not of length one
    rough = make(spec, tables=0.3).replace(plane=plane)
    normal = plane[:3] / 0.5
    foot = 0.1 * normal + jnp.array([[0.3, 0.0, 0.0], [-0.4, 0.08, -0.06]])
    near = jnp.concatenate([foot + 1e-5 * normal, foot - 1e-5 * normal])
    above, below = jnp.split(fields.signed_distance(rough, near), 2)
    np.testing.assert_allclose(above, below, atol=1e-3)
    assert np.all(fields.height(plane, fields.folded(rough, near)) >= -1e-6)


def test_the_gap_parts_the_lower_half_along_the_mirror_plane():
    spec = dataclasses.replace(SPEC, stance=6.0, gap=0.4)
    axes = jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    plane = jnp.array([1.0, 0.0, 0.0, 0.1])  # through the center, across x
    parted = make(spec).replace(axes=axes, plane=plane)
    whole = parted.replace(spec=dataclasses.replace(spec, gap=0.0))
    at = lambda x, y: jnp.array([0.1 + x, y, -0.1])
    distance = lambda shape, p: float(fields.ellipsoid_sdf(shape, p))
    assert distance(whole, at(0.0, -0.25)) < -0.1
    assert distance(parted, at(0.0, -0.25)) > 0.1  # between the legs
    assert distance(parted, at(0.35, -0.25)) < -0.05  # in a leg
    for place in (at(0.0, 0.1), at(0.3, 0.0), at(0.0, 0.5)):
        assert distance(parted, place) * distance(whole, place) > 0
    slope = jax.grad(lambda p: fields.ellipsoid_sdf(parted, p))
    places = [at(x, y) for x in (0.0, 0.2) for y in (-0.08, -0.25, -0.5)]
    assert np.all(np.isfinite(jax.vmap(slope)(jnp.stack(places))))
