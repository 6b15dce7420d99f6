"""Does a prior keep to one animal when it draws more rings of views than it learned?

    python benchmarks/prior_rings.py [--prior=FOLDER] [--count=8] [--tries=8]

Prompts of the zoo, standing. All views of one, two or three rings are drawn together,
from cameras as generation has them (`generation_fit.ring_views`). The table has the
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

from adreamer_jax.core.camera import orbit
from adreamer_jax.data import zoo
from adreamer_jax.data.captions import prompt
from adreamer_jax.data.creature import draw
from adreamer_jax.data.zoo_views import CAPSULES
from adreamer_jax.prior.load import Prior, load_prior, with_views
from adreamer_jax.prior.noise import ddim_step
from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems.animatable.distill import clean_estimate
from adreamer_jax.systems.animatable.generation import stage_config
from adreamer_jax.systems.animatable.generation_fit import at_rest, hull_agreement
from adreamer_jax.types import Array, Camera, Float, Key

SEED = 778  # of animals that no training has seen
FOV, DISTANCE = 0.8, 2.8  # radians; for a ball of radius one


def cameras(rings: int, views: int, config: Any, size: int) -> Camera:
    """Rings of cameras between each other, as generation has them."""
    ring = jnp.repeat(jnp.arange(rings), views)
    turn = 2.0 * jnp.pi / views
    azimuth = turn * (jnp.tile(jnp.arange(views), rings) + ring / rings)
    low, high = config.fit.elevation_deg
    elevation = jnp.radians(low + (high - low) * ring / max(rings - 1, 1))
    one = jnp.ones(rings * views)
    return orbit(azimuth, elevation, DISTANCE * one, FOV * one, size=(size, size))


def drawn_masks(
    config: Any, prior: Prior, frozen: dict, camera: Camera, key: Key
) -> Float[Array, "n h w"]:
    """Outlines of one set of views, from noise alone."""
    estimate = clean_estimate(at_rest(config), prior, frozen, camera)
    as_clean = prior.schedule.replace(prediction="sample")
    last = len(prior.schedule.alphas_cumprod) - 1
    times = last * jnp.arange(config.fit.chain, -1, -1) // config.fit.chain

    def down(z, pair):
        here, there = pair
        return ddim_step(as_clean, estimate(z, here), z, here, there), None

    z = jax.random.normal(key, (prior.num_views, *prior.latent_shape))
    z, _ = jax.lax.scan(down, z, (times[:-1], times[1:]))
    assert prior.decode_mask is not None
    return prior.decode_mask(frozen["prior"], estimate(z, times[-1]))


def true_masks(animal: Any, camera: Camera) -> Float[Array, "n h w"]:
    """Outlines of a zoo animal, from all cameras."""
    posed = zoo.posed(animal, np.array([animal.phase]), fit="ball", reach=0.95)[0]
    creature = jax.tree.map(lambda x: jnp.asarray(x[0]), zoo.pad(posed, CAPSULES))
    budget = camera.size[0] * camera.size[1] // 4
    lights = zoo_lights()
    look = lambda one: draw(creature, lights, one, budget=budget, block=2).mask
    return jax.lax.map(look, camera)


def zoo_lights() -> Any:
    """Any lights: outlines do not depend on them."""
    from adreamer_jax.data.creature import Lights

    return Lights(jnp.eye(3)[:2], jnp.array([0.6, 0.2]), jnp.array(0.5))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--count", type=int, default=8)
    words.add_argument("--tries", type=int, default=8)
    asked = words.parse_args()
    whole = load_recipe("generate.py")
    base: Any = load_recipe("extract.py").unlock()
    base.generate = whole.generate
    config = stage_config(base)
    one_ring, weights = load_prior(asked.prior)
    if one_ring.decode_mask is None:
        raise SystemExit("the prior must know object from background")
    animals = [
        zoo.sample_individual(
            zoo.generator(SEED, "evaluation", i), held_out=True, pose="standing"
        )
        for i in range(asked.count)
    ]
    rows = []
    for rings in (1, 2, 3):
        prior = with_views(one_ring, rings * one_ring.num_views)
        camera = cameras(rings, one_ring.num_views, config, prior.image_size)
        agree = jax.jit(partial(hull_agreement, camera))
        look = jax.jit(partial(drawn_masks, config, prior))
        true, every = [], []
        for i, animal in enumerate(animals):
            said = prompt(animal.species, color=animal.color) + config.fit.suffix
            contexts = prior.embed_text(weights, prior.tokenize(["", said]))
            frozen = {"prior": weights, "contexts": contexts}
            keys = jax.random.split(jax.random.key(i), asked.tries)
            masks = (look(frozen, camera, key) for key in keys)
            every.append([float(agree(mask)) for mask in masks])
            true.append(float(agree(true_masks(animal, camera))))
            print(rings, said, np.round(every[-1], 3), round(true[-1], 3), flush=True)
        best = np.max(every, axis=1)
        rows.append(
            [rings, prior.num_views, np.mean(every), np.mean(best), np.mean(true)]
        )
    head = ["rings", "views", "agreement", "best of the tries", "true renders"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
