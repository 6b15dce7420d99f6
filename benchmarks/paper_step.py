"""One step of the published setting: seconds, memory, and where the time goes.

    python benchmarks/paper_step.py --resolution=256
    python benchmarks/paper_step.py --size=smoke --resolution=32     the script alone

`configs/extract.py:paper` on the embedded clip, four views of ``resolution`` squared
pixels through the warp, judged by MVDream's network at its real size. Its weights are
random and its texts are noise, which changes no cost. Medians of the wall clock, the
device waited for; memory is the device's own peak, where it tells.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # from a checkout, anywhere

from adreamer_jax.data.clip import read_clip
from adreamer_jax.data.embedded import embedded_clip
from adreamer_jax.prior import load
from adreamer_jax.prior.noise import make_schedule
from adreamer_jax.prior.text import TextConfig
from adreamer_jax.prior.vae import VaeConfig, vae_shapes
from adreamer_jax.run.devices import set_backend
from adreamer_jax.run.progress import timed
from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems.animatable import make
from adreamer_jax.systems.animatable.distill import csd_gradient
from adreamer_jax.systems.animatable.distill_judge import clean_pair
from adreamer_jax.systems.animatable.distill_views import draw_views, sample_views
from benchmarks.timing import table

STEPS = 12_000  # of the paper's extraction, which takes it five hours


def main() -> None:
    """Time the parts of a step and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--size", choices=("paper", "smoke"), default="paper")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--clip", help="folder of a clip; without: the embedded one")
    asked = parser.parse_args()
    set_backend()
    config = recipe(asked.size, asked.resolution)
    numbers = config.data.embedded
    with timed("the clip"):
        clip = read_clip(asked.clip) if asked.clip else embedded_clip(**numbers)[0]
    with timed("the prior's weights"):
        prior = mvdream(config) if asked.size == "paper" else load.load_prior("random")
        jax.block_until_ready(prior[1])
    with timed("flow and features"), tempfile.TemporaryDirectory() as cache:
        system, frozen = make(config, clip, Path(cache), prior)
    rows, peak = measure(config, system, frozen, prior[0], asked.repeats)
    device = jax.devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}; peak {peak:.1f} GiB\n")
    print(table(("part of a step", "compiled in s", "ms", "share"), rows))
    hours = rows[0][2] * STEPS / 3.6e6
    print(f"\n{STEPS} such steps: {hours:.2f} hours (published: 5)")


def recipe(size: str, resolution: int) -> Any:
    """The recipe with distillation in every step."""
    config: Any = load_recipe(f"extract.py:{size}")
    config.loss.csd = 1.0
    config.csd.every = 1
    config.csd.resolution = resolution
    return config


def mvdream(config: Any) -> tuple[load.Prior, dict[str, Any]]:
    """MVDream's UNet and autoencoder with random weights, and texts of noise."""
    dtype = jnp.dtype(config.prior.dtype)
    network = load._unet({"image_size": 32}, dtype)
    vae, text = VaeConfig(), TextConfig()
    prior = load._assemble(
        network,
        name="mvdream",
        tokenize=lambda texts: np.zeros((len(texts), 77), np.int32),
        embed_text=lambda weights, ids: jax.random.normal(
            jax.random.key(0), (*ids.shape, text.hidden_size)
        ),
        trained=make_schedule(),
        is_random=True,
        **load._latent_space(vae, 256, dtype),
    )
    shapes = {"unet": network.shapes, "vae": vae_shapes(vae)}
    most = max(leaf.size for leaf in jax.tree.leaves(shapes))
    noise = jax.random.normal(jax.random.key(1), (most,), dtype)

    def fresh(leaf: Any) -> jax.Array:
        spread = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return dtype.type(spread) * noise[: leaf.size].reshape(leaf.shape)

    return prior, jax.tree.map(fresh, shapes)


def measure(
    config: Any, system: Any, frozen: dict, prior: load.Prior, repeats: int
) -> tuple[list[tuple], float]:
    """Rows of the table, the whole step first, and the peak in GiB."""
    key = jax.random.key(0)
    state = jax.jit(system.init)(key, frozen)
    for step in (0, config.run.rigid):
        state = system.maintain(state, frozen, step)
    model, upkeep, at = state.params, state.upkeep, state.step
    batch = jax.jit(system.sample)(frozen, key, at)
    views = sample_views(config, prior, upkeep, key)
    shape = (prior.num_views, *prior.latent_shape)
    z, t = jax.random.normal(key, shape), jnp.asarray(500)
    look = partial(csd_gradient, config, prior)
    whole = clocked(system.step, (state, frozen, batch, key), repeats)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    parts = {
        "distillation": (look, (model, upkeep, frozen, at, key)),
        "its network, with and without the prompt": (
            lambda frozen, z, t: clean_pair(prior, frozen, views.seen)(z, t),
            (frozen, z, t),
        ),
        "its pictures, without gradient": (
            lambda model, upkeep, at, key: draw_views(
                config, model, upkeep, at, views, key
            ),
            (model, upkeep, at, key),
        ),
        "its autoencoder's gradient": (
            lambda weights, x: jax.grad(
                lambda x: prior.encode(weights, x).astype(jnp.float32).sum()
            )(x),
            (frozen["prior"], jnp.zeros((prior.num_views, *views.camera.size, 3))),
        ),
    }
    rows = [("all", *whole, 1.0)]
    for name, (function, arguments) in parts.items():
        print(f"all: {whole[1]:.0f} ms; now {name} ...", flush=True)
        compiled, ms = clocked(function, arguments, repeats)
        rows.append((name, compiled, ms, ms / whole[1]))
    return rows, peak / 2**30


def clocked(function: Callable, arguments: tuple, repeats: int) -> tuple[float, float]:
    """Seconds to compile, and the median milliseconds of a call."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    seconds = time.perf_counter() - start
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return seconds, 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
