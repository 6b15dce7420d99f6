"""Jobs: which parts of the house work, in which order, for one word of the user.

Without a word a recipe does everything: it trains, exports, renders, evaluates where
the clip has a truth, and writes the report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from adreamer_jax.run import recipe
from adreamer_jax.run.progress import say, timed
from adreamer_jax.run.train import restore, train
from adreamer_jax.types import Clip, Params, System, TrainState


class Model(NamedTuple):
    """A system at work on a clip."""

    stage: str
    clip: Clip
    truth: Any  # None where nothing is known
    system: System
    frozen: Params


def do(job: str, config: ConfigDict, workdir: Path, *, points: str = "") -> None:
    """Do one job of the command line."""
    if job == "train":
        everything(config, workdir)
    elif job == "prepare":
        from adreamer_jax.run.prepare import prepare

        prepare(config, workdir)
    elif job == "sample":
        from adreamer_jax.run.sample import sample

        sample(config, workdir)
    else:
        recipe.check_workdir(config, workdir)
        model = build(config, workdir)
        state = restore(
            model.system, model.frozen, config.run, workdir, stage=model.stage
        )
        jobs(points)[job](model, state, workdir)


def jobs(points: str = "") -> dict[str, Callable]:
    """What can be done with a trained model, by the job's word."""
    return {
        "export": export,
        "render": render,
        "evaluate": evaluate,
        "track": lambda model, state, workdir: track(model, state, workdir, points),
    }


def everything(config: ConfigDict, workdir: Path) -> None:
    """Train (or go on), then make all products afresh."""
    recipe.check_workdir(config, workdir)  # before the clip, which may take long
    model = build(config, workdir)
    state = train(model.system, model.frozen, config.run, workdir, stage=model.stage)
    export(model, state, workdir)
    render(model, state, workdir)
    if model.truth is not None:
        evaluate(model, state, workdir)
    from adreamer_jax.run.report import report

    report(workdir)
    say(f"all products are in {workdir}; open {workdir / 'report.html'}")


def build(config: ConfigDict, workdir: Path) -> Model:
    """The recipe's clip and the system that works on it."""
    from adreamer_jax.systems import animatable

    clip, truth = read(config)
    recipe.remember(config, workdir)  # after the clip: a wrong one leaves nothing
    with timed(f"{clip.name}: reading the clip and building the system"):
        system, frozen = animatable.make(config, clip, Path(workdir) / "cache")
    return Model(config.run.get("stage", "extract"), clip, truth, system, frozen)


def read(config: ConfigDict) -> tuple[Clip, Any]:
    """The clip that a recipe names, else the embedded one, and its truth if any."""
    if config.data.clip:
        from adreamer_jax.data.clip import read_clip, read_truth

        folder = Path(config.data.clip).expanduser()
        return read_clip(folder), read_truth(folder)
    from adreamer_jax.data.embedded import embedded_clip

    return embedded_clip()


def export(model: Model, state: TrainState, workdir: Path) -> None:
    """Write the model as files that other programs read."""
    from adreamer_jax.run.export import export

    with timed("export"):
        export(model.system, state, model.frozen, workdir, model.stage)


def render(model: Model, state: TrainState, workdir: Path) -> None:
    """Write the videos."""
    from adreamer_jax.run.render import render

    with timed("videos"):
        render(model.system, state, model.frozen, model.clip, workdir)


def evaluate(model: Model, state: TrainState, workdir: Path) -> None:
    """Write evaluation.json."""
    from adreamer_jax.run.evaluate import evaluate

    with timed("evaluation"):
        evaluate(model.system, state, model.frozen, model.clip, model.truth, workdir)


def track(model: Model, state: TrainState, workdir: Path, points: str) -> None:
    """Write track.json: where given surface points are in every frame."""
    from adreamer_jax.run.track import track

    if not points:
        raise ValueError(
            '--points must name a file {"frames": {"0": [[x, y], ...]}}, got nothing; '
            "write --points=points.json"
        )
    track(model.system, state, model.frozen, model.clip, points, workdir)
