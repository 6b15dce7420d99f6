"""Stages: which ones a recipe has, how far they are, and what they are called."""

import json

import pytest
from ml_collections import ConfigDict

from adreamer_jax.run import stages
from adreamer_jax.run.recipe import load_recipe


def recipe(**generate):
    second = dict(source="", run=dict(steps=5), prompt="a tiger") | generate
    return ConfigDict(
        dict(
            data=dict(clip=""),
            run=dict(stage="extract", steps=10),
            loss=dict(rgb=1.0),
            generate=second,
        )
    )


def save(folder, stage, step):
    (folder / "checkpoints" / stage / str(step)).mkdir(parents=True)


def test_one_stage_without_a_second_section_or_with_a_source():
    assert stages.stages_of(ConfigDict(dict(run=dict(steps=1)))) == ("extract",)
    assert stages.stages_of(recipe(source="runs/x")) == ("generate",)
    assert stages.stages_of(recipe()) == ("extract", "generate")


def test_names_carry_the_stage_only_where_two_could_meet():
    assert stages.label(recipe(), "extract") == "extract_"
    assert stages.label(recipe(source="runs/x"), "generate") == ""


def test_the_last_stage_that_ended_is_chosen(tmp_path):
    config = recipe()
    assert stages.chosen(config, tmp_path, "") == "extract"
    save(tmp_path, "extract", 10)
    save(tmp_path, "generate", 3)
    assert stages.chosen(config, tmp_path, "") == "extract"
    save(tmp_path, "generate", 5)
    assert stages.chosen(config, tmp_path, "") == "generate"
    assert stages.chosen(config, tmp_path, "extract") == "extract"
    assert stages.finished(config, tmp_path, "generate")
    assert stages.chosen(config, tmp_path, "", filmed=True) == "extract"
    assert stages.chosen(recipe(source="x"), tmp_path, "", filmed=True) == "generate"


def test_an_unfinished_stage_is_better_than_none(tmp_path):
    save(tmp_path, "extract", 4)
    assert stages.chosen(recipe(), tmp_path, "") == "extract"
    save(tmp_path, "generate", 2)
    assert stages.chosen(recipe(), tmp_path, "") == "generate"


def test_an_unknown_stage_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--stage must be one of extract, generate"):
        stages.chosen(recipe(), tmp_path, "distill")


def test_a_source_gives_all_that_the_second_recipe_does_not_say(tmp_path):
    first = recipe(prompt="old").to_dict() | {"data": {"clip": "cat"}}
    (tmp_path / "config.json").write_text(json.dumps(first))
    config = ConfigDict(
        dict(
            prior=dict(name="x"), generate=dict(source=str(tmp_path), run=dict(steps=2))
        )
    )
    whole = stages.resolved(config)
    assert (
        whole.data.clip == "cat" and whole.loss.rgb == 1.0 and whole.prior.name == "x"
    )
    assert whole.generate.run.steps == 2 and "prompt" not in whole.generate
    assert stages.resolved(recipe()) == recipe()


def test_a_source_decides_about_all_of_the_first_stage(tmp_path):
    first = recipe().to_dict() | {"data": {"clip": "cat"}, "csd": {"groups": 2}}
    (tmp_path / "config.json").write_text(json.dumps(first))
    second = recipe(source=str(tmp_path)).unlock()
    second.loss.rgb = (
        9.0  # as configs/csd.py has it, which has a first stage of its own
    )
    whole = stages.resolved(second)
    assert whole.data.clip == "cat" and whole.loss.rgb == 1.0 and whole.csd.groups == 2
    second.data.clip = "dog"
    with pytest.raises(ValueError, match="whose clip is cat, got dog"):
        stages.resolved(second)


def test_a_network_is_no_source(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"loss": {"mse": 1.0}}))
    with pytest.raises(
        ValueError, match=r"^generate\.source must be the work folder of"
    ):
        stages.resolved(recipe(source=str(tmp_path)))


def test_a_source_of_an_older_version_is_refused(tmp_path):
    first = load_recipe("extract.py").to_dict()
    config = recipe(source=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(first))
    assert (
        stages.resolved(config).scene.field.stance == first["scene"]["field"]["stance"]
    )
    wanted = first["csd"].pop("thinning")  # says how, and not what: today's is taken
    first["csd"]["guidance"] = 7.0
    (tmp_path / "config.json").write_text(json.dumps(first))
    whole = stages.resolved(config)
    assert whole.csd.thinning == wanted and whole.csd.guidance == 7.0
    del first["scene"]["field"]["stance"]
    (tmp_path / "config.json").write_text(json.dumps(first))
    with pytest.raises(ValueError, match=r"does not know scene\.field\.stance"):
        stages.resolved(config)


def test_what_an_older_run_does_not_say_has_the_value_of_today(tmp_path):
    for name in ("extract.py", "csd.py"):
        today = load_recipe(name).to_dict()
        kept = json.loads(json.dumps(today))
        del kept["render"]["inverse_steps"], kept["run"]["mesh_level"]
        kept["loss"]["rgb"] = 7.0
        (tmp_path / "config.json").write_text(json.dumps(kept))
        whole = stages.reopened(tmp_path)
        assert whole.loss.rgb == 7.0 and ("generate" in whole) == (name == "csd.py")
        whole.unlock().loss.rgb = today["loss"]["rgb"]
        assert whole.to_dict() == today
    del kept["scene"]["field"]["gap"]
    (tmp_path / "config.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"^--workdir .* know scene\.field\.gap"):
        stages.reopened(tmp_path)


def test_a_network_is_opened_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"loss": {"mse": 1.0}}))
    assert stages.reopened(tmp_path).to_dict() == {"loss": {"mse": 1.0}}


def test_a_source_must_have_extracted_itself(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(recipe(source="y").to_dict()))
    with pytest.raises(ValueError, match="an extraction of its own"):
        stages.resolved(recipe(source=str(tmp_path)))
