"""A system as small as can be: a vector learns a target, with upkeep and skips.

Run as a program it trains in a work folder: `python toy.py WORKDIR [STEPS]`.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from adreamer_jax.types import Picture, System, TrainState

SIZE = 16


def toy(steps=20, *, poison=()):
    """A system that fits frozen["target"]; steps in `poison` have gradients of NaN."""
    optimizer = optax.adam(1e-1)

    def init(key, frozen):
        params = {"vector": jax.random.normal(key, frozen["target"].shape)}
        upkeep = {"mean": jnp.zeros(()), "skipped": jnp.zeros((), jnp.int32)}
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, params, optimizer.init(params), upkeep)

    def sample(frozen, key, step):
        return {"noise": jax.random.normal(key, (8, SIZE)), "scale": jnp.ones(())}

    def step(state, frozen, batch, key, axis=None):
        def loss_of(params):
            aim = frozen["target"] + 0.1 * batch["noise"] + 0.1 * state.upkeep["mean"]
            return jnp.mean((params["vector"] - aim) ** 2) * batch["scale"]

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        if axis is not None:
            loss, grads = jax.lax.pmean((loss, grads), axis)
        bad = jnp.isin(state.step, jnp.array([-1, *poison]))
        loss = jnp.where(bad, jnp.nan, loss)
        updates, opt_state = optimizer.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        old = (state.params, state.opt_state)
        choose = lambda a, b: jnp.where(bad, a, b)
        params, opt_state = jax.tree.map(choose, old, (params, opt_state))
        skipped = state.upkeep["skipped"] + bad
        state = TrainState(
            state.step + 1, params, opt_state, state.upkeep | {"skipped": skipped}
        )
        return state, {"loss": loss, "skipped": skipped}

    def maintain(state, frozen, step):
        if step % 3:
            return state
        mean = np.mean(np.asarray(state.params["vector"]))
        return state.replace(upkeep=state.upkeep | {"mean": jnp.asarray(mean)})

    def preview(state, frozen):
        row = np.clip(np.asarray(state.params["vector"]) * 40 + 128, 0, 255)
        return {"vector": np.tile(row.astype(np.uint8)[None, :, None], (4, 1, 3))}

    def render(state, frozen, camera, frame):
        color = np.ones((*camera.size, 3), np.float32) * 0.5
        return Picture(color, color[..., 0], color[..., 0], color)

    def asset(state, frozen):
        raise ValueError("the toy has no surface")

    def surface(state, frozen, frame):
        return np.zeros((0, 3)), np.zeros((0, 3), int)

    return System(init, sample, step, maintain, render, preview, asset, surface, steps)


def frozen_toy():
    return {"target": jnp.linspace(-1.0, 1.0, SIZE)}


def run_section(**changes):
    run = dict(seed=3, log_every=2, save_every=4, show_every=10, devices=1)
    return ConfigDict(run | changes)


if __name__ == "__main__":
    from adreamer_jax.run.train import train
    from tests.run.common import write_end

    total = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    folder = Path(sys.argv[1])
    state = train(toy(total), frozen_toy(), run_section(), folder, stage="toy")
    write_end(folder, state)
