"""Clips that cannot be used, through the front door: one sentence, nothing written."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adreamer_jax.data.clip import write_clip
from adreamer_jax.run import cli
from adreamer_jax.types import Clip

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
