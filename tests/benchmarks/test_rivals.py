"""Workers take turns, are measured, and their results are compared."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import rivals

WORKER = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {root!r})
from benchmarks.rivals import answer
kind, *words = sys.argv[1:]
folder = Path([w for w in words if w.startswith("--folder=")][0][9:])
turns = folder / "turns.txt"

def call():
    with turns.open("a") as file:
        file.write(kind + " ")
    begin = time.process_time()
    while time.process_time() - begin < (0.05 if kind == "jax" else 0.2):
        pass
    return np.arange(4.0) + (kind == "slow")

answer(call, folder / f"{{kind}}.npy")
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_dearer_one_is_told_from_the_cheaper_one(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(root=str(Path(__file__).parents[2])))
    cores = os.sched_getaffinity(0)
    try:
        report = rivals.compare(
            str(script), ("slow",), torch_python=sys.executable, threads=1, rounds=2,
            folder=tmp_path / "out",
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, cores)
    assert report["torch_over_jax_cpu"] > 2.0
    assert report["difference"] == 1.0
    assert report["output_std"] == pytest.approx(np.arange(4.0).std())
    assert len(report["jax"]["all_cpu"]) == 2 and report["jax"]["peak_gb"] > 0.005
    turns = (tmp_path / "out" / "turns.txt").read_text().split()
    assert turns[-4:] == ["jax", "slow"] * 2
