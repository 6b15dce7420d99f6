"""Open questions of the pocket prior, each as two arms at equal CPU time.

    python benchmarks/pocket_arms.py CACHE --side=32 --arms=base,plain_color

Every arm starts fresh and trains until its seconds of process CPU time are spent (the
compilation and the drawing of data are not counted), then errs on the same held-out
sets with the same noise. Errors are those of the velocity's colors, comparable between
arms, since all codes are the same linear map of the pixels. CACHE keeps the sets. At
half the side a block is half as wide, so that the network has as many places.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems import pocket
from adreamer_jax.systems.pocket.look import band_errors

ARMS: dict[str, dict[str, Any]] = {
    "base": {},
    "plain_color": {"prior.alpha": False},  # a constant gray background, no alpha
    "no_positions": {"prior.positions": False},
    "wide": {"prior.unet.model_channels": 96},
    "no_text_embed": {"prior.unet.text_embed": False},
    "pixels": {  # no space-to-depth: one more level instead
        "prior.block": 1,
        "prior.unet.channel_mult": (1, 1, 2),
        "prior.unet.attention_resolutions": (4,),
    },
}


def recipe(arm: str, sets: int, size: str = "default", side: int = 0) -> Any:
    """The default recipe with an arm's changes, without pictures and readings."""
    config = load_recipe(f"configs/pocket.py:{size}")
    with config.unlocked():
        if side:
            config.prior.block = config.prior.block * side // config.data.size
            config.data.size = side
        config.update_from_flattened_dict(ARMS[arm])
        config.run.validation_sets = sets
        config.run.validate_every = config.run.steps + 1
        config.optimizer.cooldown = 1e-6  # the number of steps is not known
    return config


def trained(config: Any, cache: Path, seconds: float) -> tuple[Any, Any, float]:
    """A state after so much CPU time in steps, its frozen arrays, and the time."""
    system, frozen = pocket.make(config, cache)
    step = jax.jit(system.step, donate_argnums=0)
    sample = jax.jit(system.sample)
    state = jax.tree.map(lambda x: x.copy(), system.init(jax.random.key(0), frozen))
    spent, count = 0.0, 0
    while spent < seconds:
        state = system.maintain(state, frozen, count)
        key = jax.random.fold_in(jax.random.key(1), count)
        before = time.process_time()
        state, metrics = step(state, frozen, sample(frozen, key, state.step), key)
        jax.block_until_ready(metrics)
        spent += (time.process_time() - before) * (count > 0)  # not the compilation
        count += 1
    return state, frozen, spent


def row(arm: str, options: argparse.Namespace) -> list[Any]:
    """Name, parameters, sets seen, sets a CPU second, and errors of all bands."""
    config = recipe(arm, options.sets, options.size, options.side)
    state, frozen, spent = trained(config, options.cache, options.seconds)
    errors = jax.jit(partial(band_errors, pocket.networks_of(config)))(
        state.opt_state["average"], frozen["validation"]
    )
    size_of = sum(x.size for x in jax.tree.leaves(state.params))
    seen = int(state.step) * config.run.batch
    return [
        arm,
        f"{size_of / 1e6:.2f} M",
        seen,
        seen / spent,
        *map(float, errors[:, 0]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--sets", type=int, default=512)
    parser.add_argument("--size", default="default")
    parser.add_argument("--side", type=int, default=0, help="pixels; 0: the size's")
    parser.add_argument("--arms", default=",".join(ARMS))
    options = parser.parse_args()
    head = ["arm", "parameters", "sets", "sets / cpu-s", *(
        f"t {200 * i}-{200 * i + 200}" for i in range(5)
    )]  # fmt: skip
    rows = [row(arm, options) for arm in options.arms.split(",")]
    print(table(head, rows))


if __name__ == "__main__":
    main()
