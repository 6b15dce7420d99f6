"""Does a prior pull at pictures that are already right? What distillation does to size.

    python benchmarks/csd_push.py [--prior=FOLDER] [--count=48]

True renders of unseen zoo animals, with their own captions and cameras, are noised and
judged as in distillation. A prior that knows its animals should not, on average, want
them larger or smaller. The table has for every time the *push*: by how much a Newton
step along the scale of the picture would enlarge the animal, <estimate - picture,
d picture / d scale> / |d picture / d scale|^2, for the estimate with the caption and
for what the caption adds to the estimate without one; and the area of the estimate's
mask over the true one. A push below zero beside an area of one is blur: an estimate
that is unsure of an outline is soft, and a solid that follows it loses what sticks out.
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

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.core.camera import orbit
from adreamer_jax.data.zoo_views import sample_sets
from adreamer_jax.objective.distill import noised
from adreamer_jax.prior.load import Prior, load_prior
from adreamer_jax.systems.animatable.distill_judge import clean_pair
from adreamer_jax.types import Array, Camera, Float, Key

TIMES = (0.1, 0.3, 0.5, 0.6, 0.8)
SEED = 4242  # of animals that no training has seen
STEP = 0.06  # of the scale, for its derivative


def zoomed(pictures: Float[Array, "v h w c"], scale: float) -> Array:
    """Pictures enlarged about their middle; what comes from outside is zero."""
    side = pictures.shape[1]
    at = (jnp.arange(side) + 0.5 - side / 2) / scale + side / 2 - 0.5
    place = jnp.meshgrid(at, at, indexing="ij")
    one = lambda plane: jax.scipy.ndimage.map_coordinates(plane, place, 1)
    planes = jnp.moveaxis(pictures, -1, 1).reshape(-1, side, side)
    moved = jax.vmap(one)(planes).reshape(len(pictures), -1, side, side)
    return jnp.moveaxis(moved, 1, -1)


def push(estimate: Array, picture: Array, along: Array) -> Float[Array, ""]:
    """Newton step of half the squared distance along a direction of the picture."""
    return jnp.sum((estimate - picture) * along) / jnp.sum(along**2)


def figures(
    prior: Prior,
    weights: Any,
    contexts: Array,
    pictures: Float[Array, "v h w 4"],
    camera: Camera,
    share: Array,
    key: Key,
) -> Float[Array, "3"]:
    """Push with the caption, push of the caption alone, and area of the estimate."""
    code = lambda x: prior.encode(weights, x[..., :3], x[..., 3]).astype(jnp.float32)
    clean = code(pictures)
    along = (code(zoomed(pictures, 1 + STEP)) - code(zoomed(pictures, 1 - STEP))) / (
        2 * STEP
    )
    shares = prior.schedule.alphas_cumprod
    t = jnp.int32(share * len(shares))
    z = noised(clean, jax.random.normal(key, clean.shape), shares[t])
    frozen = {"prior": weights, "contexts": contexts}
    without, told = clean_pair(prior, frozen, camera)(z, t)
    area = jnp.nan
    if prior.decode_mask is not None:
        area = prior.decode_mask(weights, told).sum() / pictures[..., 3].sum()
    return jnp.stack(
        [push(told, clean, along), push(clean + told - without, clean, along), area]
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--count", type=int, default=48)
    asked = words.parse_args()
    prior, weights = load_prior(asked.prior)
    size = prior.image_size
    sets = sample_sets(SEED, asked.count, size, held_out=None, stream="evaluation")
    read = jax.jit(prior.embed_text)
    look = jax.jit(partial(figures, prior))
    found: dict[float, list] = {share: [] for share in TIMES}
    for i in range(asked.count):
        contexts = read(weights, prior.tokenize(["", str(sets["captions"][i])]))
        turn = jnp.asarray(sets["azimuths"][i], jnp.float32)
        one = jnp.ones(4)
        up = jnp.float32(sets["elevations"][i]) * one
        camera = orbit(turn, up, 3.0 * one, 0.7 * one, size=(size, size))
        pictures = jnp.asarray(sets["images"][i], jnp.float32) / 255.0
        for share in TIMES:
            key = jax.random.key(i)
            out = look(weights, contexts, pictures, camera, jnp.float32(share), key)
            found[share].append(np.asarray(out))
    rows = []
    for share, values in found.items():
        mean, error = np.mean(values, 0), np.std(values, 0) / len(values) ** 0.5
        cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)]
        rows.append([f"{share:g}", *cells])
    print(table(["time", "push", "push of the caption", "area / true"], rows))


if __name__ == "__main__":
    main()
