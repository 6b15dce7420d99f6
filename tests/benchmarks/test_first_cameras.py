"""The benchmark of first cameras measures the angle that a constant turn leaves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import first_cameras


def path(*degrees):
    poses = np.tile(np.eye(4, dtype=np.float32), (len(degrees), 1, 1))
    turned = Rotation.from_euler("y", np.array(degrees)[:, None], degrees=True)
    poses[:, :3, :3] = turned.as_matrix()
    poses[:, 2, 3] = 3.0
    return poses


def test_another_gauge_costs_nothing_and_a_missing_turn_does(monkeypatch):
    guesses = {"right": path(50, 60, 70), "none": path(0, 0, 0), "back": path(9, 0, -9)}
    monkeypatch.setattr(first_cameras, "guesses", lambda clip: guesses)
    monkeypatch.setattr(
        first_cameras, "read_clip", lambda folder: SimpleNamespace(name="x")
    )
    true = SimpleNamespace(camera_from_object=path(-10, 0, 10))
    monkeypatch.setattr(first_cameras, "read_truth", lambda folder: true)
    name, right, none, back, _ = first_cameras.row(Path("x"))
    assert name == "x" and float(right) == 0.0
    assert float(none) == pytest.approx(10, abs=0.1)
    assert float(back) == pytest.approx(19, abs=0.1)


def test_a_clip_without_truth_is_refused(monkeypatch):
    monkeypatch.setattr(
        first_cameras, "read_clip", lambda folder: SimpleNamespace(name="x")
    )
    monkeypatch.setattr(first_cameras, "read_truth", lambda folder: None)
    with pytest.raises(ValueError, match="must have true cameras"):
        first_cameras.row(Path("x"))
