"""What cannot be done, through the front door: one sentence, nothing overwritten."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.clip import write_clip
from adreamer_jax.run import cli, pipeline, recipe
from adreamer_jax.run.checkpoint import Checkpoints
from adreamer_jax.run.log import Log
from adreamer_jax.run.train import train
from adreamer_jax.types import Clip
from tests.run.common import same_bits, write_recipe
from tests.run.toy import frozen_toy, run_section, toy

RECIPE = Path(__file__).parents[2] / "configs" / "extract.py"


@pytest.fixture
def folder(tmp_path):
    """A clip of eight small frames with cameras."""
    rows = np.arange(16)
    disk = (rows[:, None] - 8) ** 2 + (rows - 8) ** 2 < 25
    camera = np.eye(4, dtype=np.float32)
    camera[2, 3] = 3.0
    clip = Clip(
        name="dot",
        fps=8.0,
        prompt="a dot",
        images=np.full((8, 16, 16, 3), 128, np.uint8),
        masks=np.repeat(disk[None], 8, 0),
        camera_from_object=np.repeat(camera[None], 8, 0),
        intrinsics=np.array([20.0, 20.0, 8.0, 8.0]),
        cameras="noisy",
    )
    return write_clip(clip, tmp_path / "dot")


def change_header(folder, **values):
    path = folder / "clip.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lose_a_mask(folder):
    (folder / "masks" / "00003.png").unlink()


def empty_a_mask(folder):
    Image.new("L", (16, 16)).save(folder / "masks" / "00005.png")


def add_a_frame(folder):
    shutil.copy(folder / "frames" / "00007.png", folder / "frames" / "00008.png")


def shrink_a_mask(folder):
    Image.new("L", (16, 12), 255).save(folder / "masks" / "00001.png")


def empty_all_masks(folder):
    for path in (folder / "masks").iterdir():
        Image.new("L", (16, 16)).save(path)


def grow_a_frame(folder):
    Image.new("RGB", (18, 16)).save(folder / "frames" / "00002.png")


def truncate_a_frame(folder):
    path = folder / "frames" / "00004.png"
    path.write_bytes(path.read_bytes()[:40])


def shorten_intrinsics(folder):
    change_header(folder, intrinsics=[20.0, 20.0, 8.0])


def spoil_a_camera(folder):
    cameras = np.repeat(np.eye(4, dtype=np.float32)[None], 8, 0)
    cameras[5, 0, 3] = np.nan
    np.savez(folder / "cameras.npz", camera_from_object=cameras)


def break_the_header(folder):
    (folder / "clip.json").write_text("{")


def remove_it(folder):
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    "spoil",
    [
        lose_a_mask,
        add_a_frame,
        shrink_a_mask,
        empty_a_mask,
        empty_all_masks,
        grow_a_frame,
        truncate_a_frame,
        shorten_intrinsics,
        spoil_a_camera,
        break_the_header,
        remove_it,
    ],
)
def test_a_clip_that_cannot_be_used(folder, tmp_path, capsys, spoil):
    spoil(folder)
    workdir = tmp_path / "run"
    words = [f"--config={RECIPE}:smoke", f"--config.data.clip={folder}", "--cache="]
    assert cli.main(["main.py", *words, f"--workdir={workdir}"]) == 1
    shown = capsys.readouterr().err.strip()
    assert len(shown.splitlines()) == 1 and shown.startswith("adreamer: ")
    assert "dot" in shown and "Traceback" not in shown
    assert "--debug" not in shown  # an error that was foreseen
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ([f"--config={RECIPE}:smoky"], "must be one of default, paper, smoke, got"),
        ([f"--config={RECIPE}:smoke", "--config.run.stepps=3"], "--config.run.steps="),
        ([f"--config={RECIPE}:smoke", "--config.run.steps=few"], "must have the type"),
        ([f"--config={RECIPE}:smoke", "--work=x"], "Unknown command line flag"),
    ],
)
def test_words_that_are_misspelt(tmp_path, monkeypatch, capsys, words, advice):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["main.py", "--cache=", *words]) == 2
    shown = capsys.readouterr().err.strip()
    assert len(shown.splitlines()) == 1 and advice in shown
    assert not list(tmp_path.iterdir())


def contents(folder):
    """The bytes of all files below a folder."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_of_another_recipe_stays_as_it_is(folder, tmp_path, capsys):
    workdir = tmp_path / "run"
    recipe.remember(recipe.load_recipe(str(write_recipe(tmp_path))), workdir)
    (workdir / "model.glb").write_bytes(b"precious")
    before = contents(workdir)
    words = [f"--config={RECIPE}:smoke", f"--config.data.clip={folder}", "--cache="]
    assert cli.main(["main.py", *words, f"--workdir={workdir}"]) == 1
    shown = capsys.readouterr().err.strip()
    assert "--workdir must be new or hold this very recipe" in shown
    assert len(shown.splitlines()) == 1 and contents(workdir) == before


@pytest.mark.parametrize(("owner", "method"), [(Checkpoints, "save"), (Log, "scalars")])
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    tmp_path, monkeypatch, capsys, owner, method
):
    ends = []

    def do(job, config, workdir, **_):
        ends.append(train(toy(), frozen_toy(), run_section(), workdir, stage="toy"))

    def full(self, *arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, *arguments)

    monkeypatch.setattr(pipeline, "do", do)
    words = ["main.py", "--cache=", f"--config={write_recipe(tmp_path)}"]
    assert cli.main([*words, f"--workdir={tmp_path / 'unbroken'}"]) == 0
    whole, calls = getattr(owner, method), []
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, full)
        capsys.readouterr()
        assert cli.main([*words, f"--workdir={tmp_path / 'run'}"]) == 1
    shown = capsys.readouterr().err.strip().splitlines()
    assert shown[-1].startswith("adreamer: the disk must have room")
    assert not any("Traceback" in line for line in shown)
    assert cli.main([*words, f"--workdir={tmp_path / 'run'}"]) == 0
    assert len(ends) == 2 and same_bits(*ends)
