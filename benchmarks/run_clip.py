"""Run a recipe on one clip and note what it took: seconds, processor seconds, memory.

    python benchmarks/run_clip.py CLIP --workdir=RUN --cores=0 -- --config.run.seed=1

All words after `--` go to main.py. The run is pinned to the given processor cores, so
that runs side by side do not slow each other down. `resources.json` in the work folder
adds up over resumed runs; the memory is the highest of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAIN = Path(__file__).parents[1] / "main.py"


def measured(
    command: Sequence[str], *, cores: set[int] | None = None, log: Path | None = None
) -> dict[str, Any]:
    """Run a command on some cores; give its exit code and what it took."""
    start = time.monotonic()
    out = log.open("ab") if log else None
    try:
        child = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT if out else None,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        if out:
            out.close()
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "wall_seconds": time.monotonic() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What an interrupted run took in all: times add up, memory is the highest."""
    out = dict(now)
    for name in ("wall_seconds", "cpu_seconds"):
        out[name] = before.get(name, 0.0) + now[name]
    out["peak_mib"] = max(before.get("peak_mib", 0.0), now["peak_mib"])
    return out


def run_clip(
    clip: str,
    workdir: Path,
    *,
    config: str = "configs/extract.py",
    cores: set[int] | None = None,
    overrides: Sequence[str] = (),
    main: Path = MAIN,
) -> dict[str, Any]:
    """Run a recipe on a clip ("": the embedded one); write and give resources.json."""
    words = [sys.executable, str(main), f"--config={config}", f"--workdir={workdir}"]
    words += [f"--config.data.clip={clip}"] if clip else []
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "resources.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    now = measured([*words, *overrides], cores=cores, log=workdir / "output.txt")
    now = merged(before, now) | {"cores": sorted(cores or []), "command": words[2:]}
    now["command"] += list(overrides)
    path.write_text(json.dumps(now, indent=1) + "\n")
    return now


def parse_cores(text: str) -> set[int] | None:
    """Core numbers of "0,2"; None for an empty text: wherever the system puts it."""
    return {int(core) for core in text.split(",")} if text else None


def main(argv: Sequence[str]) -> int:
    """The command line."""
    argv, overrides = list(argv), []
    if "--" in argv:
        at = argv.index("--")
        argv, overrides = argv[:at], argv[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", help='clip folder; "" for the embedded clip')
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--config", default="configs/extract.py")
    parser.add_argument("--cores", default="", help="core numbers, as 0 or 0,1")
    given = parser.parse_args(argv)
    took = run_clip(
        given.clip,
        given.workdir,
        config=given.config,
        cores=parse_cores(given.cores),
        overrides=overrides,
    )
    print(json.dumps(took))
    return took["exit_code"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
