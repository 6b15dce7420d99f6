"""The examples run by themselves and leave what they promise."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.fixture
def example(monkeypatch, tmp_path, capsys):
    """A function that runs an example with some words and returns what it printed."""

    def run(number, *words):
        (path,) = [p for p in EXAMPLES if p.name.startswith(f"{number:02d}_")]
        monkeypatch.setattr(sys, "argv", [path.name, f"--out={tmp_path}", *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_they_are_numbered_and_short():
    assert [p.name[:2] for p in EXAMPLES] == ["01", "02", "03"]
    assert all(len(p.read_text().splitlines()) <= 90 for p in EXAMPLES)


def test_a_field_becomes_a_ring(example, tmp_path):
    out = example(1, "--steps=60")
    first, *_, last = (float(x) for x in re.findall(r"loss (\d\.\d+)", out))
    assert last < 0.6 * first  # 60 steps of 300
    mesh = trimesh.load(tmp_path / "01_field.ply")
    away = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) - 0.55
    error = np.hypot(away, mesh.vertices[:, 1]) - 0.2
    assert np.abs(error).mean() < 0.05


def test_dual_quaternions_keep_the_volume(example, tmp_path):
    out = example(2, "--size=40")
    volume = {name: float(v) for name, v in re.findall(r"(\w+) +volume (\d\.\d+)", out)}
    assert volume["dual"] > 0.95 > 0.85 > volume["linear"]
    assert Image.open(tmp_path / "02_warp.png").size == (120, 40)


def test_a_picture_paints_the_field(example, tmp_path):
    out = example(3, "--size=20", "--steps=8")
    first, last = (float(x) for x in re.findall(r"error (\d\.\d+)", out))
    assert last < 0.7 * first
    assert Image.open(tmp_path / "03_render.png").size == (40, 20)
