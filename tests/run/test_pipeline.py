import sys
import types

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
