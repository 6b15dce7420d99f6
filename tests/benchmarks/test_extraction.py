"""The table over clips, and the comparison with another scorer."""

import json

import pytest

from benchmarks import extraction as ex


def figures(f2=0.8, **more):
    part = {f"f{level}": f2 for level in (1, 2, 5, 10)} | {"recall_percent": 1.0}
    shape = part | {"chamfer_percent": 2.5, "seen": part, "unseen": part}
    return {"every": 7, "shape": shape} | more


@pytest.fixture
def folders(tmp_path):
    for name, content in (
        ("dog", {"every": 7, "keypoints": {"pck@0.1": 0.5, "flow": {"pck@0.1": 0.4}}}),
        ("fox", figures(root_pose={"jitter_deg": 0.2, "truth_jitter_deg": 0.1})),
    ):
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / "clip.json").write_text("{}")
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "evaluation.json").write_text(json.dumps(content))
    lines = ['{"wall": 100.0}', '{"wall": 160.0}']
    (tmp_path / "runs" / "dog" / "metrics.jsonl").write_text("\n".join(lines))
    resources = {"wall_seconds": 90, "cpu_seconds": 80, "peak_mib": 1500}
    (tmp_path / "runs" / "fox" / "resources.json").write_text(json.dumps(resources))
    return tmp_path


def scorer(folder, chamfer):
    path = folder / "scorer.py"
    line = figures()["shape"] | {"chamfer_percent": chamfer}
    path.write_text(f"import json\nprint('a word')\nprint(json.dumps({line!r}))\n")
    return path


def test_look_up_follows_dots_also_within_names():
    nested = {"a": {"pck@0.1": 3, "b": {"c": 4.0}}, "d": "text"}
    assert ex.look_up(nested, "a.pck@0.1") == 3
    assert ex.look_up(nested, "a.b.c") == 4.0
    for name in ("a", "a.x", "d", "x.y", "d.e"):
        assert ex.look_up(nested, name) is None


def test_the_table_has_a_row_a_clip_and_means_of_what_is_known(folders, capsys):
    assert ex.main([str(folders / "clips"), str(folders / "runs")]) == 0
    head, _, dog, fox, mean = capsys.readouterr().out.strip().splitlines()
    assert "PCK@0.1" in head and "SSIM" not in head  # no run has that one
    cells = [
        [cell.strip() for cell in row.split("|")] for row in (head, dog, fox, mean)
    ]
    by_name = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    assert [row["Chamfer %"] for row in by_name] == ["", "2.50", "2.50"]
    assert [row["seconds"] for row in by_name] == ["60", "90", "75"]
    assert [row["jitter / truth's"] for row in by_name] == ["", "2.00", "2.00"]
    assert [row["PCK@0.1"] for row in by_name] == ["0.500", "", "0.500"]


def test_clips_can_be_picked_and_nothing_is_an_error(folders, capsys):
    clips, runs = str(folders / "clips"), str(folders / "runs")
    assert ex.main([clips, runs, "--only=fox"]) == 0
    assert "dog" not in capsys.readouterr().out
    assert ex.main([clips, str(folders / "nowhere")]) == 1


def test_another_scorer_is_compared_figure_by_figure(folders, capsys):
    clips, runs = str(folders / "clips"), str(folders / "runs")
    words = [clips, runs, "--only=fox"]
    assert ex.main([*words, f"--check-scorer={scorer(folders, 2.5)}"]) == 0
    assert "chamfer_percent 1.000" in capsys.readouterr().out
    assert ex.main([*words, f"--check-scorer={scorer(folders, 2.6)}"]) == 1
    assert "largest disagreement 3.8 %" in capsys.readouterr().out


def test_a_scorer_that_fails_is_told(folders):
    path = folders / "bad.py"
    path.write_text("raise SystemExit('no such thing')")
    with pytest.raises(ValueError, match="no such thing"):
        ex.check_scorer(path, folders / "clips" / "fox", folders / "runs" / "fox")


def test_only_clips_without_figures_are_run(folders):
    (folders / "runs" / "dog" / "evaluation.json").unlink()
    asked = []
    clips = sorted((folders / "clips").iterdir())
    found = ex.collect(clips, folders / "runs", lambda *words: asked.append(words))
    assert asked == [(str(folders / "clips" / "dog"), folders / "runs" / "dog")]
    assert set(found) == {"fox"}
