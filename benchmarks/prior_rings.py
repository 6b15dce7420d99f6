"""Does a prior keep to one animal when it draws more rings of views than it learned?

    python benchmarks/prior_rings.py [--prior=FOLDER] [--count=8] [--tries=8]

Prompts of the zoo, standing. All views of one, two or three rings are drawn together,
from cameras as generation has them (`generation_fit.ring_cameras`). The table has the
agreement of their outlines with their visual hull: the mean over all tries, that of the
best try of each prompt, and true renders from the same cameras, the ceiling.
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

from adreamer_jax.data import zoo
from adreamer_jax.data.captions import prompt
from adreamer_jax.data.creature import Lights, draw
from adreamer_jax.data.zoo_views import CAPSULES
from adreamer_jax.prior.load import load_prior
from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems.animatable.generation import stage_config
from adreamer_jax.systems.animatable.generation_fit import (
    draw_set,
    hull_agreement,
    ring_cameras,
)
from adreamer_jax.types import Array, Camera, Float

SEED = 778  # of animals that no training has seen
REACH = 0.95  # of a true animal, where the cameras are made for a ball of one


def true_masks(animal: Any, camera: Camera) -> Float[Array, "n h w"]:
    """Outlines of a zoo animal, from all cameras."""
    posed = zoo.posed(animal, np.array([animal.phase]), fit="ball", reach=REACH)[0]
    creature = jax.tree.map(lambda x: jnp.asarray(x[0]), zoo.pad(posed, CAPSULES))
    budget = camera.size[0] * camera.size[1] // 4
    lights = Lights(jnp.eye(3)[:2], jnp.array([0.6, 0.2]), jnp.array(0.5))
    look = lambda one: draw(creature, lights, one, budget=budget, block=2).mask
    return jax.lax.map(look, camera)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--count", type=int, default=8)
    words.add_argument("--tries", type=int, default=8)
    asked = words.parse_args()
    whole = load_recipe("generate.py")
    base: Any = load_recipe("extract.py").unlock()
    base.generate = whole.generate
    config = stage_config(base).unlock()
    prior, weights = load_prior(asked.prior)
    if not prior.has_alpha:
        raise SystemExit("the prior must know object from background")
    animals = [
        zoo.sample_individual(
            zoo.generator(SEED, "evaluation", i), held_out=True, pose="standing"
        )
        for i in range(asked.count)
    ]
    rows = []
    for rings in (1, 2, 3):
        config.fit.rings = rings
        camera = ring_cameras(config, prior)
        agree = jax.jit(partial(hull_agreement, camera))
        draw_masks = jax.jit(
            lambda frozen, key, camera=camera: draw_set(
                config, prior, frozen, camera, key
            )[..., 3]
        )
        true, every = [], []
        for i, animal in enumerate(animals):
            said = prompt(animal.species, color=animal.color) + config.fit.suffix
            contexts = prior.embed_text(weights, prior.tokenize(["", said]))
            frozen = {"prior": weights, "fit_contexts": contexts}
            keys = jax.random.split(jax.random.key(i), asked.tries)
            every.append([float(agree(draw_masks(frozen, key))) for key in keys])
            true.append(float(agree(true_masks(animal, camera))))
            print(rings, said, np.round(every[-1], 3), round(true[-1], 3), flush=True)
        best = np.max(every, axis=1)
        views = camera.focal.shape[0]
        rows.append([rings, views, np.mean(every), np.mean(best), np.mean(true)])
    head = ["rings", "views", "agreement", "best of the tries", "true renders"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
