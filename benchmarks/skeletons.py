"""Does a skeleton stay inside of its body, and what does that ask of its tree?

    python benchmarks/skeletons.py RUNS/husky_arc RUNS/fox_arc ...

For every finished extraction: how far the ways between bones that the exported tree
links leave the body (r.m.s. over the clip, in percent of the rest box's diagonal; mean
and largest over the links), where the way counts (`outside`, the default) and where it
does not, and how many bones hang elsewhere. Opening a run reads its clip.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.types import Float

HEAD = ("run", "links", "mean %", "largest %", "mean % without", "largest % without",
        "hang elsewhere")  # fmt: skip


def outside_of_links(asset: Any, skeleton: Any) -> Float[np.ndarray, "links"]:
    """How far the way of every link of a tree leaves the body, % of the diagonal."""
    from adreamer_jax.scene.skeleton_strength import way_outside

    body = asset.vertices, asset.faces, asset.weights, skeleton.middle, skeleton.joints
    far = way_outside(*body, np.asarray(asset.posed_from_rest, float))
    linked = np.flatnonzero((skeleton.parent >= 0) & skeleton.alive)
    return 100 * far[linked, skeleton.parent[linked]] / skeleton.diagonal


def row(workdir: Path) -> list[Any]:
    """The figures of one run."""
    from adreamer_jax.run import pipeline, stages
    from adreamer_jax.run.export import asset_skeleton

    config = stages.reopened(workdir)
    model = pipeline.build(config, workdir, *pipeline.read(config), stage="extract")
    asset = model.system.asset(pipeline.trained(model, workdir), model.frozen)
    kept, free = asset_skeleton(asset), asset_skeleton(asset, outside=0.0)
    inside, without = (outside_of_links(asset, s) for s in (kept, free))
    return [
        workdir.name,
        len(inside),
        *(f"{x:.2f}" for x in (inside.mean(), inside.max())),
        *(f"{x:.2f}" for x in (without.mean(), without.max())),
        int(np.sum(kept.parent != free.parent)),
    ]


def main() -> None:
    """Print a row a run."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("runs", type=Path, nargs="+")
    asked = words.parse_args()

    from adreamer_jax.run import devices

    devices.set_backend(devices.CACHE)
    print(table(HEAD, [row(run) for run in asked.runs]))


if __name__ == "__main__":
    main()
