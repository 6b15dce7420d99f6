import numpy as np
import pytest

from adreamer_jax.run.checkpoint import Checkpoints
from adreamer_jax.run.log import read_metrics
from adreamer_jax.run.train import Watch, due, restore, train
from tests.run.common import same_bits
from tests.run.toy import frozen_toy, run_section, toy


def run(folder, system, **changes):
    return train(system, frozen_toy(), run_section(**changes), folder, stage="toy")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, run(folder, toy(20))


def losses(folder):
    lines = read_metrics(folder / "metrics.jsonl")
    return [(line["step"], line["loss"]) for line in lines]


def test_a_run_learns_logs_and_shows(unbroken):
    folder, state = unbroken
    assert int(state.step) == 20
    assert [step for step, _ in losses(folder)] == list(range(2, 21, 2))
    assert losses(folder)[-1][1] < losses(folder)[0][1]
    shown = sorted(path.name for path in (folder / "pictures").iterdir())
    assert shown == ["toy_000010_vector.png", "toy_000020_vector.png"]


def test_a_broken_run_ends_as_an_unbroken_one(unbroken, tmp_path):
    class Stop(Exception):
        pass

    def maintain_until(stop):
        def maintain(state, frozen, step):
            if step == stop:
                raise Stop
            return toy(20).maintain(state, frozen, step)

        return maintain

    for stop in (1, 7, 13, 18):
        with pytest.raises(Stop):
            run(tmp_path, toy(20)._replace(maintain=maintain_until(stop)))
    state = run(tmp_path, toy(20))
    assert same_bits(state, unbroken[1])
    assert losses(tmp_path) == losses(unbroken[0])


def test_a_finished_run_is_read_and_left_alone(unbroken, capsys):
    folder, state = unbroken
    before = losses(folder)
    assert same_bits(run(folder, toy(20)), state)
    assert "all 20 steps are done" in capsys.readouterr().err
    assert losses(folder) == before
    read = restore(toy(20), frozen_toy(), run_section(), folder, stage="toy")
    assert same_bits(read, state)


def test_reading_a_stage_that_was_never_trained_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--job=train first"):
        restore(toy(20), frozen_toy(), run_section(), tmp_path, stage="toy")


def test_a_seed_decides_the_run(unbroken, tmp_path):
    assert not same_bits(run(tmp_path, toy(20), seed=4).params, unbroken[1].params)


def test_eight_devices_end_where_one_does(unbroken, tmp_path):
    state = run(tmp_path, toy(20), devices=8)
    vector = state.params["vector"]
    np.testing.assert_allclose(vector, unbroken[1].params["vector"], atol=1e-5)


def test_a_few_skipped_steps_are_no_harm(tmp_path):
    state = run(tmp_path, toy(20, poison=(3, 4, 11)))
    assert np.isfinite(state.params["vector"]).all()
    assert int(state.upkeep["skipped"]) == 3


def test_steps_that_stay_not_finite_stop_the_run(tmp_path):
    poison = tuple(range(20, 100))
    with pytest.raises(FloatingPointError, match="got loss not finite") as caught:
        run(tmp_path, toy(100, poison=poison))
    assert "before step 3" in str(caught.value)
    assert str(tmp_path / "checkpoints" / "toy") in str(caught.value)


def test_the_watch_needs_a_window(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        watch = Watch(checkpoints, patience=20)
        for step in range(10, 60, 10):
            watch(step, {"loss": 1.0, "skipped": 0.4 * step})
        with pytest.raises(FloatingPointError, match="got gradients not finite"):
            for step in range(60, 100, 10):
                watch(step, {"loss": 1.0, "skipped": step - 30.0})


@pytest.mark.parametrize(
    ("done", "every", "answer"),
    [(5, 5, True), (6, 5, False), (7, 0, False), (12, 5, True), (12, 0, True)],
)
def test_due(done, every, answer):
    assert due(done, every, 12) is answer
