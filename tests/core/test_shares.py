"""Eight devices: their rows are the whole's, and their means its sums."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core import shares
from adreamer_jax.objective.reconstruct import weighted_mean

AXIS = "devices"


def on(count, function, *arguments):
    """Results of the function on every one of so many devices."""
    spread = jax.pmap(
        lambda _, *a: function(*a, AXIS),
        axis_name=AXIS,
        in_axes=(0, *([None] * len(arguments))),
        devices=jax.devices()[:count],
    )
    return spread(jnp.arange(count), *arguments)


def test_alone_there_is_nothing_to_share():
    whole = jnp.arange(6.0)
    assert shares.num_shares(None) == 1 and shares.my_share(None) == 0
    assert shares.own_rows(whole, None) is whole
    assert shares.all_rows(whole, None) is whole
    assert shares.mean_total(whole[2], None) == 2.0


def test_rows_are_parts_of_the_whole_and_come_together_again():
    whole = jnp.arange(48.0).reshape(16, 3)
    rows = on(4, shares.own_rows, whole)
    np.testing.assert_array_equal(rows.reshape(16, 3), whole)
    together = on(4, lambda w, a: shares.all_rows(shares.own_rows(w, a), a), whole)
    for seen in together:
        np.testing.assert_array_equal(seen, whole)


def test_the_mean_of_shares_is_the_ratio_of_the_whole():
    """Also where the weights lie unevenly, and its gradient."""
    value = jax.random.normal(jax.random.key(0), (16, 5))
    weight = jax.random.uniform(jax.random.key(1), (16, 5)) ** 4
    weight = weight.at[:8].set(0.0)

    def share(value, axis):
        own = lambda x: shares.own_rows(x, axis)

        def loss(value):
            return weighted_mean(own(value) ** 2, own(weight), axis)

        return jax.value_and_grad(loss)(value)

    loss, gradient = (x.mean(0) for x in on(8, share, value))
    expected = jax.value_and_grad(lambda v: weighted_mean(v**2, weight))(value)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-7)
    assert np.any(gradient)


def test_a_tree_is_averaged_by_one_reduction():
    tree = {"a": jnp.arange(6.0).reshape(2, 3), "b": (jnp.ones(()), jnp.zeros(0))}
    assert shares.mean_tree(tree, None) is tree

    def share(tree, axis):
        scaled = jax.tree.map(lambda x: x * jax.lax.axis_index(axis), tree)
        return shares.mean_tree(scaled, axis)

    found = on(4, share, tree)
    for seen, whole in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        np.testing.assert_allclose(seen, np.broadcast_to(1.5 * whole, seen.shape))


def test_little_weight_in_all_counts_as_on_one_device():
    """Below a sum of one the divisor stays one."""
    value, weight = jnp.ones(8), jnp.full(8, 1e-3)

    def share(value, weight, axis):
        own = lambda x: shares.own_rows(x, axis)
        return weighted_mean(own(value), own(weight), axis)

    found = on(8, share, value, weight).mean()
    np.testing.assert_allclose(found, weighted_mean(value, weight), rtol=1e-6)
