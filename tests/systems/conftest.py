"""One trained tiny system for all tests of this room."""

from types import SimpleNamespace

import jax
import pytest

from adreamer_jax.systems.animatable import make
from tests.systems.tiny import tiny_clip, tiny_recipe


def build(config, clip, cache):
    """A system with its two functions compiled, and a way to walk some steps."""
    system, frozen = make(config, clip, cache)
    step, sample = jax.jit(system.step), jax.jit(system.sample)

    def walk(state, count, seed=0):
        key = jax.random.key(seed)
        for i in range(int(state.step), int(state.step) + count):
            state = system.maintain(state, frozen, i)
            now = jax.random.fold_in(key, i)
            batch = sample(frozen, now, state.step)
            state, metrics = step(state, frozen, batch, now)
        return state, metrics

    return SimpleNamespace(
        config=config, clip=clip, system=system, frozen=frozen,
        step=step, sample=sample, walk=walk,
        start=jax.jit(system.init)(jax.random.key(0), frozen),
    )  # fmt: skip


@pytest.fixture(scope="session")
def builder(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return lambda clip=None, **changes: build(
        tiny_recipe(**changes), clip or tiny_clip(), cache
    )


@pytest.fixture(scope="session")
def tiny(builder):
    """The default composition."""
    return builder()


@pytest.fixture(scope="session")
def trained(tiny):
    """Its state and metrics after six steps: three rigid ones and three with bones."""
    return tiny.walk(tiny.start, 6)
