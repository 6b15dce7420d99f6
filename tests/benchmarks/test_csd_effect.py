"""Clips that the prior never saw, and the table of arms over clips and seeds."""

import json

from adreamer_jax.data import zoo
from adreamer_jax.run.recipe import differences, load_recipe
from benchmarks import csd_effect as effect


def leave(runs, arm, name, seed, value):
    """A finished run whose every figure is the value."""
    part = {"chamfer_percent": value, "f2": value}
    folder = runs / arm / f"{name}-{seed}"
    folder.mkdir(parents=True)
    shape = part | {"seen": part, "unseen": part}
    (folder / "evaluation.json").write_text(json.dumps({"shape": shape}))


def test_the_prior_never_saw_these_animals():
    assert len(effect.ANIMALS) >= 6
    assert all(zoo.is_held_out(s, "walking", color) for s, color in effect.ANIMALS)


def test_only_what_all_arms_have_finished_counts(tmp_path):
    for seed, values in ((0, (1.0, 2.0)), (1, (3.0, 4.0))):
        for arm, value in zip(("none", "csd"), values, strict=True):
            leave(tmp_path, arm, "orange_horse", seed, value)
    leave(tmp_path, "none", "blue_cow", 0, 99.0)
    lines = effect.table(tmp_path, ["none", "csd"], [0, 1]).splitlines()
    assert lines[2].startswith("| none | 2.00 ± 1.41 | 2.000 ± 1.414 |")
    assert lines[3].startswith("| csd | 3.00 ± 1.41 |") and lines[3].endswith("| 2 |")
    assert lines[4].startswith("| none: orange_horse, seed 0 | 1.00 | 1.000 |")
    assert len(lines) == 8 and "99" not in "".join(lines)


def test_nothing_finished_is_a_table_without_figures(tmp_path):
    assert effect.table(tmp_path, ["none"], [0]).splitlines()[2] == "| none | 0 |"
    assert effect.figures(tmp_path) is None


def test_only_without_a_mirror_plane_is_the_prior_asked_to_invent_a_side():
    both = (load_recipe(f"csd.py{size}").to_dict() for size in ("", ":asymmetric"))
    changed = set(differences(*both))
    assert changed == {
        "scene.field.symmetric", "loss.csd", "ramp.csd", "csd.time_low",
        "csd.time_high",
    }  # fmt: skip
    assert effect.ARMS["csd"].items() >= effect.INVENTS.items()
    assert effect.ARMS["symmetry_csd"] == effect.MENDS
    assert effect.INVENTS["loss.csd"] > effect.MENDS["loss.csd"]
    last = {
        name: arm["ramp.csd"][-1][1]
        for name, arm in effect.ARMS.items()
        if "ramp.csd" in arm
    }
    assert last["csd"] == 1.0 and last["symmetry_csd"] == 0.0  # the clip's last word
