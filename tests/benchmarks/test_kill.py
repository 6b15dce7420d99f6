"""The judge of the kill benchmark sees what differs and nothing else."""

import json
import sys
import time

import jax.numpy as jnp
import pytest

from adreamer_jax.run.checkpoint import Checkpoints
from adreamer_jax.types import TrainState
from benchmarks import kill


@pytest.fixture
def finished(tmp_path):
    """A function that leaves the folder of a run with one state and one product."""

    def make(name, *, value=1.0, product=b"glb", loss=0.5):
        folder = tmp_path / name
        (folder / "export").mkdir(parents=True)
        (folder / "export" / "model.glb").write_bytes(product)
        line = {"stage": "toy", "step": 3, "wall": time.time(), "loss": loss}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + '\n{"half')
        state = TrainState(jnp.int32(3), {"v": jnp.full(2, value)}, (), {})
        with Checkpoints(folder / "checkpoints" / "toy") as checkpoints:
            checkpoints.save(state)
        return folder

    return make


def test_two_equal_ends_are_equal(finished):
    assert kill.differences(finished("a"), finished("b")) == []


def test_every_difference_is_named(finished):
    other = finished("b", value=1.0000001, product=b"gib", loss=0.4)
    names = ["export/model.glb", "state of toy", "metrics.jsonl"]
    assert kill.differences(finished("a"), other) == names


def test_a_command_is_killed_after_its_time_or_ends_before(tmp_path):
    log = tmp_path / "log"
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert kill.run(sleeper, log, 0.2) is None
    speaker = [sys.executable, "-c", "print('done'); raise SystemExit(3)"]
    assert kill.run(speaker, log, 60.0) == 3
    assert kill.reached(tmp_path, log) == "before the first step; done"
