import dataclasses
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from adreamer_jax import systems
from adreamer_jax.run import pipeline, recipe
from adreamer_jax.types import Clip
from tests.run.common import write_recipe
from tests.run.toy import frozen_toy, toy

WORDS = ("export", "render", "evaluate", "track", "report", "sample", "prepare")


def tiny_clip():
    image = np.zeros((3, 4, 4, 3), np.uint8)
    mask = np.ones((3, 4, 4), bool)
    return Clip("tiny", 8.0, "a dot", image, mask, None, None, "none")


@pytest.fixture
def house(monkeypatch):
    """The chain with the toy as its system and only names in place of the products."""
    calls, evaluated = [], []
    for word in WORDS:

        def note(*arguments, word=word, **more):
            calls.append((word, arguments))
            if word == "evaluate":
                evaluated.append(more)
            return "asset", "skeleton"

        module = types.SimpleNamespace(**{word: note}, EVERY=7)
        monkeypatch.setitem(sys.modules, f"adreamer_jax.run.{word}", module)
    make = lambda config, clip, cache: (toy(config.run.steps), frozen_toy())
    animatable = types.SimpleNamespace(make=make)
    monkeypatch.setitem(sys.modules, "adreamer_jax.systems.animatable", animatable)
    monkeypatch.setattr(systems, "animatable", animatable, raising=False)
    truth = {"truth": "known"}
    monkeypatch.setattr(
        pipeline, "read", lambda config: (tiny_clip(), lambda: truth["truth"])
    )
    return calls, truth, evaluated


@pytest.fixture
def config(tmp_path):
    config = recipe.load_recipe(f"{write_recipe(tmp_path)}:smoke")
    with config.unlocked():
        config.run.update(save_every=1, show_every=0)
    return config


def words(calls):
    return [word for word, _ in calls]


def test_without_a_word_everything_is_done(house, config, tmp_path):
    pipeline.do("train", config, tmp_path / "run")
    assert words(house[0]) == ["export", "render", "evaluate", "report"]
    assert recipe.read_recipe(tmp_path / "run") == config
    assert (tmp_path / "run" / "checkpoints" / "extract" / "2").is_dir()


def test_without_truth_the_pictures_are_evaluated(house, config, tmp_path):
    house[1]["truth"] = None
    pipeline.do("train", config, tmp_path / "run")
    assert words(house[0]) == ["export", "render", "evaluate", "report"]
    assert house[0][2][1][4] is None


def test_every_kth_frame_is_the_recipes(house, config, tmp_path):
    with config.unlocked():
        config.run.evaluate_every = 3
    pipeline.do("train", config, tmp_path / "run")
    assert house[2][-1] == {"every": 3}


def test_the_same_command_refreshes_the_products(house, config, tmp_path):
    pipeline.do("train", config, tmp_path / "run")
    house[0].clear()
    pipeline.do("train", config, tmp_path / "run")
    assert words(house[0]) == ["export", "render", "evaluate", "report"]


@pytest.mark.parametrize("job", ["export", "render", "evaluate", "track"])
def test_later_jobs_use_the_newest_state(house, config, tmp_path, job):
    with pytest.raises(ValueError, match="--job=train first"):
        pipeline.do(job, config, tmp_path / "run", points="p.json")
    pipeline.do("train", config, tmp_path / "run")
    house[0].clear()
    pipeline.do(job, config, tmp_path / "run", points="p.json")
    ((word, arguments),) = house[0]
    assert word == job and int(arguments[1].step) == 2


def test_tracking_needs_points(house, config, tmp_path):
    pipeline.do("train", config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"write --points=points\.json"):
        pipeline.do("track", config, tmp_path / "run")


@pytest.mark.parametrize("job", ["prepare", "sample"])
def test_jobs_without_a_model_get_the_recipe(house, config, tmp_path, job):
    pipeline.do(job, config, tmp_path / "run")
    assert house[0] == [(job, (config, tmp_path / "run"))]


def test_another_recipe_is_refused_before_any_work(house, config, tmp_path):
    pipeline.do("train", config, tmp_path / "run")
    house[0].clear()
    config.run.seed = 5
    with pytest.raises(ValueError, match=r"run\.seed was 0, now 5"):
        pipeline.do("train", config, tmp_path / "run")
    assert not house[0]


def test_a_wrong_clip_leaves_nothing_behind(config, tmp_path):
    config.data.clip = str(tmp_path / "nowhere")
    with pytest.raises((ValueError, OSError)):
        pipeline.do("train", config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def two(house, config, monkeypatch, tmp_path):
    """A recipe with a second stage, whose system is another toy."""
    calls, _, _ = house
    seen = []

    def make(config, clip, cache, extracted, skeleton, *, front):
        assert front is None  # the toy found none
        seen.append((config.run.steps, extracted, skeleton))
        return toy(config.run.steps), frozen_toy()

    generation = types.SimpleNamespace(
        make_generation=make,
        stage_config=lambda config: config.generate,  # it has all that toys need
    )
    first = lambda config, clip, cache: (
        toy(config.run.steps)._replace(asset=lambda state, frozen: "asset"),
        frozen_toy(),
    )
    animatable = types.SimpleNamespace(make=first, generation=generation)
    for name, module in (
        ("animatable", animatable),
        ("animatable.generation", generation),
    ):
        monkeypatch.setitem(sys.modules, f"adreamer_jax.systems.{name}", module)
    monkeypatch.setattr(systems, "animatable", animatable, raising=False)
    sys.modules["adreamer_jax.run.export"].asset_skeleton = lambda asset: "grown"
    judged = lambda *arguments, **more: calls.append(("judge", more["prompt"]))
    module = types.SimpleNamespace(evaluate_text=judged)
    monkeypatch.setitem(sys.modules, "adreamer_jax.run.evaluate_text", module)
    run = dict(steps=3, seed=0, log_every=1, save_every=1, show_every=0)
    with config.unlocked():
        config.generate = dict(
            source="", motion="", prompt="a tiger", run=run,
            judge=dict(name="", among=()),
        )  # fmt: skip
    return calls, seen, config, tmp_path / "run"


CHAIN = [
    "export",
    "render",
    "evaluate",
    "report",
    "export",
    "render",
    "judge",
    "report",
]


def test_two_stages_follow_each_other_and_leave_all_products(two):
    calls, seen, config, workdir = two
    pipeline.do("train", config, workdir)
    assert words(calls) == CHAIN
    steps, extracted, skeleton = seen[0]
    assert (steps, skeleton) == (3, "grown") and "vector" in extracted
    assert (workdir / "checkpoints" / "extract" / "2").is_dir()
    assert (workdir / "checkpoints" / "generate" / "3").is_dir()


def test_a_finished_run_of_two_stages_refreshes_both(two):
    calls, _, config, workdir = two
    pipeline.do("train", config, workdir)
    calls.clear()
    pipeline.do("train", config, workdir)
    assert words(calls) == CHAIN


def test_going_on_in_the_second_stage_leaves_the_first_ones_products(two):
    calls, _, config, workdir = two
    pipeline.do("train", config, workdir)
    shutil.rmtree(workdir / "checkpoints" / "generate")
    picture = workdir / "pictures" / "extract_skinning.png"
    picture.parent.mkdir(exist_ok=True)
    picture.touch()
    calls.clear()
    (workdir / "evaluation.json").write_text('{"generate": {}}')
    pipeline.do("train", config, workdir)  # stopped before the first one's figures
    assert words(calls) == CHAIN
    shutil.rmtree(workdir / "checkpoints" / "generate")
    (workdir / "evaluation.json").write_text('{"pictures": {}}')
    calls.clear()
    pipeline.do("train", config, workdir)
    assert words(calls) == CHAIN[4:]


@pytest.mark.parametrize(("stage", "step"), [("", 3), ("generate", 3), ("extract", 2)])
def test_later_jobs_take_a_stage(two, stage, step):
    calls, _, config, workdir = two
    pipeline.do("train", config, workdir)
    calls.clear()
    pipeline.do("export", config, workdir, stage=stage)
    ((word, arguments),) = calls
    assert word == "export" and int(arguments[1].step) == step


def test_another_runs_extraction_may_be_the_start(two, tmp_path):
    calls, seen, config, workdir = two
    pipeline.do("train", config, workdir)
    second = config.copy_and_resolve_references().unlock()
    second.generate.source = str(workdir)
    calls.clear()
    pipeline.do("train", second, tmp_path / "other")
    assert words(calls) == CHAIN[4:]
    assert not (tmp_path / "other" / "checkpoints" / "extract").exists()
    assert seen[0][1]["vector"].tolist() == seen[-1][1]["vector"].tolist()


def test_an_unfinished_extraction_is_no_start(two, tmp_path):
    _, _, config, workdir = two
    pipeline.do("train", config, workdir)
    shutil.rmtree(workdir / "checkpoints" / "extract" / "2")
    second = config.copy_and_resolve_references().unlock()
    second.generate.source = str(workdir)
    with pytest.raises(
        ValueError, match=r"a finished extraction, got .* at step 1 of 2"
    ):
        pipeline.do("train", second, tmp_path / "other")


def test_a_run_that_was_stopped_before_its_first_checkpoint_has_no_products(
    house, config, tmp_path
):
    pipeline.do("train", config, tmp_path / "run")
    for step in (tmp_path / "run" / "checkpoints" / "extract").glob("[0-9]*"):
        shutil.rmtree(step)
    house[0].clear()
    with pytest.raises(ValueError, match="must hold a trained extract stage"):
        pipeline.do("export", config, tmp_path / "run")
    assert not house[0]


def test_a_run_on_many_devices_is_exported_on_one(house, config, tmp_path):
    pipeline.do("train", config, tmp_path / "run")
    with config.unlocked():
        config.run.devices = 1000
    pipeline.do("export", config, tmp_path / "run")
    assert words(house[0])[-1] == "export"


def test_a_clip_that_has_become_another_one_is_refused(
    house, config, tmp_path, monkeypatch
):
    with config.unlocked():
        config.data.clip = "my_clip"
    pipeline.do("train", config, tmp_path / "run")
    pipeline.do("train", config, tmp_path / "run")
    masks = np.zeros((3, 4, 4), bool)
    masks[:, 0] = True
    again = dataclasses.replace(tiny_clip(), masks=masks)
    monkeypatch.setattr(pipeline, "read", lambda config: (again, lambda: None))
    house[0].clear()
    for job in ("train", "export"):
        with pytest.raises(ValueError, match="got other frames, masks or cameras"):
            pipeline.do(job, config, tmp_path / "run")
    assert not house[0]


def test_a_pose_needs_its_file(two):
    _, _, config, workdir = two
    pipeline.do("train", config, workdir)
    with pytest.raises(ValueError, match=r"write --pose=pose\.json"):
        pipeline.do("pose", config, workdir)


def test_cameras_are_searched_before_the_system_is_built(house, config, monkeypatch):
    """What is found goes along in the model's clip, for the stage that follows."""
    found = dataclasses.replace(tiny_clip(), cameras="found")
    module = types.SimpleNamespace(with_cameras=lambda config, clip, cache: found)
    name = "adreamer_jax.systems.animatable.clipdata"
    monkeypatch.setitem(sys.modules, name, module)
    build = lambda: pipeline.build_extraction(config, Path("x"), tiny_clip(), None)
    assert build().clip.cameras == "none"  # of a method that does not search
    with config.unlocked():
        config.data.cameras = "auto"
    assert build().clip is found
