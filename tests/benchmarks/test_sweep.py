"""The sweep's arms are the recipes that users run."""

from adreamer_jax.run.recipe import flatten, load_recipe
from benchmarks import sweep


def test_arm_with_distillation_is_first_stage_of_both():
    whole = flatten(load_recipe("csd.py").to_dict())
    arm = flatten(sweep.recipe_of(sweep.ARMS["csd"], "embedded", "default").to_dict())
    assert arm["loss.csd"] > 0
    assert arm == {name: whole[name] for name in arm}


def test_arm_changes_its_own_values_alone():
    full = flatten(sweep.recipe_of({}, "folder", "default").to_dict())
    arm = flatten(sweep.recipe_of(sweep.ARMS["no_flow"], "folder", "default").to_dict())
    assert {n for n in full if full[n] != arm[n]} == {"loss.flow"}
    assert full["data.clip"] == "folder"
