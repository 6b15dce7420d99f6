"""Ten kills of a real run at random moments, in one pass that nobody watches.

    python benchmarks/kill.py --config=configs/extract.py:smoke --out=runs/kill

The recipe runs once unbroken. Then the same command starts in another folder, is killed
(SIGKILL) after a random time and started again, ten times over; a run that came to its
end in spite of it is followed by a fresh one. All must end with the same parameters,
the same logged numbers and the same products, byte for byte. Prints where each kill
fell and what differs; exit code 1 if anything does.
"""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOCK = ("wall", "time/step_ms")  # what no two runs share


def command(config: str, workdir: Path) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "main.py")),
        *(
            f"--config={config}",
            f"--workdir={workdir}",
            f"--cache={workdir.parent / 'xla'}",
        ),
    ]


def run(words: list[str], log: Path, seconds: float | None = None) -> int | None:
    """Exit code of a command, or None where it was killed after some seconds."""
    with log.open("a") as file:
        process = subprocess.Popen(words, cwd=ROOT, stderr=file, stdout=file)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return None


def lines(workdir: Path) -> list[dict]:
    """The logged numbers but for the clock; a half line is left out."""
    found = []
    path = workdir / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        found.append({k: v for k, v in values.items() if k not in CLOCK})
    return found


def reached(workdir: Path, log: Path) -> str:
    """Where a run stood: its last logged step and the last line that it said."""
    steps = [f"{m['stage']} {m['step']}" for m in lines(workdir)]
    said = log.read_text().split("\n") if log.exists() else [""]
    spoken = [line for line in said if line.strip()] or ["nothing said"]
    return f"{steps[-1] if steps else 'before the first step'}; {spoken[-1][:70]}"


def digests(workdir: Path) -> dict[str, str]:
    """A digest of every product of a run, and of its last states bit for bit."""
    found = {}
    for part in ("export", "pictures", "videos", "evaluation.json", "config.json"):
        top = workdir / part
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in files:
            if path.is_file():
                name = str(path.relative_to(workdir))
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found | {f"state of {k}": v for k, v in states(workdir).items()}


def states(workdir: Path) -> dict[str, str]:
    """A digest of the newest state of every stage, leaf by leaf."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    found = {}
    for folder in sorted((workdir / "checkpoints").iterdir()):
        manager = ocp.CheckpointManager(folder.absolute())
        tree = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(tree):
            digest.update(np.asarray(leaf).tobytes())
        found[folder.name] = digest.hexdigest()
        manager.close()
    return found


def differences(whole: Path, killed: Path) -> list[str]:
    """What two finished runs do not have in common."""
    a, b = digests(whole), digests(killed)
    wrong = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return wrong + ["metrics.jsonl"] * (lines(whole) != lines(killed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/extract.py:smoke")
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True)  # never in an old folder
    out, config = options.out.absolute(), options.config

    begin = time.monotonic()
    if run(command(config, out / "whole"), out / "whole.log") != 0:
        print(f"the unbroken run failed, see {out / 'whole.log'}")
        return 1
    duration = time.monotonic() - begin
    print(f"unbroken: {duration:.0f} s, {len(digests(out / 'whole'))} files and states")
    draw, kills, wrong, ends = random.Random(options.seed), 0, [], 0
    while not wrong:
        killed, log = out / f"killed_{ends}", out / f"killed_{ends}.log"
        # in this time a fresh run comes halfway; the last one is left alone
        wait = draw.uniform(0.02, 0.6) * duration if kills < options.kills else None
        code = run(command(config, killed), log, wait)
        if code is None:
            kills += 1
            print(f"kill {kills:2d}, {wait:5.1f} s: {reached(killed, log)}", flush=True)
            continue
        ends += 1  # the next kill meets a run that begins anew
        wrong = differences(out / "whole", killed) if code == 0 else [f"code {code}"]
        print(f"an end after {kills} kills: {', '.join(wrong) or 'the same'}")
        if kills == options.kills:
            break
    print(f"differs: {', '.join(wrong)}" if wrong else "the same end, bit for bit")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
