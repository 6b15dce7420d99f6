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
from adreamer_jax.run.train import restore
from tests.run import train_only
from tests.run.common import same_bits
from tests.run.toy import frozen_toy, run_section, toy

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


def test_a_small_system(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("toy.py", whole, 400).wait() == 0
    kill_ten_times("toy.py", killed, 400, steps=400)
    ends = [
        restore(toy(400), frozen_toy(), run_section(), folder, stage="toy")
        for folder in (whole, killed)
    ]
    assert int(ends[0].step) == 400 and same_bits(*ends)
    assert lines(whole) == lines(killed)


def test_the_extraction_recipe(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    steps = train_only.smoke().run.steps
    assert start("train_only.py", whole).wait() == 0
    kill_ten_times("train_only.py", killed, steps=steps)
    ends = [train_only.trained(folder) for folder in (whole, killed)]
    assert int(ends[0].step) == steps and same_bits(*ends)
    assert lines(whole) == lines(killed)
