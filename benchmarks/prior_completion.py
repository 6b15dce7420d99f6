"""Does a prior know the sides that nobody saw? Outlines of the views it completes.

    python benchmarks/prior_completion.py [--prior=FOLDER] [--count=12]

True renders of held-out zoo animals from four sides, as low as a clip's camera. The
prior draws all four, told the caption and shown none, one or two of the true ones. One
that was trained to be shown views gets them under little noise. To any other they are
put under the right noise at every time, and every step is taken --rounds times, so that
the drawn ones can follow what is shown. The table has the overlap (IoU) with the true
outlines of the two views that are never shown, of each single draw and of the mean of
all; beside it what needs no prior: the outline of the opposite side, mirrored.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.core.camera import orbit
from adreamer_jax.data.zoo_views import sample_sets
from adreamer_jax.objective.distill import noised
from adreamer_jax.prior.load import CLEAR, Prior, load_prior
from adreamer_jax.prior.noise import ddim_step
from adreamer_jax.systems.animatable.distill_judge import clean_estimate
from adreamer_jax.types import Array, Bool, Camera, Float, Key

SEED = 777  # of animals that no training has seen
ELEVATION_DEG = (5.0, 20.0)
SHOWN = ((), (0,), (0, 1))  # views; 2 is opposite of 0 and 3 of 1
SETTINGS = ConfigDict(dict(csd=dict(guidance=2.0, rescale=0.5)))


def complete(
    prior: Prior,
    weights: Any,
    contexts: Array,
    camera: Camera,
    true: Float[Array, "v h w c"],
    shown: Bool[Array, "v 1 1 1"],
    key: Key,
    *,
    steps: int,
    rounds: int,
) -> Float[Array, "v h w"]:
    """Masks of a set of views in which the shown ones are as given.

    DDIM; before it goes on, every step is taken ``rounds`` times, each time noised back
    up to where it began (RePaint, Lugmayr et al. 2022). Once is enough for a prior that
    may be shown views: they have their own step, of little noise.
    """
    if prior.decode_mask is None:
        raise ValueError("the prior must know object from background, got one without")
    shares = prior.schedule.alphas_cumprod
    as_clean = prior.schedule.replace(prediction="sample")
    frozen = {"prior": weights, "contexts": contexts}
    clean = clean_estimate(SETTINGS, prior, frozen, camera)
    times = jnp.int32((len(shares) - 1) * jnp.arange(steps, -1, -1) // steps)

    own = prior.shows_views

    def estimate(z, t):
        steps = jnp.where(shown[:, 0, 0, 0], CLEAR, t) if own else t
        return jnp.where(shown, true, clean(z, steps))

    def step(z, now):
        here, there, key = now
        ratio = shares[here] / shares[there]

        def again(round_, z):
            hide, lift = jax.random.split(jax.random.fold_in(key, round_))
            level = shares[CLEAR] if own else shares[here]
            known = noised(true, jax.random.normal(hide, z.shape), level)
            z = jnp.where(shown, known, z)
            low = ddim_step(as_clean, estimate(z, here), z, here, there)
            up = jnp.sqrt(1.0 - ratio) * jax.random.normal(lift, z.shape)
            return jnp.where(round_ == rounds - 1, low, jnp.sqrt(ratio) * low + up)

        return jax.lax.fori_loop(0, rounds, again, z), None

    rounds = 1 if own else rounds
    keys = jax.random.split(key, steps)
    z = jax.random.normal(jax.random.fold_in(key, steps), true.shape)
    z, _ = jax.lax.scan(step, z, (times[:-1], times[1:], keys))
    z = jnp.where(shown, true, z)
    return prior.decode_mask(weights, estimate(z, times[-1]))


def overlap(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """IoU of soft outlines, cut at a half, over the last two axes."""
    found, true = found > 0.5, true > 0.5
    both, either = ((found & true), (found | true))
    return both.sum((-1, -2)) / np.maximum(either.sum((-1, -2)), 1)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--count", type=int, default=12)
    words.add_argument("--tries", type=int, default=4)
    words.add_argument("--steps", type=int, default=30)
    words.add_argument("--rounds", type=int, default=5)
    asked = words.parse_args()
    prior, weights = load_prior(asked.prior)
    size = prior.image_size
    sets = sample_sets(
        SEED, asked.count, size, held_out=True, elevation_deg=ELEVATION_DEG
    )
    read = jax.jit(prior.embed_text)
    draw = jax.jit(
        partial(complete, prior, weights, steps=asked.steps, rounds=asked.rounds)
    )
    code = jax.jit(lambda x: prior.encode(weights, x[..., :3], x[..., 3]))
    found: dict[tuple, list] = {shown: [] for shown in SHOWN}
    across = []
    for i in range(asked.count):
        contexts = read(weights, prior.tokenize(["", str(sets["captions"][i])]))
        turn, one = jnp.asarray(sets["azimuths"][i], jnp.float32), jnp.ones(4)
        up = jnp.float32(sets["elevations"][i]) * one
        camera = orbit(turn, up, 3.0 * one, 0.7 * one, size=(size, size))
        pictures = jnp.asarray(sets["images"][i], jnp.float32) / 255.0
        true = code(pictures).astype(jnp.float32)
        masks = np.asarray(pictures[..., 3])
        across.append(overlap(masks[:2, :, ::-1], masks[2:]).mean())
        for shown in SHOWN:
            known = jnp.isin(jnp.arange(4), jnp.array(shown)).reshape(4, 1, 1, 1)
            drawn = np.stack(
                [
                    draw(contexts, camera, true, known, jax.random.key(100 * i + j))[2:]
                    for j in range(asked.tries)
                ]
            )
            each = overlap(drawn, masks[None, 2:]).mean()
            whole = overlap(drawn.mean(0), masks[2:]).mean()
            found[shown].append((each, whole))
    names = ("the caption alone", "and one view", "and two views")
    rows = []
    for name, values in zip(names, found.values(), strict=True):
        mean, error = np.mean(values, 0), np.std(values, 0) / len(values) ** 0.5
        cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
        rows.append([name, *cells])
    error = np.std(across) / len(across) ** 0.5
    rows.append(
        ["the opposite side, mirrored", f"{np.mean(across):.3f} ± {error:.3f}", ""]
    )
    print(table(["told", "IoU of a draw", "IoU of the mean of all"], rows))


if __name__ == "__main__":
    main()
