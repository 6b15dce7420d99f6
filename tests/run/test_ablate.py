"""Every arm is a recipe anybody can run, and all of them end in one table."""

import json
from pathlib import Path

import pytest

from adreamer_jax.run import ablate as ab
from adreamer_jax.run import pipeline
from adreamer_jax.run.recipe import differences, load_recipe, remember


@pytest.fixture
def config():
    return load_recipe("ablation.py:smoke").unlock()


def test_an_arm_differs_from_the_full_recipe_by_what_it_says(config):
    full = ab.arm_recipe(config, "full", "", "a tiger", Path("x"))
    for arm, changes in config.ablation.changes.items():
        made = ab.arm_recipe(config, arm, "", "a tiger", Path("x"))
        keys = {key for key, _ in changes} | ({"generate.source"} - {arm == "full"})
        keys -= {"generate.source"} if arm == "full" else set()
        found = differences(full.to_dict(), made.to_dict())
        assert set(found) <= keys and set(found) >= keys - {"generate.csd.space"}, arm


def test_unknown_arms_and_keys_are_refused(config):
    with pytest.raises(ValueError, match=r"ablation\.arms must be of .*, got nothing"):
        ab.arm_recipe(config, "nothing", "", "a tiger", Path("x"))
    config.ablation.changes.without_bone = (("generate.loss.bones", 0.0),)
    with pytest.raises(ValueError, match=r"generate\.loss\.bone"):
        ab.arm_recipe(config, "without_bone", "", "a tiger", Path("x"))


def test_all_arms_run_and_become_one_table_and_one_page(config, tmp_path, monkeypatch):
    done = []

    def do(job, made, workdir):
        done.append((workdir.name, made.generate.source, made.generate.prompt))
        workdir.mkdir(parents=True)
        joints = {"open_percent": 0.1234}
        found = {"clip_score": 30.0 + len(done), "judge": "toy", "joints": joints}
        figures = {"generate": found}
        (workdir / "evaluation.json").write_text(json.dumps(figures))

    monkeypatch.setattr(pipeline, "do", do)
    config.ablation.arms = ("full", "without_bone")
    config.ablation.prompts = ("a tiger", "a <bear>")
    page = ab.ablate(config, tmp_path).read_text()
    assert [name for name, _, _ in done] == ["full", "without_bone"] * 2
    assert done[1][1] == str(tmp_path / "embedded-a-tiger" / "full")
    assert (
        done[3][2] == "a <bear>" and "a &lt;bear&gt;" in page and "<bear>" not in page
    )
    text = (tmp_path / "ablation.md").read_text()
    joints = "joints open beyond the clip's, %"
    assert text.splitlines()[0] == f"| clip, prompt | arm | CLIP score | {joints} |"
    assert "| embedded, a tiger | without bone | 32 | 0.123 |" in text


def test_what_is_done_is_not_made_again_and_another_recipe_is_refused(
    config, tmp_path, monkeypatch
):
    done = []

    def do(job, made, workdir):
        done.append(workdir.name)
        workdir.mkdir(parents=True, exist_ok=True)
        remember(made, workdir)
        judged = {"generate": {"clip_score": 30.0}}
        (workdir / "evaluation.json").write_text(json.dumps(judged))
        if "without_csd" not in workdir.name or len(done) > 2:  # was killed before
            (workdir / "report.html").write_text("all of it")

    monkeypatch.setattr(pipeline, "do", do)
    config.ablation.arms = ("full", "without_csd")
    for _ in range(3):
        ab.ablate(config, tmp_path)
    assert done == ["full", "without_csd", "without_csd"]
    config.ablation.seed = 1
    with pytest.raises(ValueError, match=r"--workdir must be new or hold this very"):
        ab.ablate(config, tmp_path)


def test_an_arm_without_figures_leaves_its_cells_empty():
    rows = [("c", "full", {"CLIP score": 1.0}), ("c", "without_csd", {})]
    assert ab.table(rows).splitlines()[-1] == "| c | without csd |  |"
