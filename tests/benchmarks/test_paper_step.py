"""The published step's clock: the recipe it times, and that it runs."""

import jax.numpy as jnp
import pytest

from benchmarks import paper_step


def test_every_step_distills_at_the_asked_size():
    config = paper_step.recipe("paper", 256)
    assert config.csd.every == 1 and config.csd.resolution == 256
    assert config.csd.thinning == 1 and config.loss.csd > 0
    assert config.prior.name == "mvdream"


def test_a_call_is_waited_for_and_counted():
    seconds, ms = paper_step.clocked(lambda x: x @ x, (jnp.ones((64, 64)),), 3)
    assert seconds > 0 and 0 < ms < 1e3 * seconds


@pytest.mark.slow
def test_all_parts_of_a_small_step(capsys, monkeypatch):
    words = ["paper_step", "--size=smoke", "--resolution=16", "--repeats=1"]
    monkeypatch.setattr("sys.argv", words)
    paper_step.main()
    said = capsys.readouterr().out
    assert "| all |" in said and "hours" in said and said.count("\n| its ") == 3
