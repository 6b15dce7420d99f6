"""The benchmark of flow tells a right flow from a wrong one on the low parts."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import flow as flow_benchmark

from adreamer_jax.run.track import MovingMesh

SIZE, DEPTH = 64, 4.0


@pytest.fixture
def moving_box():
    """A box before the camera that moves by three pixels a frame, and its flow."""
    box = trimesh.creation.box((1.0, 1.0, 0.2))
    lens = np.array([64.0, 64.0, 32.0, 32.0])
    step = 3.0 / 64.0 * (DEPTH - 0.1)
    places = [np.array([step * i - 0.5, 0, DEPTH]) for i in range(4)]
    truth = SimpleNamespace(
        vertices=np.stack([np.asarray(box.vertices) + p for p in places]),
        faces=np.asarray(box.faces),
        camera_from_object=np.stack([np.diag([1.0, -1.0, -1.0, 1.0])] * 4),
        intrinsics=lens,
    )
    return truth, np.ones((4, SIZE, SIZE), bool)


def test_right_flow_is_right_and_still_flow_is_wrong(moving_box):
    truth, masks = moving_box
    sure = np.ones((4, SIZE, SIZE), np.float16)
    moved = np.zeros((4, SIZE, SIZE, 2), np.float16)
    moved[..., 0] = 3.0
    motion, right, wrong, error = flow_benchmark.figures(
        truth, masks, {1: (moved, sure)}, 1
    )
    assert motion == pytest.approx(3.0, abs=0.05)
    assert (right, wrong) == (1.0, 0.0) and error < 0.05
    _, right, wrong, error = flow_benchmark.figures(
        truth, masks, {1: (0 * moved, sure)}, 1
    )
    assert (right, wrong) == (0.0, 1.0) and error == pytest.approx(3.0, abs=0.05)


def test_only_low_parts_count(moving_box):
    truth, masks = moving_box
    mesh = MovingMesh(
        truth.vertices, truth.faces, np.tile(truth.intrinsics, (4, 1)), (SIZE, SIZE)
    )
    at = flow_benchmark.shown(mesh, truth.camera_from_object, masks[0], 0)
    # the object's y is up, the picture's is down
    assert at.pixels[:, 1].min() > SIZE / 2
    assert 0.2 < len(at.pixels) / 16.4**2 < 0.6


def test_distrusted_flow_is_neither(moving_box):
    truth, masks = moving_box
    none = np.zeros((4, SIZE, SIZE), np.float16)
    _, right, wrong, _ = flow_benchmark.figures(
        truth, masks, {1: (np.zeros((4, SIZE, SIZE, 2)), none)}, 1
    )
    assert right == wrong == 0.0
