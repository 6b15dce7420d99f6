"""SIGKILL at any moment, then the same command: no loss, and the same end."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adreamer_jax.run.log import read_metrics
from tests.run import train_only
from tests.run.common import read_end, same_bits

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def start(script, *words):
    """The program, on one host device as on a plain machine."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "XLA_FLAGS": ""}
    command = [sys.executable, str(HERE / script), *map(str, words)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def last_step(folder):
    """The last step that the log of a run has."""
    return max((m["step"] for m in read_metrics(folder / "metrics.jsonl")), default=0)


def kill_ten_times(script, folder, *words, steps):
    """Kill it at ten random moments of its training, then let it end."""
    draw = random.Random(0)
    for step in sorted(draw.randrange(steps - 2) for _ in range(10)):
        process = start(script, folder, *words)
        while process.poll() is None and last_step(folder) <= step:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3) if draw.random() < 0.5 else 0.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(script, folder, *words).wait() == 0


def lines(folder):
    """What was logged, but for the clock."""
    keep = lambda name: name not in ("wall", "time/step_ms")
    metrics = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if keep(k)} for line in metrics]


@pytest.mark.parametrize(
    ("script", "words", "steps"),
    [("toy.py", (400,), 400), ("train_only.py", (), train_only.smoke().run.steps)],
    ids=["a small system", "the extraction recipe"],
)
def test_ten_kills_change_nothing(tmp_path, script, words, steps):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(script, whole, *words).wait() == 0
    kill_ten_times(script, killed, *words, steps=steps)
    assert last_step(killed) == steps and lines(whole) == lines(killed)
    assert same_bits(read_end(whole), read_end(killed))
