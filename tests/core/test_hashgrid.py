"""The hash grid against a slow numpy twin, and its hand-written gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from adreamer_jax.core.hashgrid import (
    GridSpec,
    encode,
    encode_with_slopes,
    init_grid,
)

# two dense levels (5^3 and 7^3 corners) and two hashed ones (11^3, 17^3) in 512 slots
SPEC = GridSpec(levels=4, log2_slots=9, features=2, coarsest=4, finest=16)


def twin(tables, points, spec):
    """One point, one level, one corner after the other."""
    out = np.zeros((len(points), spec.levels, spec.features))
    for n, point in enumerate(np.clip(points, 0.0, 1.0)):
        for level, cells in enumerate(spec.resolutions()):
            scaled = point * float(cells)
            low = np.minimum(np.floor(scaled), cells - 1).astype(int)
            part = scaled - low
            for bits in np.ndindex(2, 2, 2):
                x, y, z = (int(v) for v in low + bits)
                side = int(cells) + 1
                if side**3 <= spec.slots:
                    slot = x + side * y + side * side * z
                else:
                    slot = (x ^ (y * 2654435761) ^ (z * 805459861)) % spec.slots
                weight = np.prod(np.where(np.array(bits) == 1, part, 1 - part))
                out[n, level] += weight * tables[level, slot]
    return out.reshape(len(points), -1)


@pytest.fixture(scope="module")
def tables():
    return init_grid(jax.random.key(1), SPEC, scale=1.0)


@pytest.fixture(scope="module")
def points():
    return jax.random.uniform(jax.random.key(2), (40, 3))


@pytest.fixture(scope="module")
def look_up():
    return jax.jit(lambda t, p: encode(t, p, SPEC))


@pytest.fixture(scope="module")
def slopes_of():
    return jax.jit(lambda t, p: encode_with_slopes(t, p, SPEC))


def test_the_sizes_are_those_of_the_spec(tables):
    assert SPEC.resolutions().tolist() == [4, 6, 10, 16]
    assert tables.shape == (4, 512, 2) and SPEC.channels == 8
    assert np.abs(init_grid(jax.random.key(0), SPEC)).max() <= 1e-4
    assert GridSpec(levels=1, coarsest=5).resolutions().tolist() == [5]


def test_fast_is_slow(tables, points, look_up):
    expected = twin(np.asarray(tables, np.float64), np.asarray(points), SPEC)
    np.testing.assert_allclose(look_up(tables, points), expected, atol=1e-5)


def test_corners_faces_and_the_outside(tables, look_up):
    odd = [[0, 0, 0], [1, 1, 1], [1, 0, 0.5], [0.25, 0.5, 1], [-3, 0.3, 7]] * 8
    points = np.array(odd, np.float32)
    expected = twin(np.asarray(tables, np.float64), points, SPEC)
    np.testing.assert_allclose(
        look_up(tables, jnp.asarray(points)), expected, atol=1e-5
    )


def test_equal_tables_give_their_number_everywhere(points, look_up):
    constant = jnp.full((4, 512, 2), 3.0)
    np.testing.assert_allclose(look_up(constant, points), 3.0, rtol=1e-6)


def test_a_dense_level_reproduces_a_linear_function(points, look_up):
    side = int(SPEC.resolutions()[0]) + 1
    z, y, x = np.meshgrid(*[np.arange(side)] * 3, indexing="ij")
    table = np.zeros((4, 512, 2), np.float32)
    table[0, : side**3, 0] = (x + 2 * y - 3 * z).reshape(-1) / (side - 1)
    out = look_up(jnp.asarray(table), points)[:, 0]
    np.testing.assert_allclose(out, points @ jnp.array([1.0, 2, -3]), atol=1e-5)


def test_the_two_forms_agree(tables, points, look_up, slopes_of):
    features, slopes = slopes_of(tables, points)
    np.testing.assert_allclose(features, look_up(tables, points), atol=1e-5)
    jacobian = jax.jit(
        jax.vmap(jax.jacrev(lambda t, p: encode(t, p[None], SPEC)[0], 1), (None, 0))
    )(tables, points)
    assert slopes.shape == (40, 3, 8)
    np.testing.assert_allclose(slopes, np.swapaxes(jacobian, 1, 2), atol=1e-4)


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        tables = jnp.asarray(draw.normal(size=(4, 512, 2)))
        points = jnp.asarray(draw.uniform(0.01, 0.99, (6, 3)))
        f = jax.jit(lambda t, p: jnp.sin(encode(t, p, SPEC)))
        check_grads(f, (tables, points), 1, modes=["rev"], eps=1e-7, rtol=1e-4)
        g = jax.jit(
            lambda t: jnp.sin(jnp.stack(encode_with_slopes(t, points, SPEC)[:1]))
        )
        check_grads(g, (tables,), 1, modes=["rev"])


def test_both_results_hand_their_gradient_to_the_tables(tables, points):
    """Both are linear in the tables: <J t, c> = <t, J' c> for every t and c."""
    draw = np.random.default_rng(3)
    c = jnp.asarray(draw.normal(size=(40, 8)).astype(np.float32))
    d = jnp.asarray(draw.normal(size=(40, 3, 8)).astype(np.float32))

    @jax.jit
    def both(t):
        value, pull = jax.vjp(lambda t: encode_with_slopes(t, points, SPEC), t)
        return value, pull((c, d))[0]

    (features, slopes), back = both(tables)
    forward = np.sum(features * c) + np.sum(slopes * d)
    np.testing.assert_allclose(forward, np.sum(tables * back), rtol=1e-4)


def test_the_slopes_do_not_move_points(tables, points):
    moved = jax.jit(
        jax.grad(lambda p: sum(x.sum() for x in encode_with_slopes(tables, p, SPEC)))
    )(points)
    assert not np.any(moved)


def test_outside_of_the_cube_nothing_pulls(tables):
    outside = jnp.array([[-0.5, 0.3, 0.3], [0.3, 1.5, 0.3]])
    gradient, slopes = jax.jit(
        lambda p: (
            jax.grad(lambda p: encode(tables, p, SPEC).sum())(p),
            encode_with_slopes(tables, p, SPEC)[1].sum(-1),
        )
    )(outside)
    assert gradient[0, 0] == 0 and gradient[1, 1] == 0
    np.testing.assert_allclose(slopes, gradient, atol=1e-4)
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


def test_the_scan_keeps_memory_off_the_levels():
    """Temporaries stay under a few features' worth of the points, backward included."""
    spec = GridSpec(levels=8, log2_slots=12, features=2)
    count = 4096
    tables = jax.ShapeDtypeStruct((8, spec.slots, 2), jnp.float32)
    points = jax.ShapeDtypeStruct((count, 3), jnp.float32)
    step = jax.jit(jax.grad(lambda t, p: (encode(t, p, spec) ** 2).sum(), (0, 1)))
    memory = step.lower(tables, points).compile().memory_analysis()
    corners = 8 * count * (spec.features + 1) * 4  # one level's updates and slots
    tables_bytes = 4 * 8 * spec.slots * 2
    features = 4 * count * spec.channels
    assert memory.temp_size_in_bytes < 2 * corners + 3 * tables_bytes + 4 * features
