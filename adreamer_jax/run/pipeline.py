"""Jobs: which parts of the house work, in which order, for one word of the user.

Without a word a recipe does everything: it trains, exports, renders, evaluates (with
more figures where the clip has a truth), and writes the report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from adreamer_jax.run import recipe
from adreamer_jax.run.lock import alone
from adreamer_jax.run.progress import say, timed
from adreamer_jax.run.train import restore, train
from adreamer_jax.types import Clip, Params, System, TrainState


class Model(NamedTuple):
    """A system at work on a clip."""

    stage: str
    clip: Clip
    truth: Callable  # () -> the clip's truth or None; training never calls it
    system: System
    frozen: Params
    run: Any  # the recipe's section


def do(job: str, config: ConfigDict, workdir: Path, *, points: str = "") -> None:
    """Do one job of the command line."""
    if job in WITHOUT_MODEL:
        WITHOUT_MODEL[job](config, workdir)
        return
    recipe.check_workdir(config, workdir)
    clip, truth = read(
        config
    )  # before anything is written: a wrong clip leaves nothing
    with alone(workdir):
        recipe.remember(config, workdir)
        model = build(config, workdir, clip, truth)
        if job == "train":
            everything(model, config, workdir)
        else:
            jobs(points)[job](model, trained(model, config, workdir), workdir)


def prepare(config: ConfigDict, workdir: Path) -> None:
    """Make a clip folder out of a video or a folder of images."""
    from adreamer_jax.run.prepare import prepare

    prepare(config, workdir)


def sample(config: ConfigDict, workdir: Path) -> None:
    """Draw pictures from the prior alone."""
    from adreamer_jax.run.sample import sample

    sample(config, workdir)


WITHOUT_MODEL = {"prepare": prepare, "sample": sample}


def jobs(points: str = "") -> dict[str, Callable]:
    """What can be done with a trained model, by the job's word."""
    return {
        "export": export,
        "render": render,
        "evaluate": evaluate,
        "track": lambda model, state, workdir: track(model, state, workdir, points),
    }


def everything(model: Model, config: ConfigDict, workdir: Path) -> None:
    """Train (or go on), then make all products afresh."""
    state = train(model.system, model.frozen, config.run, workdir, stage=model.stage)
    asset, skeleton = export(model, state, workdir)
    render(model, state, workdir, asset=asset, skeleton=skeleton)
    evaluate(model, state, workdir)
    from adreamer_jax.run.report import report

    with timed("report"):
        report(workdir)
    say(f"all products are in {workdir}; open {workdir / 'report.html'}")


def trained(model: Model, config: ConfigDict, workdir: Path) -> TrainState:
    """The newest state of a run, for jobs that only read it."""
    return restore(model.system, model.frozen, config.run, workdir, stage=model.stage)


def read(config: ConfigDict) -> tuple[Clip, Callable]:
    """The clip that a recipe names, else the embedded one, and how to get its truth."""
    name = recipe.clip_of(config)
    if name:
        from adreamer_jax.data.clip import read_clip, read_truth

        folder = Path(name).expanduser()
        return read_clip(folder), lambda: read_truth(folder)
    from adreamer_jax.data.embedded import embedded_clip

    clip, truth = embedded_clip()
    return clip, lambda: truth


def build(config: ConfigDict, workdir: Path, clip: Clip, truth: Callable) -> Model:
    """The system that works on a clip."""
    from adreamer_jax.systems import animatable

    say(f"{clip.name}: {len(clip.images)} frames, cameras {clip.cameras}")
    with timed("building the system"):
        system, frozen = animatable.make(config, clip, Path(workdir) / "cache")
    run: Any = config.run
    return Model(run.get("stage", "extract"), clip, truth, system, frozen, run)


def export(model: Model, state: TrainState, workdir: Path) -> tuple:
    """Write the model as files that other programs read; the asset and its skeleton."""
    from adreamer_jax.run.export import export

    with timed("export"):
        return export(model.system, state, model.frozen, workdir, model.stage)


def render(model: Model, state: TrainState, workdir: Path, **made: Any) -> None:
    """Write the videos; what `export` has made need not be made again."""
    from adreamer_jax.run.render import render

    with timed("videos"):
        sides = {
            name: model.run[name]
            for name in ("video_side", "picture_side")
            if name in model.run
        }
        render(model.system, state, model.frozen, model.clip, workdir, **made, **sides)


def evaluate(model: Model, state: TrainState, workdir: Path) -> None:
    """Write evaluation.json."""
    from adreamer_jax.run.evaluate import EVERY, evaluate

    with timed("evaluation"):
        evaluate(
            model.system,
            state,
            model.frozen,
            model.clip,
            model.truth(),
            workdir,
            every=model.run.get("evaluate_every", EVERY),
        )


def track(model: Model, state: TrainState, workdir: Path, points: str) -> None:
    """Write track.json: where given surface points are in every frame."""
    from adreamer_jax.run.track import track

    if not points:
        raise ValueError(
            '--points must name a file {"frames": {"0": [[x, y], ...]}}, got nothing; '
            "write --points=points.json"
        )
    track(model.system, state, model.frozen, model.clip, points, workdir)
