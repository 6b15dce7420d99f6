"""Programs that do the same work in processes of their own and take turns.

A busy machine then slows all of them. Every script that compares starts itself as a
worker, once for each rival; times are CPU seconds of that process, memory is its peak
resident set during the calls.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def answer(call: Callable[[], np.ndarray], path: Path) -> None:
    """Be a worker: answer every line on stdin by one call and what it cost.

    The result of the first call, which warms caches up, is kept in a file.
    """
    np.save(path, call())
    at_rest = reset_peak()
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        row = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "peak_gb": resident_gb("VmHWM"),
            "call_gb": resident_gb("VmHWM") - at_rest,
        }
        print(json.dumps(row), flush=True)


def reset_peak() -> float:
    """Give back what loading and compiling left over; the GB that are then held."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident_gb("VmRSS")


def resident_gb(name: str) -> float:
    """Resident memory of this process in GB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError(f"/proc/self/status must have {name}; run this on Linux")


def start(
    script: str, kind: str, python: str, threads: int, words: Sequence[str]
) -> subprocess.Popen:
    """Start one worker on as many threads as there are cores for it."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false" if threads == 1 else "",
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [python, script, kind, *words],
        stdin=pipe, stdout=pipe, text=True, env=environment,
    )  # fmt: skip


def ask(worker: subprocess.Popen) -> dict[str, float]:
    """What one call of a worker cost."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def compare(
    script: str,
    kinds: Sequence[str],
    *,
    torch_python: str,
    threads: int,
    rounds: int,
    folder: Path,
    words: Sequence[str] = (),
) -> dict[str, Any]:
    """Minima of the costs, how many times dearer the best rival is, and by how much the
    results differ.

    JAX (kind "jax") takes turns with every rival of ``kinds``, which run in
    ``torch_python``; worker k leaves its result as ``folder``/k.npy.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    folder.mkdir(parents=True, exist_ok=True)
    words = [*words, f"--threads={threads}", f"--folder={folder}"]
    rows: dict[str, list] = {"jax": []} | {kind: [] for kind in kinds}
    first = start(script, "jax", sys.executable, threads, words)
    for kind in kinds:
        worker = start(script, kind, torch_python, threads, words)
        for _ in range(rounds):
            rows["jax"].append(ask(first))
            rows[kind].append(ask(worker))
        worker.communicate()
    first.communicate()
    report: dict[str, Any] = {"threads": threads, "rounds": rounds}
    for kind, measured in rows.items():
        report[kind] = {
            name: round(min(row[name] for row in measured), 3) for name in measured[0]
        }
        report[kind]["all_cpu"] = [round(row["cpu"], 2) for row in measured]
    for name in ("cpu", "peak_gb", "call_gb"):
        best = min(report[kind][name] for kind in kinds)
        ours = max(report["jax"][name], 1e-3)  # no less than what is printed
        report[f"torch_over_jax_{name}"] = round(best / ours, 3)
    found, wanted = (np.load(folder / f"{k}.npy") for k in ("jax", kinds[0]))
    report["difference"] = float(np.abs(found - wanted).max())
    report["output_std"] = float(wanted.std())
    return report
