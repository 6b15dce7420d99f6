"""Which stages a recipe has, where each one's files lie, and how far it has come.

A recipe with a section ``generate`` has a second stage. It follows the first one in the
same work folder, or starts from the folder of another run (``generate.source``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from adreamer_jax.core.nested import laid_over
from adreamer_jax.run import recipe

EXTRACT, GENERATE = "extract", "generate"


def stages_of(config: ConfigDict) -> tuple[str, ...]:
    """The stages of a recipe in their order."""
    if GENERATE not in config:
        run: Any = config.run
        return (run.get("stage", EXTRACT),)
    return (GENERATE,) if source_of(config) else (EXTRACT, GENERATE)


def source_of(config: ConfigDict) -> str:
    """The run from whose extraction the second stage starts; empty: from its own."""
    return config.to_dict().get(GENERATE, {}).get("source", "")


def reopened(workdir: Path, *, flag: str = "--workdir") -> ConfigDict:
    """The recipe that a work folder remembers, with today's value for what it lacks.

    A run of an older version, whose recipe lacks a key of the model, is refused: with
    today's value it would be another model. ``flag`` is what named the folder.
    """
    kept = recipe.read_recipe(workdir).to_dict()
    if flag != "--workdir" and "clip" not in kept.get("data", {}):
        raise ValueError(
            f"{flag} must be the work folder of an extraction, got {workdir}, which "
            "holds no model of a clip; name one that configs/extract.py or "
            "configs/csd.py has written"
        )
    if "scene" not in kept:  # of a network, not of an animal
        return ConfigDict(kept).lock()
    two = GENERATE in kept
    today = recipe.load_recipe("csd.py" if two else "extract.py").to_dict()
    missing = recipe.flatten({"scene": today["scene"]}).keys()
    missing -= recipe.flatten({"scene": kept["scene"]}).keys()
    if missing:
        raise ValueError(
            f"{flag} must be a run of this version, got {workdir}, whose "
            f"recipe does not know {', '.join(sorted(missing))}; extract the clip again"
        )
    return ConfigDict(laid_over(today, kept)).lock()


def resolved(config: ConfigDict) -> ConfigDict:
    """The recipe with the sections of the run that its second stage starts from.

    All of that run but its own second stage counts: clip, scene and the rest of the
    first stage are what the extracted model was made by.
    """
    source = source_of(config)
    if not source:
        return config
    base = reopened(Path(source).expanduser(), flag="generate.source").to_dict()
    if base.pop(GENERATE, {}).get("source"):
        raise ValueError(
            f"generate.source must be a run with an extraction of its own, got "
            f"{source}, which starts from another run; name that one"
        )
    own = config.to_dict()
    clip = base.get("data", {}).get("clip", "")
    if recipe.clip_of(config) not in ("", clip):
        raise ValueError(
            f"data.clip must be left out with generate.source={source}, whose clip is "
            f"{clip or 'the embedded one'}, got {recipe.clip_of(config)}"
        )
    own = {name: own[name] for name in ("prior", GENERATE) if name in own}
    return ConfigDict(laid_over(base, own)).lock()


def run_section(config: Any, stage: str) -> Any:
    """The section that says how a stage is run."""
    return config.generate.run if stage == GENERATE else config.run


def label(config: ConfigDict, stage: str) -> str:
    """What stands before the names of a stage's pictures and videos."""
    return f"{stage}_" if len(stages_of(config)) > 1 else ""


def steps_done(workdir: Path, stage: str) -> int:
    """The newest saved step of a stage; zero where nothing is saved."""
    folder = Path(workdir) / "checkpoints" / stage
    names = [path.name for path in folder.glob("*") if path.is_dir()]
    return max((int(name) for name in names if name.isdigit()), default=0)


def finished(config: ConfigDict, workdir: Path, stage: str) -> bool:
    """Whether a stage has done all of its steps."""
    return steps_done(workdir, stage) >= run_section(config, stage).steps


def chosen(
    config: ConfigDict, workdir: Path, asked: str, *, filmed: bool = False
) -> str:
    """The stage that a job works on: the asked one, else the last that has ended.

    A job about what was ``filmed`` works on the first stage, where the run has it.
    """
    stages = stages_of(config)
    if asked and asked not in stages:
        raise ValueError(
            f"--stage must be one of {', '.join(stages)} for this run, got {asked}; "
            "leave it out for the last one that has ended"
        )
    if asked:
        return asked
    if filmed and EXTRACT in stages:
        return EXTRACT
    ended = [stage for stage in stages if finished(config, workdir, stage)]
    begun = [stage for stage in stages if steps_done(workdir, stage)]
    return (ended or begun or stages[:1])[-1]
