"""Jobs: which parts of the house work, in which order, for one word of the user.

Without a word a recipe does everything: it trains its stages one after the other,
exports, renders, evaluates (with more figures where the clip has a truth), and writes
the report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from adreamer_jax.run import parallel, recipe
from adreamer_jax.run.devices import hand_back_memory
from adreamer_jax.run.lock import alone
from adreamer_jax.run.progress import say, timed
from adreamer_jax.run.stages import (
    EXTRACT,
    GENERATE,
    chosen,
    finished,
    label,
    reopened,
    resolved,
    source_of,
    stages_of,
    steps_done,
)
from adreamer_jax.run.teach import is_student, teach
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
    label: str = ""  # stands before the names of its pictures and videos
    skeleton: Any = None  # the one that is kept; None: each asset grows its own
    judged: Any = (
        None  # generation: its prompt, and by whom and among what it is judged
    )


def do(
    job: str,
    config: ConfigDict,
    workdir: Path,
    *,
    points: str = "",
    stage: str = "",
    pose: str = "",
) -> None:
    """Do one job of the command line."""
    if job in WITHOUT_MODEL:
        WITHOUT_MODEL[job](config, workdir)
        return
    if is_student(config):
        teach(job, config, workdir)
        return
    recipe.check_workdir(config, workdir, whole=job == "train")
    whole = resolved(config)
    one = partial(chosen, config, workdir, stage, filmed=job == "track")
    stages = (one(),) if job != "train" else stages_of(config)
    clip, truth = read(whole)  # before anything is written: a wrong clip leaves nothing
    with alone(workdir / parallel.own_folder()):
        if job == "train":
            if parallel.is_first():
                recipe.remember(config, workdir)
                recipe.remember_clip(whole, workdir, content_of(clip))
            everything(whole, workdir, clip, truth)
            return
        model = build(whole, workdir, clip, truth, stage=stages[0])
        jobs(points, pose)[job](model, trained(model, workdir), workdir)


def prepare(config: ConfigDict, workdir: Path) -> None:
    """Make a clip folder out of a video or a folder of images."""
    from adreamer_jax.run.prepare import prepare

    prepare(config, workdir)


def sample(config: ConfigDict, workdir: Path) -> None:
    """Draw pictures from the prior alone."""
    from adreamer_jax.run.sample import sample

    sample(config, workdir)


def ablate(config: ConfigDict, workdir: Path) -> None:
    """Run a recipe with parts taken away, one at a time."""
    from adreamer_jax.run.ablate import ablate

    ablate(config, workdir)


WITHOUT_MODEL = {"prepare": prepare, "sample": sample, "ablate": ablate}


def jobs(points: str = "", pose: str = "") -> dict[str, Callable]:
    """What can be done with a trained model, by the job's word."""
    return {
        "export": export,
        "render": render,
        "evaluate": evaluate,
        "track": lambda model, state, workdir: track(model, state, workdir, points),
        "pose": lambda model, state, workdir: posed(model, state, workdir, pose),
        "view": view,
    }


def everything(config: ConfigDict, workdir: Path, clip: Clip, truth: Callable) -> None:
    """Train (or go on), then make all products afresh.

    A run that goes on in its second stage leaves the products of its first as they
    are; one that had ended before refreshes all.
    """
    stages = stages_of(config)
    refresh = all(finished(config, workdir, stage) for stage in stages)
    for stage in stages:
        ended = finished(config, workdir, stage)
        model = build(config, workdir, clip, truth, stage=stage)
        state = train(model.system, model.frozen, model.run, workdir, stage=stage)
        mine = parallel.is_first()  # of several processes one makes the products
        if mine and (refresh or not (ended and complete(model, workdir))):
            products(model, state, workdir)
            report(workdir)
        del model, state
        if stage != stages[-1]:
            jax.clear_caches()  # programs that no later stage runs take memory
            hand_back_memory()
    say(f"all products are in {workdir}; open {workdir / 'report.html'}")


def complete(model: Model, workdir: Path) -> bool:
    """Whether the last one of a stage's pictures is there, and then its figures."""
    if not (workdir / "pictures" / f"{model.label}skinning.png").is_file():
        return False
    path = workdir / "evaluation.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return any((stage == GENERATE) == (model.stage == GENERATE) for stage in known)


def products(model: Model, state: TrainState, workdir: Path) -> None:
    """Export, render, evaluate."""
    asset, skeleton = export(model, state, workdir)
    render(model, state, workdir, asset=asset, skeleton=skeleton)
    evaluate(model, state, workdir)


def report(workdir: Path) -> None:
    """Write the page that shows all of it."""
    from adreamer_jax.run.report import report

    with timed("report"):
        report(workdir)


def trained(model: Model, workdir: Path) -> TrainState:
    """The newest state of a run, for jobs that only read it."""
    return restore(model.system, model.frozen, model.run, workdir, stage=model.stage)


def read(config: ConfigDict) -> tuple[Clip, Callable]:
    """The clip that a recipe names, else the embedded one, and how to get its truth."""
    name = recipe.clip_of(config)
    if name:
        from adreamer_jax.data.clip import read_clip, read_truth

        folder = Path(name).expanduser()
        return read_clip(folder), lambda: read_truth(folder)
    from adreamer_jax.data.embedded import embedded_clip

    shape = config.to_dict().get("data", {}).get("embedded", {})
    clip, truth = embedded_clip(**shape)
    return clip, lambda: truth


def build(
    config: ConfigDict,
    workdir: Path,
    clip: Clip,
    truth: Callable,
    *,
    stage: str = EXTRACT,
) -> Model:
    """The system of a stage that works on a clip."""
    make = build_generation if stage == GENERATE else build_extraction
    say(f"{clip.name}: {len(clip.images)} frames, cameras {clip.cameras}")
    return make(config, workdir, clip, truth)._replace(
        stage=stage, label=label(config, stage)
    )


def content_of(clip: Clip) -> str:
    """What training reads of a clip's arrays, as a short hash."""
    from adreamer_jax.data.cache import content_hash

    cameras = (clip.camera_from_object, clip.intrinsics)
    return content_hash(clip.images, clip.masks, *cameras, clip.cameras)


def build_extraction(
    config: ConfigDict, workdir: Path, clip: Clip, truth: Callable
) -> Model:
    """The first stage: the clip alone says what is learned."""
    from adreamer_jax.systems import animatable

    recipe.check_clip(config, workdir, content_of(clip))
    cache = Path(workdir) / "cache"
    with timed("building the system"):
        clip = with_first_cameras(config, clip, cache)
        system, frozen = animatable.make(config, clip, cache)
    return Model(EXTRACT, clip, truth, system, frozen, config.run)


def with_first_cameras(config: Any, clip: Clip, cache: Path) -> Clip:
    """The clip with the cameras that training starts from, if they are searched.

    A second stage stands on the same ones, in whatever folder it works.
    """
    if "cameras" not in config.data:  # another method's system may not search
        return clip
    from adreamer_jax.systems.animatable.clipdata import with_cameras

    return with_cameras(config, clip, cache)


def only_read(config: Any) -> Any:
    """The recipe of a first stage that trains no more: any prior will do for that."""
    still = config.copy_and_resolve_references()
    if "csd" in still:  # another method's system may have no distillation
        still.csd.shown_deg = 0.0
    return still


def build_generation(config: Any, workdir: Path, clip: Clip, truth: Callable) -> Model:
    """The second stage, on what the first one has left in its own folder."""
    from adreamer_jax.run.export import asset_skeleton
    from adreamer_jax.systems.animatable import generation

    folder = Path(source_of(config) or workdir).expanduser()
    host = build_extraction(only_read(config), folder, clip, truth)
    check_extracted(folder, host.run.steps)
    with timed("reading the extracted model"):
        state = trained(host, folder)
        check_steps(folder, int(state.step), host.run.steps)
        if config.generate.motion:
            host, state = borrowed(config.generate.motion, state)
        skeleton = asset_skeleton(host.system.asset(state, host.frozen))
    recipe_of_stage = generation.stage_config(config)
    with timed("building the system"):
        system, frozen = generation.make_generation(
            recipe_of_stage,
            host.clip,
            Path(workdir) / "cache",
            state.params,
            skeleton,
            front=state.upkeep.get("front"),
        )
    judged = {
        "prompt": config.generate.prompt,
        "judge": config.generate.judge.name,
        "among": config.generate.judge.among,
    }
    return Model(
        GENERATE,
        host.clip,
        host.truth,
        system,
        frozen,
        recipe_of_stage.run,
        skeleton=skeleton,
        judged=judged,
    )


def check_extracted(folder: Path, steps: int) -> None:
    """Refuse to start from an extraction that is not at its end."""
    check_steps(folder, steps_done(folder, EXTRACT), steps)


def check_steps(folder: Path, done: int, steps: int) -> None:
    """Refuse an extraction that has done fewer steps than its recipe says."""
    if done < steps:
        raise ValueError(
            f"generate.source must be a finished extraction, got {folder} at step "
            f"{done} of {steps}; run it to its end first"
        )


def borrowed(motion: str, state: TrainState) -> tuple[Model, TrainState]:
    """Another run's model of its clip, and our state with that run's motion."""
    from adreamer_jax.systems.animatable.generation_retarget import retargeted

    folder = Path(motion).expanduser()
    config = reopened(folder, flag="generate.motion")
    other = build_extraction(config, folder, *read(config))
    say(f"motion of {folder}: {other.clip.name}, {len(other.clip.images)} frames")
    theirs = trained(other, folder)
    params = retargeted(state.params, theirs.params)
    # the step says how sharp a surface is, and counts in the other recipe's steps now
    return other, state.replace(params=params, step=theirs.step)


def export(model: Model, state: TrainState, workdir: Path) -> tuple:
    """Write the model as files that other programs read; the asset and its skeleton."""
    from adreamer_jax.run.export import export

    with timed("export"):
        return export(
            model.system,
            state,
            model.frozen,
            workdir,
            model.stage,
            kept=model.skeleton,
        )


def render(model: Model, state: TrainState, workdir: Path, **made: Any) -> None:
    """Write the videos; what `export` has made need not be made again."""
    from adreamer_jax.run.render import render

    with timed("videos"):
        sides = {
            name: model.run[name]
            for name in ("video_side", "picture_side")
            if name in model.run
        }
        sides |= {"label": model.label, "kept": model.skeleton}
        sides |= {"whole": model.stage == GENERATE}
        render(model.system, state, model.frozen, model.clip, workdir, **made, **sides)


def evaluate(model: Model, state: TrainState, workdir: Path) -> None:
    """Write evaluation.json."""
    with timed("evaluation"):
        if model.stage == GENERATE:
            from adreamer_jax.run.evaluate_text import evaluate_text

            asked = model.judged | {"skeleton": model.skeleton}
            evaluate_text(model.system, state, model.frozen, workdir, **asked)
            return
        from adreamer_jax.run.evaluate import EVERY, evaluate

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


def posed(model: Model, state: TrainState, workdir: Path, pose: str) -> None:
    """Write the model in a pose that a person has set bone by bone."""
    if not pose:
        raise ValueError(
            '--pose must name a file {"bone_03": {"rotation": [0, 0, 30]}}, got '
            "nothing; write --pose=pose.json"
        )
    from adreamer_jax.run.hand_pose import hand_pose

    hand_pose(
        model.system.asset(state, model.frozen),
        pose,
        workdir,
        model.stage,
        kept=model.skeleton,
    )


def view(model: Model, state: TrainState, workdir: Path) -> None:
    """Show the model in a browser, its bones to drag."""
    from adreamer_jax.run.export import asset_skeleton
    from adreamer_jax.run.view import view

    asset = model.system.asset(state, model.frozen)
    view(asset, asset_skeleton(asset, model.skeleton), workdir)
