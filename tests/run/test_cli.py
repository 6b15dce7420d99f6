import errno
import subprocess
import sys
from pathlib import Path

import pytest

from adreamer_jax.run import cli, pipeline
from tests.run.common import write_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked(monkeypatch):
    """What the command line asked the pipeline to do."""
    calls = []
    monkeypatch.setattr(
        pipeline, "do", lambda *args, **kwargs: calls.append((*args, kwargs))
    )
    return calls


@pytest.fixture
def path(tmp_path):
    return str(write_recipe(tmp_path))


def command(*words):
    return cli.main(["main.py", "--cache=", *words])


def test_a_recipe_alone_means_everything(asked, path):
    assert command(f"--config={path}:smoke", "--config.optimizer.lr=1") == 0
    (job, config, workdir, _) = asked[0]
    assert (job, str(workdir)) == ("train", "runs/toy-smoke-embedded")
    assert config.optimizer.lr == 1.0 and config.run.steps == 2 and config.is_locked


@pytest.mark.parametrize("name", ["prepare", "sample"])
def test_a_recipe_may_say_its_own_job(asked, capsys, name):
    assert command(f"--config=configs/{name}.py:smoke") == 0
    assert asked[0][0] == name
    assert command(f"--config=configs/{name}.py:smoke", "--job=train") == 2
    assert f"--job must be {name} with this recipe" in capsys.readouterr().err
    assert command("--job=prepare", "--config=configs/extract.py:smoke") == 0
    assert asked[1][0] == "prepare"  # which says what to write


def test_the_recipe_may_stand_apart_from_its_flag(asked, path):
    assert command("--config", f"{path}:smoke", "--config.run.seed=7") == 0
    assert asked[0][1].run.seed == 7


def test_a_recipe_may_lie_behind_a_colon(asked, tmp_path, monkeypatch):
    folder = tmp_path / "at 12:30"
    folder.mkdir()
    path = write_recipe(folder)
    monkeypatch.chdir(folder)  # as the colon of a drive on Windows
    assert command(f"--config={path}:smoke", "--config.run.seed=7") == 0
    (_, config, workdir, _) = asked[0]
    assert config.run.steps == 2 and config.run.seed == 7
    assert str(workdir) == "runs/toy-smoke-embedded"


def test_a_tuple_is_written_as_one(asked, path):
    assert command(f"--config={path}", "--config.ramp.csd=((0,0.5),)") == 0
    assert asked[0][1].ramp.csd == ((0, 0.5),)


def test_later_jobs_need_the_folder_only(asked, path, tmp_path):
    from adreamer_jax.run import recipe

    recipe.remember(recipe.load_recipe(path), tmp_path / "run")
    words = ("--job=track", f"--workdir={tmp_path / 'run'}", "--points=p.json")
    assert command(*words) == 0
    job, config, workdir, more = asked[0]
    assert (job, workdir, more) == (
        "track",
        tmp_path / "run",
        {"points": "p.json", "stage": "", "pose": ""},
    )
    assert config.run.steps == 20


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "write --config=configs/extract.py"),
        (["--config"], "must name a recipe file, got nothing"),
        (["--config=no.py"], "must name a recipe file, got no.py; write one of"),
        (["--config={path}:big"], "size must be one of default, smoke, got 'big'"),
        (["--config={path}", "--config.run.stps=3"], "write --config.run.steps="),
        (["--config={path}", "--config.run.steps=x"], "must have the type of the"),
        (["--config={path}", "--config.run=3"], "must have the type of the recipe's"),
        (["--config={path}", "--wrkdir=x"], "Did you mean: workdir"),
        (["--config={path}", "words"], "must be flags such as"),
        (["--config.run.seed=3"], "must come with a recipe"),
        (["--job=dance"], "train|render|export"),
        (["--job=render", "--workdir=nowhere"], "without config.json"),
    ],
)
def test_a_wrong_word_gets_one_sentence_and_no_traceback(
    asked, path, capsys, words, sentence
):
    assert command(*[word.format(path=path) for word in words]) in (1, 2)
    shown = capsys.readouterr().err
    assert sentence in shown and shown.startswith("adreamer: ")
    assert len(shown.strip().splitlines()) == 1 and not asked


def test_help_lists_the_flags(capsys):
    assert command("--help") == 0
    assert "--workdir" in capsys.readouterr().out


def disk_is_full(*_, **__):
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")
    except OSError as error:
        raise RuntimeError("cannot save") from error


def bug(*_, **__):
    return {}["nowhere"]


def by_hand(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        (disk_is_full, 1, "disk must have room"),
        (bug, 1, "KeyError: 'nowhere'; --debug shows where"),
        (by_hand, 130, "the same command goes on"),
    ],
)
def test_failures_are_one_sentence(monkeypatch, capsys, path, failure, code, sentence):
    monkeypatch.setattr(pipeline, "do", failure)
    assert command(f"--config={path}") == code
    shown = capsys.readouterr().err
    assert sentence in shown and "Traceback" not in shown


def test_debug_shows_the_traceback(monkeypatch, capsys, path):
    monkeypatch.setattr(pipeline, "do", bug)
    assert command(f"--config={path}", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file", "x.npz"), "x.npz: No such file"),
        (MemoryError(), "must fit into memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), "must fit into memory"),
        (ValueError("a must be b,\n  got c; do d"), "a must be b, got c; do d"),
        (ValueError(), "ValueError"),
    ],
)
def test_sentences(error, words):
    assert words in cli.sentence(error)


def test_main_py_is_the_same_door():
    done = subprocess.run(
        [sys.executable, "main.py", "--config=no.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("adreamer: --config must name a recipe file")
