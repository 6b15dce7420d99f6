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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from extraction import look_up, read_run
from sweep import first_stage, run
from timing import table as markdown

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


INVENTS, MENDS = first_stage("csd.py:asymmetric"), first_stage("csd.py")
ARMS: dict[str, dict[str, Any]] = {
    "none": PLAIN,
    "csd": PLAIN | INVENTS,
    "wrong": PLAIN | INVENTS | {"prompt": WRONG},
    "symmetry": {},
    "symmetry_csd": MENDS,
    "symmetry_wrong": MENDS | {"prompt": WRONG},
}
COLUMNS = (  # heading, where it stands, digits
    ("never seen: Chamfer %", "shape.unseen.chamfer_percent", 2),
    ("F@2%", "shape.unseen.f2", 3),
    ("seen: Chamfer %", "shape.seen.chamfer_percent", 2),
    ("F@2%", "shape.seen.f2", 3),
    ("all: Chamfer %", "shape.chamfer_percent", 2),
    ("F@2%", "shape.f2", 3),
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


def figures(workdir: Path) -> list[float | None] | None:
    """The columns of a finished run; None where it is not."""
    run = read_run(workdir)
    return None if run is None else [look_up(run, at) for _, at, _ in COLUMNS]


def table(runs: Path, arms: Sequence[str], seeds: Sequence[int]) -> str:
    """Means over clips and the spread of the seeds' means, then every run by itself.

    Only clips and seeds that all arms have finished count.
    """
    rows, details = [], []
    found = {
        (arm, seed, name): figures(runs / arm / f"{name}-{seed}")
        for arm in arms
        for seed in seeds
        for name in (f"{color}_{species}" for species, color in ANIMALS)
    }
    whole = {
        (seed, name)
        for _, seed, name in found
        if all(found[arm, seed, name] for arm in arms)
    }
    for arm in arms:
        of_arm = [[found[arm, s, n] for s, n in sorted(whole) if s == k] for k in seeds]
        means = np.array([np.mean(of_seed, axis=0) for of_seed in of_arm if of_seed])
        cells = [_cell(means[:, i], i) for i in range(len(COLUMNS))] if whole else []
        rows.append([arm, *cells, len(whole)])
        for seed, name in sorted(whole):
            cells = [_cell([v], i) for i, v in enumerate(found[arm, seed, name])]
            details.append([f"{arm}: {name}, seed {seed}", *cells, ""])
    return markdown(["arm", *(c[0] for c in COLUMNS), "runs"], rows + details)


def _cell(values: Sequence[float] | np.ndarray, column: int) -> str:
    digits = COLUMNS[column][2]
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


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
