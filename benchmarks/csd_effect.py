"""What canonical score distillation does for the side that no camera saw.

    python benchmarks/csd_effect.py RUNS --arms=none,csd --seeds=0
    python benchmarks/csd_effect.py RUNS --table --arms=none,csd,wrong --seeds=0,1,2

Clips of zoo animals whose species, pose and color the prior never saw together, a
quarter turn of the camera about one side, noisy cameras. Every arm of every clip and
seed is a work folder RUNS/<arm>/<clip>-<seed>; what is finished is not run again. The
controls: no prior, a wrong caption, symmetry alone. Another prior, one in training for
example, is --prior=FOLDER.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

# species and color, walking: kept from the prior's training (a test asks the rule)
ANIMALS = (
    ("horse", "orange"),
    ("cow", "blue"),
    ("giraffe", "pink"),
    ("bear", "turquoise"),
    ("penguin", "white"),
    ("dog", "red"),
)
WRONG = "a green crocodile walking"
PLAIN = {"scene.field.symmetric": False}
CSD = {"loss.csd": 4.0}  # benchmarks/results/csd.md: more helped more
ARMS: dict[str, dict[str, Any]] = {
    "none": PLAIN,
    "csd": PLAIN | CSD,
    "wrong": PLAIN | CSD | {"prompt": WRONG},
    "symmetry": {},
    "symmetry_csd": CSD,
    "symmetry_wrong": CSD | {"prompt": WRONG},
}
COLUMNS = (  # heading, where it stands, digits
    ("never seen: Chamfer %", ("shape", "unseen", "chamfer_percent"), 2),
    ("F@2%", ("shape", "unseen", "f2"), 3),
    ("seen: Chamfer %", ("shape", "seen", "chamfer_percent"), 2),
    ("F@2%", ("shape", "seen", "f2"), 3),
    ("all: Chamfer %", ("shape", "chamfer_percent"), 2),
    ("F@2%", ("shape", "f2"), 3),
)


def clip_folder(runs: Path, animal: tuple[str, str]) -> Path:
    """The folder of an animal's clip, made where it is not there."""
    from adreamer_jax.data.embedded import embedded_clip, write_embedded

    species, color = animal
    folder = runs / "clips" / f"{color}_{species}"
    if not (folder / "clip.json").is_file():
        made = embedded_clip(seed=11, species=species, color=color, pose="walking")
        write_embedded(made[0], folder, made[1])
    return folder


def figures(workdir: Path) -> list[float] | None:
    """The columns of a finished run; None where it is not."""
    path = workdir / "evaluation.json"
    if not path.is_file():
        return None
    row = []
    for _, names, _ in COLUMNS:
        at = json.loads(path.read_text())
        for name in names:
            at = at[name]
        row.append(at)
    return row


def table(runs: Path, arms: Sequence[str], seeds: Sequence[int]) -> str:
    """Means over clips and seeds and the spread of the seeds' means, an arm a row.

    Only clips and seeds that all arms have finished count.
    """
    pairs = [(f"{color}_{species}", s) for species, color in ANIMALS for s in seeds]
    found = {arm: [figures(runs / arm / f"{n}-{s}") for n, s in pairs] for arm in arms}
    whole = [i for i in range(len(pairs)) if all(found[arm][i] for arm in arms)]
    headings = [heading for heading, _, _ in COLUMNS]
    lines = [["arm", *headings, "runs"], ["---"] * (len(headings) + 2)]
    for arm in arms:
        cells = []
        for column, (_, _, digits) in enumerate(COLUMNS):
            by_seed: dict[int, list[float]] = {}
            for i in whole:
                by_seed.setdefault(pairs[i][1], []).append(found[arm][i][column])
            means = [float(np.mean(v)) for v in by_seed.values()]
            cell = f"{np.mean(means):.{digits}f}" if means else ""
            if len(means) > 1:
                cell += f" ± {np.std(means, ddof=1):.{digits}f}"
            cells.append(cell)
        lines.append([arm, *cells, str(len(whole))])
    for i in whole:
        name = f"{pairs[i][0]}, seed {pairs[i][1]}: "
        lines += [[name + arm, *_digits(found[arm][i]), ""] for arm in arms]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _digits(row: Sequence[float]) -> list[str]:
    pairs = zip(row, COLUMNS, strict=True)
    return [f"{value:.{digits}f}" for value, (_, _, digits) in pairs]


def main() -> None:
    """Run what is asked one after the other, or print the table of what is there."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("runs", type=Path)
    words.add_argument("--arms", default=",".join(ARMS))
    words.add_argument("--seeds", default="0")
    words.add_argument("--only", default="", help="species, as horse,dog")
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--table", action="store_true", help="print, run nothing")
    words.add_argument("--size", default="default")
    asked = words.parse_args()
    arms = asked.arms.split(",")
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    if asked.table:
        print(table(asked.runs, arms, seeds))
        return
    from sweep import run

    from adreamer_jax.run import devices

    devices.set_backend(devices.CACHE)
    for seed in seeds:
        for animal in ANIMALS:
            if asked.only and animal[0] not in asked.only.split(","):
                continue
            clip = clip_folder(asked.runs, animal)
            for arm in arms:
                workdir = asked.runs / arm / f"{clip.name}-{seed}"
                if figures(workdir) is None:
                    changes = ARMS[arm] | {"run.seed": seed, "prior.name": asked.prior}
                    run(changes, str(clip), asked.size, workdir)
                print(arm, clip.name, seed, figures(workdir), flush=True)


if __name__ == "__main__":
    main()
