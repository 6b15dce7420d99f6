import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.run import parallel
from tests.run.toy import frozen_toy, toy


def advanced(count, steps=2):
    """Parameters and metrics of the toy after some steps on so many devices."""
    system, mesh = toy(), parallel.make_mesh(count)
    frozen = parallel.place(frozen_toy(), mesh)
    fresh = parallel.own(system.init(jax.random.key(1), frozen))
    state = parallel.place(fresh, mesh)
    key = parallel.hand_out(jax.random.key(2), mesh)
    advance = parallel.make_advance(system, mesh)
    for _ in range(steps):
        state, metrics = advance(state, frozen, key)
    return state, metrics


@pytest.fixture(scope="module")
def one():
    return advanced(1)


@pytest.mark.parametrize("count", [2, 8])
def test_many_devices_do_what_one_does(one, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        state, metrics = advanced(count)
    np.testing.assert_allclose(
        state.params["vector"], one[0].params["vector"], atol=1e-6
    )
    np.testing.assert_allclose(metrics["loss"], one[1]["loss"], rtol=1e-6)
    assert state.params["vector"].shape == one[0].params["vector"].shape
    assert len(state.params["vector"].devices()) == count


def test_the_state_is_taken_over_by_the_step():
    system, mesh = toy(), parallel.make_mesh(1)
    frozen = parallel.place(frozen_toy(), mesh)
    state = parallel.place(parallel.own(system.init(jax.random.key(1), frozen)), mesh)
    new, _ = parallel.make_advance(system, mesh)(state, frozen, jax.random.key(2))
    assert state.params["vector"].is_deleted()
    assert not new.params["vector"].is_deleted()


def test_own_copies_shared_buffers_and_hardens_types():
    array = jnp.ones(3)
    tree = parallel.own({"a": array, "b": array, "c": jnp.asarray(1.0) * 2})
    pointers = [leaf.unsafe_buffer_pointer() for leaf in tree.values()]
    assert len({*pointers, array.unsafe_buffer_pointer()}) == 4
    assert not tree["c"].weak_type


def test_too_many_devices_are_refused():
    with pytest.raises(ValueError, match=r"--config\.run\.devices=0"):
        parallel.make_mesh(len(jax.devices()) + 1)
    assert parallel.make_mesh(0).size == len(jax.devices())
