import shutil

import jax
import jax.numpy as jnp
import pytest

from adreamer_jax.run.checkpoint import Checkpoints
from adreamer_jax.run.parallel import make_mesh, own, place
from adreamer_jax.types import TrainState
from tests.run.common import same_bits


def make_state(step, *, devices=1, size=4):
    params = {"a": jnp.arange(size) * 1.5 + step, "b": (jnp.ones((2, 3)),)}
    opt_state = (jnp.zeros((), jnp.int32), jnp.full((3,), step, jnp.bfloat16))
    state = TrainState(jnp.asarray(step), params, opt_state, {"skipped": jnp.zeros(())})
    return place(own(state), make_mesh(devices))


# The storage library leaves a pending read behind when a step cannot be opened.
left_behind = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def saved(tmp_path):
    with Checkpoints(tmp_path / "run") as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(make_state(step))
    return tmp_path / "run"


def test_without_a_checkpoint_the_fresh_state_comes_back(tmp_path):
    fresh = make_state(0)
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest(fresh) is fresh
        assert checkpoints.newest() is None


def test_the_newest_two_stay_and_come_back_bit_for_bit(saved):
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.steps() == [4, 6]
        assert checkpoints.newest() == saved / "6"
        restored = checkpoints.latest(make_state(0))
    assert same_bits(restored, make_state(6))
    assert jax.tree.structure(restored) == jax.tree.structure(make_state(0))


def test_a_step_that_is_there_is_kept(saved):
    with Checkpoints(saved) as checkpoints:
        checkpoints.save(make_state(6).replace(upkeep={"skipped": jnp.ones(())}))
        assert same_bits(checkpoints.latest(make_state(0)), make_state(6))


def test_what_a_kill_leaves_behind_is_ignored(saved):
    shutil.copytree(saved / "6", saved / "8.orbax-checkpoint-tmp")
    with Checkpoints(saved) as checkpoints:
        assert int(checkpoints.latest(make_state(0)).step) == 6
        checkpoints.save(make_state(8))
        assert checkpoints.steps() == [6, 8]


@left_behind
def test_a_damaged_step_is_passed_over_and_can_be_written_again(saved):
    for path in (saved / "6").rglob("*"):
        if path.is_file() and path.stat().st_size > 8:
            path.write_bytes(path.read_bytes()[:8])
    with Checkpoints(saved) as checkpoints:
        with pytest.warns(UserWarning, match="checkpoint 6 cannot be read"):
            restored = checkpoints.latest(make_state(0), mend=False)
        assert same_bits(restored, make_state(4))
        assert checkpoints.steps() == [4, 6]  # who only reads takes nothing away
        with pytest.warns(UserWarning, match="checkpoint 6 cannot be read"):
            restored = checkpoints.latest(make_state(0))
        assert same_bits(restored, make_state(4))
        assert checkpoints.steps() == [4]
        checkpoints.save(make_state(6))
        assert same_bits(checkpoints.latest(make_state(0)), make_state(6))


@left_behind
def test_a_foreign_checkpoint_is_refused_and_left_alone(saved):
    with Checkpoints(saved) as checkpoints:
        with pytest.raises(ValueError, match="choose another --workdir"):
            checkpoints.latest(make_state(0, size=5))
        assert checkpoints.steps() == [4, 6]


def test_what_eight_devices_wrote_one_reads(tmp_path):
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(make_state(3, devices=8))
        restored = checkpoints.latest(make_state(0))
    assert len(restored.params["a"].devices()) == 1
    assert same_bits(restored, make_state(3))
