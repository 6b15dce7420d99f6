"""Pictures of results show what the results are made of."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

from benchmarks import pictures
from tests.run.capsule import make_asset


def test_white_about_an_animal_is_cut_off_alike():
    one, two = (np.full((40, 50, 3), 255, np.uint8) for _ in range(2))
    one[10:12, 20:22], two[30, 25] = 0, 9
    cut = pictures.cut_out([one, two])
    assert cut[0].shape == cut[1].shape == (21 + 12, 6 + 12, 3)
    assert cut[0][6, 6, 0] == 0 and cut[1][26, 11, 0] == 9
    empty = np.full((4, 4, 3), 255, np.uint8)
    assert pictures.cut_out([empty])[0].shape == (4, 4, 3)


def test_rows_of_any_sizes_become_one_picture():
    rows = [[np.zeros((20, 40, 3), np.uint8)] * 2, [np.zeros((30, 15, 3), np.uint8)]]
    page = pictures.stacked(rows, height=10)
    assert page.shape == (36, 56, 3)
    assert page[-5, 5, 0] == 0 and page[-5, -5, 0] == 255


def test_moments_are_spread_and_not_at_equal_parts_of_a_gait():
    found = pictures.spread(60, 4)
    assert found == [6, 14, 28, 51] and len({i % 15 for i in found}) > 2
    assert max(pictures.spread(2, 4)) == 1


def test_the_far_side_is_drawn_of_truth_and_arm_alike(tmp_path):
    box = trimesh.creation.box(extents=(1.0, 0.4, 0.3))
    # what sits on the far side alone, and is missing from the arm
    horn = trimesh.creation.box(extents=(0.1, 0.1, 0.2))
    horn.apply_translation([0.3, 0.0, -0.25])
    both = trimesh.util.concatenate([box, horn])
    camera = np.diag([1.0, -1.0, -1.0, 1.0])
    camera[2, 3] = 4.0
    seen = lambda mesh: mesh.vertices @ camera[:3, :3].T + camera[:3, 3]
    truth = SimpleNamespace(
        vertices=[seen(both)], faces=both.faces, camera_from_object=[camera]
    )
    for name, mesh in (("whole", both), ("without", box)):
        (tmp_path / name).mkdir()
        moved = trimesh.Trimesh(seen(mesh), mesh.faces, process=False)
        moved.export(tmp_path / name / "00000.ply")
    rows = pictures.from_behind(
        truth, [tmp_path / "whole", tmp_path / "without"], moments=1, side=60
    )
    true, whole, without = (row[0].astype(int) for row in rows)
    assert np.abs(true - whole).mean() < 0.02 * np.abs(true - without).mean() + 0.5
    assert np.abs(true - without).mean() > 1.0


def test_rows_that_do_not_exist_are_named():
    asked = argparse.Namespace(sources="runs/fox", rows="wolf-pink_pig", runs=Path())
    with pytest.raises(SystemExit, match="--sources must hold a folder wolf"):
        pictures.generated(asked)
    with pytest.raises(ValueError, match=r"<source>-<color>_<species>, got fox-pig_x"):
        pictures.made(Path(), "runs/fox", "fox-pig_x")


def test_a_creature_is_drawn_at_moments_from_two_sides_and_walks():
    asset = make_asset()
    sheet = pictures.creature(asset, side=40)
    assert len(sheet) == 9 and len({p.shape for p in sheet}) == 2
    film = pictures.walk(asset, frames=7, side=40)
    assert len(film) == 7 and film[0].shape == (40, 40, 3)
    # the clip has five moments, then it starts again
    np.testing.assert_array_equal(film[5], film[0])
    assert np.any(film[1] != film[0]) and film[0].min() < 200


def test_films_stand_beside_each_other_on_one_ground():
    def film(rows, columns):
        out = [np.full((40, 40, 3), 255, np.uint8) for _ in range(2)]
        for frame in out:
            frame[20 : 20 + rows, 10 : 10 + columns] = 0
        return out

    page = pictures.beside([film(10, 8), film(4, 12), film(6, 6)], across=2)
    high, wide = 10 + 2 * pictures.MARGIN, 12 + 2 * pictures.MARGIN
    assert len(page) == 2 and page[0].shape == (2 * high, 2 * wide, 3)
    dark = page[0][..., 0] == 0
    ground = high - pictures.MARGIN
    assert dark[ground - 1].sum() == 8 + 12 and not dark[ground:high].any()
    assert dark[:high].sum() == 10 * 8 + 4 * 12 and dark[high:].sum() == 36
