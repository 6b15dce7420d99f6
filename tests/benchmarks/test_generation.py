"""What the judge says of true renders, and the table of what it said."""

import json

from adreamer_jax.data.species import COLORS
from benchmarks import generation as made
from benchmarks.pocket_quality import Wish, rendered


def test_every_color_is_asked_for_once():
    assert sorted(color for _, color in made.ANIMALS) == sorted(COLORS)


def test_both_know_a_true_green_crocodile_from_the_others():
    pictures, _ = rendered([Wish("crocodile", "green", "walking")], 32)
    said = made.verdict(pictures, ("crocodile", "green"))
    assert said["color"] == 100.0 and said["species"] == 100.0
    assert said["r_precision"] >= 75.0


def test_the_table_has_a_row_for_each_kind_of_pictures(tmp_path):
    figures = {"said": ["bear", "brown"], "species": 100.0, "color": 0.0}
    verdict = {"rest": figures | {"r_precision": 50.0}}
    verdict["motion"] = figures | {"r_precision": 25.0, "mesh_iou": 90.0, "open": 0.5}
    verdict["motion"]["torn"] = 0.7
    verdict["motion"] |= {"pitted": 1.5, "moved": 3.5}
    verdict["place"] = {"drawn": 0.4, "moved": 0.2}
    for name in ("brown_bear", "pink_pig"):
        folder = tmp_path / "full" / f"fox-{name}"
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_text(json.dumps(verdict))
    text = made.table(tmp_path, ["full", "no_bone"], ["runs/fox"])
    row = "| full | fox | motion | 100 | 0 | 25 | 90 | 0.7 | 1.5 | 0.5 | 3.5 |"
    assert row + " 0.4 | 0.2 | 2 |" in text
    assert "| full | fox | rest | 100 | 0 | 50 |  |  |  |  |  | 0.4 | 0.2 | 2 |" in text
    assert "brown bear: brown bear; pink pig: brown bear" in text
