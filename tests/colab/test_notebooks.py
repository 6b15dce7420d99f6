"""The notebooks run from top to bottom, are short, and carry no outputs."""

import ast
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import trimesh
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parents[2] / "colab").glob("*.ipynb"))
SHORT = {"00": 60, "01": 6, "02": 4}  # steps instead of the notebook's own


def cells(path, kind="code"):
    """The sources of a notebook's cells of a kind."""
    content = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in content if cell["cell_type"] == kind]


def run(source, names):
    """Run a cell; the value of its last line where that is an expression."""
    *body, last = ast.parse(source).body
    value = None
    if isinstance(last, ast.Expr):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    else:
        exec(compile(ast.Module([*body, last], []), "cell", "exec"), names)
    return value


@pytest.fixture
def notebook(monkeypatch, tmp_path, capsys):
    """A function that runs a notebook; its names, what it showed and printed."""

    def play(number):
        (path,) = [p for p in NOTEBOOKS if p.name.startswith(number)]
        monkeypatch.chdir(tmp_path)
        names, shown = {"__name__": "__main__"}, []
        for source in cells(path):
            steps = f"STEPS = {SHORT.get(number, 0)}"
            shown.append(run(re.sub(r"STEPS = \d+", steps, source), names))
        return names, shown, capsys.readouterr().out

    return play


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_they_are_short_plain_and_without_outputs(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4 and len(content["cells"]) < 25
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert all(not c["metadata"] for c in content["cells"])  # nothing is hidden
    sources = cells(path)
    assert "pip" in sources[0] and not any(
        re.search(r"^[!%]", s, re.M) for s in sources
    )
    assert len(cells(path, "markdown")) >= 4
    assert all(len(line) <= 88 for s in sources for line in s.splitlines())


def losses(printed):
    """The numbers after the word loss."""
    return [float(x) for x in re.findall(r"loss (\d+\.\d+)", printed)]


def test_a_field_becomes_a_ring(notebook):
    names, shown, printed = notebook("00")
    first, *_, last = losses(printed)
    assert last < 0.6 * first and names["error"] < 0.06
    assert isinstance(shown[-1], Image.Image) and shown[-1].size == (240, 240)


def test_a_clip_becomes_a_rig(notebook, tmp_path):
    names, shown, printed = notebook("01")
    assert all(np.isfinite(losses(printed)))
    pictures = [value for value in shown if isinstance(value, Image.Image)]
    assert [p.height for p in pictures] == [96, 96, 96]
    assert {"model.glb", "motion.bvh", "rig.json", "cameras.npz"} <= set(shown[-1])
    scene = trimesh.load(tmp_path / "rig" / "model.glb")
    assert scene.geometry and int(names["state"].step) == SHORT["01"]


def test_a_text_becomes_a_creature(notebook, tmp_path):
    names, shown, printed = notebook("02")
    assert all(np.isfinite(losses(printed))) and len(losses(printed)) >= 4
    pictures = [value for value in shown if isinstance(value, Image.Image)]
    assert [p.size for p in pictures] == [(512, 128), (4 * 96 + 3 * 4, 2 * 96)]
    assert {"model.glb", "prior.png"} <= set(shown[-1])
    before = jax.tree.leaves(names["extracted"].params)
    after = jax.tree.leaves(names["state"].params)
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_the_tour_says_holds(notebook):
    names, shown, _ = notebook("03")
    fog, rate = shown[4:6]
    assert 0.1 < fog < 1.0 and rate > 0.5  # how fast a turning bone changes pixels
    assert names["distances"].shape == (3, 64)
