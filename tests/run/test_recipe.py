import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from adreamer_jax.run import recipe
from tests.run.common import write_recipe


@pytest.fixture
def path(tmp_path):
    return write_recipe(tmp_path)


def test_a_size_follows_the_colon(path):
    assert recipe.load_recipe(str(path)).run.steps == 20
    assert recipe.load_recipe(f"{path}:smoke").run.steps == 2
    with pytest.raises(ValueError, match="one of default, smoke"):
        recipe.load_recipe(f"{path}:huge")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("configs/csd.py", ("configs/csd.py", "")),
        ("csd:paper", ("csd", "paper")),
        (r"C:\x\csd.py", (r"C:\x\csd.py", "")),
        (r"C:\x\csd.py:paper", (r"C:\x\csd.py", "paper")),
        ("at 12:30/csd.py:smoke", ("at 12:30/csd.py", "smoke")),
    ],
)
def test_the_colon_of_a_drive_is_not_the_sizes(name, parts):
    assert recipe.split_name(name) == parts


def test_a_recipe_may_lie_in_a_folder_with_a_colon(tmp_path):
    folder = tmp_path / "at 12:30"
    folder.mkdir()
    name = f"{write_recipe(folder)}:smoke"
    assert recipe.load_recipe(name).run.steps == 2
    assert recipe.recipe_name(name) == "toy-smoke"


def test_file_names_tell_texts_apart():
    assert recipe.slug("A red fox, walking!") == "a-red-fox-walking"
    names = [
        recipe.slug(text) for text in ("лиса", "狐狸", "медведь", "x" * 70, "x" * 71)
    ]
    assert names[0] == "лиса" and len(set(names)) == 5
    assert all(0 < len(name) <= 60 for name in names) and recipe.slug("?!")


def test_an_unknown_recipe_is_answered_with_ours():
    with pytest.raises(ValueError, match="must name a recipe file, got nowhere"):
        recipe.find_recipe("nowhere/x.py")


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("optimizer.lrr", "--config.optimizer.lr="),
        ("lr", "--config.optimizer.lr="),
        ("rnu.seed", "--config.run.seed="),
        ("run.steps.more", "--config.run.steps="),
    ],
)
def test_a_misspelt_key_is_answered_with_the_right_one(path, key, advice):
    config = recipe.load_recipe(str(path))
    with pytest.raises(ValueError, match=f"write {advice}"):
        recipe.check_keys(config, [key])
    recipe.check_keys(config, ["run.seed", "ramp.csd"])


def test_names_and_folders(path):
    config = recipe.load_recipe(str(path))
    name = "configs/extract.py"
    assert recipe.default_workdir(name, config) == Path("runs/extract-embedded")
    with config.unlocked():
        config.data.clip = "some/where/fox/"
    smoke = recipe.default_workdir(f"{name}:smoke", config)
    assert smoke == Path("runs/extract-smoke-fox")


def test_a_folder_remembers_its_recipe(path, tmp_path):
    config = recipe.load_recipe(str(path))
    recipe.remember(config, tmp_path / "run")
    again = recipe.read_recipe(tmp_path / "run")
    assert again == config and again.ramp.csd == ((0, 0.0), (10, 1.0))
    assert again.is_locked
    recipe.remember(again, tmp_path / "run")


def test_a_folder_refuses_another_recipe_and_stays(path, tmp_path):
    config = recipe.load_recipe(str(path))
    recipe.remember(config, tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    config.optimizer.lr = 3e-4
    with pytest.raises(ValueError, match=r"optimizer\.lr was 0\.001, now 0\.0003"):
        recipe.remember(config, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_how_a_run_is_watched_may_change(path, tmp_path):
    config = recipe.load_recipe(str(path))
    recipe.remember(config, tmp_path / "run")
    config.run.log_every = 1
    recipe.remember(config, tmp_path / "run")
    assert recipe.read_recipe(tmp_path / "run").run.log_every == 1


def test_a_folder_without_or_with_a_broken_recipe_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without config"):
        recipe.read_recipe(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="must be JSON"):
        recipe.read_recipe(tmp_path)


def test_differences_name_added_and_lost_keys():
    lines = recipe.differences({"a": {"b": 1}, "c": (1,)}, {"a": {"d": 2}, "c": [1]})
    assert lines == {
        "a.b": "a.b was 1, now 'absent'",
        "a.d": "a.d was 'absent', now 2",
    }


def test_only_training_asks_for_the_whole_recipe(path, tmp_path):
    config = recipe.load_recipe(str(path))
    older = config.to_dict() | {"gone": 1}
    newer = ConfigDict(config.to_dict() | {"new": 2})
    recipe.remember(config, tmp_path)
    recipe.check_workdir(newer, tmp_path, whole=False)
    with pytest.raises(ValueError, match="new was 'absent', now 2"):
        recipe.check_workdir(newer, tmp_path)
    with pytest.raises(ValueError, match="gone was 1, now 'absent'"):
        (tmp_path / "config.json").write_text(json.dumps(older))
        recipe.check_workdir(config, tmp_path, whole=False)
