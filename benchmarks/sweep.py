"""Train, export and evaluate arms of a recipe on clips, without videos and pages.

    python benchmarks/sweep.py RUNS --clips=DIR/husky,DIR/fox --arms=full,no_flow
    python benchmarks/extraction.py DIR RUNS/full        the table of an arm

Every pair of arm and clip is a work folder RUNS/<arm>/<clip>, trained by the same code
as main.py; a finished or interrupted one goes on where it was. The clip "embedded" is
the one that needs no folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from adreamer_jax.run.recipe import flatten, load_recipe

EMBEDDED = "embedded"


def first_stage(recipe: str) -> dict[str, Any]:
    """What distillation does in the first stage of a recipe."""
    values = flatten(load_recipe(recipe).to_dict())
    asked = ("loss.csd", "ramp.csd")
    return {n: x for n, x in values.items() if n in asked or n.startswith("csd.")}


ARMS: dict[str, dict[str, Any]] = {
    "full": {},
    "seed1": {"run.seed": 1},
    "seed2": {"run.seed": 2},
    "csd": first_stage("csd.py"),
    # the same compiled program with a prior that never speaks: other programs round
    # otherwise, which alone moves an animal by a tenth of a percent
    "csd_silent": first_stage("csd.py") | {"ramp.csd": ((0.0, 0.0), (1.0, 0.0))},
    "csd_seed1": first_stage("csd.py") | {"run.seed": 1},
    "csd_seed2": first_stage("csd.py") | {"run.seed": 2},
    "no_symmetry": {"scene.field.symmetric": False},
    # poses alone: the clip's focal length stays known
    "no_cameras": {"data.cameras": "searched"},
    "constant_pose": {"data.cameras": "constant"},
    "no_flow": {"loss.flow": 0.0},
    "matching": {"loss.match": 0.2, "loss.feature": 0.02},
    "no_cycle": {"loss.cycle": 0.0},
    "no_parallax": {"loss.parallax": 0.0},
    "no_rank": {"loss.motion_rank": 0.0},
    "bones_25": {"scene.bones.count": 25},
    "no_gap": {"scene.field.gap": 0.0},
    "no_neighbor": {"loss.neighbor": 0.0},
    "ellipsoid": {"scene.field.stance": 2.0},
    "zero_level": {"run.mesh_level": 0.0},
    "rigid": {"optimizer.rates.motion": 0.0, "optimizer.rates.bones": 0.0},
    "linear_blend": {"scene.warp.blend": "lbs"},
    "delta_skin": {"scene.skin.delta": True},
    "longer": {"run.steps": 2000, "run.rigid": 600},
    # for clips whose cameras are the truth
    "exact": {"data.cameras": "given", "optimizer.rates.camera": 0.0},
    "time_network": {"scene.bones.motion": "mlp", "scene.pose.motion": "mlp"},
}


def recipe_of(changes: dict[str, Any], clip: str, size: str) -> Any:
    """The extraction recipe with an arm's changes."""
    config = load_recipe(f"extract.py:{size}")
    config.data.clip = "" if clip == EMBEDDED else clip
    config.update_from_flattened_dict(changes)
    return config


def run(changes: dict[str, Any], clip: str, size: str, workdir: Path) -> dict[str, Any]:
    """One arm on one clip; what its evaluation says."""
    from adreamer_jax.run import pipeline, recipe
    from adreamer_jax.run.train import train

    config = recipe_of(changes, clip, size)
    recipe.remember(config, workdir)
    started, spent = time.monotonic(), time.process_time()
    model = pipeline.build(config, workdir, *pipeline.read(config))
    state = train(model.system, model.frozen, config.run, workdir, stage=model.stage)
    pipeline.export(model, state, workdir)
    pipeline.evaluate(model, state, workdir)
    used = {
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - spent,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }
    (workdir / "resources.json").write_text(json.dumps(used) + "\n")
    return json.loads((workdir / "evaluation.json").read_text())


def main() -> None:
    """Run all pairs one after the other."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("runs", type=Path)
    words.add_argument("--clips", required=True)
    words.add_argument("--arms", default="full")
    words.add_argument("--size", default="default")
    asked = words.parse_args()

    from adreamer_jax.run import devices

    devices.set_backend(devices.CACHE)
    for arm in asked.arms.split(","):
        for clip in asked.clips.split(","):
            workdir = asked.runs / arm / Path(clip).name
            found = run(ARMS[arm], clip, asked.size, workdir)
            print(arm, Path(clip).name, json.dumps(found)[:2000], flush=True)


if __name__ == "__main__":
    main()
