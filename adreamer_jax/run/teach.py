"""Jobs of the small networks that ship with the package: they are trained and written.

They run on the same floor as a model of a clip (checkpoints, log, lock, recipe), and
what comes out is a folder of weights instead of a mesh.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from adreamer_jax.run import recipe
from adreamer_jax.run.lock import alone
from adreamer_jax.run.progress import say, timed
from adreamer_jax.run.train import restore, train

STUDENTS = {
    "pocket": "adreamer_jax.systems.pocket",
    "judge": "adreamer_jax.systems.pocket.judge",
    "examiner": "adreamer_jax.systems.pocket.examiner",
}


def is_student(config: ConfigDict) -> bool:
    """Whether a recipe trains one of the shipped networks."""
    return config.to_dict().get("run", {}).get("stage") in STUDENTS


def teach(job: str, config: ConfigDict, workdir: Path) -> None:
    """Train and write (`train`), or write what the newest checkpoint holds (`export`).

    An export only reads, so it may be asked for while training goes on.
    """
    if job not in ("train", "export"):
        raise ValueError(
            f"--job must be train or export for this recipe, got {job}; a trained "
            "prior is looked at by --config=configs/sample.py"
        )
    run: Any = config.run
    stage = run.stage
    student = import_module(STUDENTS[stage])
    recipe.check_workdir(config, workdir)
    with timed("the first sets"):
        system, frozen = student.make(config, Path(workdir) / "cache")
    if job == "train":
        with alone(workdir):
            recipe.remember(config, workdir)
            state = train(system, frozen, run, workdir, stage=stage)
    else:
        state = restore(system, frozen, run, workdir, stage=stage)
    folder = student.write(config, state, Path(workdir) / "export" / stage)
    say(f"weights after {int(state.step)} steps are in {folder}")
