"""The pocket recipes at their smallest, for the tests of that system."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems.pocket import networks_of
from adreamer_jax.systems.pocket.learn import Sample


def recipe(name, **changes):
    """A smoke recipe with dotted keys changed."""
    config = load_recipe(f"configs/{name}.py:smoke")
    with config.unlocked():
        for key, value in changes.items():
            config.update_from_flattened_dict({key.replace("__", "."): value})
    return config


def networks(**changes):
    return networks_of(recipe("pocket", **changes))


def fake_sets(count, size, seed=0):
    """Sets of noise with cameras around; premultiplied as the zoo's are."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, size, size, 4), dtype=np.uint8)
    images[..., :3] = np.minimum(images[..., :3], images[..., 3:])
    return {
        "images": images,
        "cameras": random.standard_normal((count, 4, 16)).astype(np.float32),
        "captions": np.array([f"a fox {i}" for i in range(count)]),
        "species": np.array(["fox"] * count),
        "color": np.array(["red"] * count),
        "pattern": np.array(["plain"] * count),
        "build": np.array(["normal"] * count),
        "pose": np.array(["walking"] * count),
    }


def plain_sample(count):
    """Nothing mirrored, turned or silenced."""
    return Sample(
        row=jnp.arange(count),
        level=jnp.repeat((jnp.arange(count)[:, None] + 0.5) / count, 4, axis=1),
        mirror=jnp.zeros(count, bool),
        turn=jnp.zeros(count, jnp.int32),
        silent=jnp.zeros(count, bool),
    )


def walker(module, config, cache):
    """A system whose step is compiled once, and a way to walk some steps."""
    system, frozen = module.make(config, cache)
    step, sample = jax.jit(system.step), jax.jit(system.sample)

    def walk(state, count):
        key = jax.random.key(0)
        metrics = {}
        for i in range(int(state.step), int(state.step) + count):
            state = system.maintain(state, frozen, i)
            now = jax.random.fold_in(key, i)
            state, metrics = step(state, frozen, sample(frozen, now, state.step), now)
        return state, metrics

    start = jax.jit(system.init)(jax.random.key(0), frozen)
    return SimpleNamespace(
        config=config, system=system, frozen=frozen, walk=walk, start=start
    )
