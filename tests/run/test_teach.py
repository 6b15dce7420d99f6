"""Students on the run floor: they train, are written, and refuse what they are not."""

import json

import numpy as np
import pytest

from adreamer_jax.prior.load import load_prior
from adreamer_jax.run import teach
from adreamer_jax.run.recipe import load_recipe, recipe_name
from adreamer_jax.systems import pocket
from tests.systems.small_pocket import recipe


def test_who_is_a_student():
    assert teach.is_student(load_recipe("configs/pocket.py"))
    assert teach.is_student(load_recipe("configs/judge.py"))
    assert not teach.is_student(load_recipe("configs/extract.py"))
    assert not teach.is_student(load_recipe("configs/sample.py"))
    assert recipe_name("configs/pocket.py:gpu") == "pocket-gpu"


def test_jobs_that_need_a_clip_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--job must be train or export"):
        teach.teach("render", recipe("pocket"), tmp_path)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A smoke run that was stopped after its second step and went on."""
    path = tmp_path_factory.mktemp("run")
    config = recipe("pocket")
    teach.teach("train", config, path)
    return path


def lines(path):
    return [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_prior_a_curve_and_a_sheet(workdir):
    found = lines(workdir)
    assert [line["step"] for line in found] == [1, 2, 3, 4]
    assert all(np.isfinite(line["validation/color_400_600"]) for line in found)
    assert (workdir / "pictures" / "pocket_000004_samples.png").is_file()
    prior, _ = load_prior(str(workdir / "export" / "pocket"), tell=lambda _: None)
    assert prior.has_alpha
    index = json.loads((workdir / "export" / "pocket" / "model_index.json").read_text())
    assert index["trained_sets"] == 8
    longer = recipe("pocket", run__start_from=str(workdir / "export" / "pocket"))
    assert pocket.sets_before(longer) == 8
    assert pocket.sets_before(recipe("pocket")) == 0


def test_a_finished_run_only_writes_its_weights_again(workdir, capsys):
    before = lines(workdir)
    teach.teach("export", recipe("pocket"), workdir)
    assert lines(workdir) == before
    assert "weights after 4 steps" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be new or hold this very recipe"):
        teach.teach("train", recipe("pocket", run__batch=4), workdir)
