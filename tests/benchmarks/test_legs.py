"""The share of a surface that is found: all of it, none of it, and below."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import legs


def test_a_body_without_its_legs_is_missed_below(tmp_path):
    body = trimesh.creation.box((2.0, 0.6, 0.8))
    leg = trimesh.creation.box((0.2, 1.0, 0.2))
    places = [(x, -0.8, z) for x in (-0.8, 0.8) for z in (-0.3, 0.3)]
    four = [leg.copy().apply_translation(place) for place in places]
    whole = trimesh.util.concatenate([body, *four])
    camera = np.eye(4)
    camera[2, 3] = 4.0
    vertices = np.asarray(whole.vertices) + camera[:3, 3]
    truth = SimpleNamespace(
        vertices=vertices[None], faces=whole.faces, camera_from_object=camera[None]
    )
    for mesh, low in ((whole, 1.0), (body, 0.0)):
        moved = mesh.copy().apply_translation((0, 0, 4.0))
        moved.export(tmp_path / "00000.ply")
        found = legs.shares(truth, tmp_path)
        assert found[1] == pytest.approx(low, abs=0.12)
    assert 0.4 < found[0] < 0.9
