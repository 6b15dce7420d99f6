"""Arms differ from the recipe by what they say and by nothing that is measured."""

import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import pocket_arms

from adreamer_jax.prior.unet_ldm import unet_ldm_shapes
from adreamer_jax.run.recipe import flatten
from adreamer_jax.systems.pocket import networks_of


@pytest.mark.parametrize("arm", list(pocket_arms.ARMS))
def test_every_arm_is_a_recipe_whose_networks_exist(arm):
    config = pocket_arms.recipe(arm, 512)
    base = flatten(pocket_arms.recipe("base", 512).to_dict())
    changed = {k for k, v in flatten(config.to_dict()).items() if base[k] != v}
    assert changed == set(pocket_arms.ARMS[arm])
    networks = networks_of(config)
    shapes = unet_ldm_shapes(networks.unet)
    size = sum(x.size for x in jax.tree.leaves(shapes))
    assert 2e6 < size < 12e6 and config.run.validation_sets >= 500
