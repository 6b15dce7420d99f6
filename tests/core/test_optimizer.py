"""Grouped Adam: against the textbook, groups that wait, groups that never move."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adreamer_jax.core.optimizer import (
    finite_update,
    group_tree,
    grouped_adam,
    path_name,
)
from adreamer_jax.types import Rigid


def group(path):
    return path.split("/")[0]


def params():
    return {
        "a": jnp.array([1.0, -2.0]),
        "b": [jnp.full((), 3.0, jnp.float32)],
        "c": jnp.ones(3),
    }


def run(optimizer, gradients, start):
    """Parameters after each gradient."""
    state, p, out = optimizer.init(start), start, []
    for g in gradients:
        updates, state = optimizer.update(g, state, p)
        p = optax.apply_updates(p, updates)
        out.append(p)
    return out, state


def random_gradients(count):
    keys = jax.random.split(jax.random.key(0), count)
    draw = lambda k: jax.tree.map(lambda x: jax.random.normal(k, x.shape), params())
    return [draw(k) for k in keys]


def test_paths_are_words():
    tree = {"x": [Rigid(jnp.ones(4), jnp.ones(3))]}
    (first, _), _ = jax.tree_util.tree_flatten_with_path(tree)[0]
    assert path_name(first) == "x/0/rotation"
    assert group_tree(params(), group) == {"a": "a", "b": ["b"], "c": "c"}


def test_one_rate_for_all_is_adam():
    ours = grouped_adam(
        lambda step: dict.fromkeys("abc", 0.1), group, clip=1e9, b2=0.99, eps=1e-8
    )
    theirs = optax.adam(0.1, b2=0.99, eps=1e-8)
    gradients = random_gradients(4)
    for a, b in zip(
        run(ours, gradients, params())[0],
        run(theirs, gradients, params())[0],
        strict=True,
    ):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), a, b)


def test_each_group_has_its_rate_and_the_unnamed_stay():
    optimizer = grouped_adam(lambda step: {"a": 0.1, "b": 0.2}, group, clip=1e9)
    (after,), _ = run(optimizer, random_gradients(1), params())
    moved = jax.tree.map(lambda x, y: np.abs(x - y).max(), after, params())
    assert moved["a"] == pytest.approx(0.1, rel=1e-3)  # Adam's first step is the rate
    assert moved["b"][0] == pytest.approx(0.2, rel=1e-3)
    assert moved["c"] == 0


def test_a_group_that_starts_later_starts_fresh():
    late = lambda step: {"a": 0.1, "c": 0.1 * (step >= 3)}
    out, _ = run(grouped_adam(late, group, clip=1e9), random_gradients(5), params())
    for p in out[:3]:
        np.testing.assert_array_equal(p["c"], params()["c"])
    # the first step of the late group is its own gradient's sign, nothing older
    sign = np.sign(random_gradients(5)[3]["c"])
    step = np.asarray(out[3]["c"] - out[2]["c"])
    assert np.array_equal(np.sign(step), -sign) and np.abs(step).max() < 0.3


def test_gradients_of_waiting_groups_do_not_count_for_clipping():
    optimizer = grouped_adam(
        lambda step: {"a": 0.1}, group, clip=1.0, b1=0.0, b2=0.0, eps=1.0
    )
    gradient = jax.tree.map(jnp.zeros_like, params())
    gradient |= {"a": jnp.array([0.5, 0.5]), "c": jnp.full(3, 1e6)}
    (after,), _ = run(optimizer, [gradient], params())
    # with eps = 1 and no memory a step is g / (|g| + 1), so clipping would show
    np.testing.assert_allclose(after["a"] - params()["a"], -0.1 * 0.5 / 1.5, rtol=1e-5)


def test_a_waiting_group_may_have_any_gradient():
    optimizer = grouped_adam(lambda step: {"a": 0.1}, group, clip=1.0)
    gradient = random_gradients(1)[0] | {"c": jnp.full(3, jnp.nan)}
    (after,), state = run(optimizer, [gradient], params())
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((after, state)))


def test_decay_pulls_only_its_group_and_only_at_its_rate():
    optimizer = grouped_adam(
        lambda step: {"a": 0.1, "b": 0.1},
        group,
        clip=1.0,
        weight_decay={"a": 0.5, "c": 0.5},
    )
    zero = jax.tree.map(jnp.zeros_like, params())
    (after,), _ = run(optimizer, [zero], params())
    np.testing.assert_allclose(after["a"], 0.95 * params()["a"], rtol=1e-6)
    assert after["b"][0] == 3.0 and np.array_equal(after["c"], params()["c"])


def test_a_traced_step_compiles_once():
    optimizer = grouped_adam(lambda step: {"a": 0.1 / (1.0 + step)}, group, clip=1.0)
    update = jax.jit(optimizer.update)
    state = optimizer.init(params())
    for gradient in random_gradients(3):
        _, state = update(gradient, state, params())
    assert update._cache_size() == 1


@pytest.mark.parametrize(
    ("loss", "slope", "counts"),
    [
        (1.0, 0.5, True),
        (np.nan, 0.5, False),
        (1.0, np.inf, False),
        (1.0, np.nan, False),
    ],
)
def test_a_step_counts_only_where_everything_is_finite(loss, slope, counts):
    optimizer, start = optax.adam(0.1), params()
    state = optimizer.init(start)
    grads = jax.tree.map(jnp.ones_like, start) | {"b": [jnp.asarray(slope)]}
    new, moved, finite = finite_update(
        optimizer, start, state, grads, jnp.asarray(loss)
    )
    assert bool(finite) is counts
    updates, expected = optimizer.update(grads, state, start)
    wanted = (optax.apply_updates(start, updates), expected)
    jax.tree.map(
        np.testing.assert_array_equal,
        (new, moved),
        wanted if counts else (start, state),
    )
