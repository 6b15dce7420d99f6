"""Twelve prompts on extracted skeletons: does the judge see what was asked for?

    python benchmarks/generation.py RUNS --sources=runs/A,runs/B,runs/C --arms=full
    python benchmarks/generation.py RUNS --sources=... --arms=full,no_bone --table

Every arm, source and prompt is a work folder RUNS/<arm>/<source>-<prompt>; what is
finished is not run again. The examiner names the species and the color of a creature
by all its pictures (the whole motion from four sides; the rest shape from all around);
the embedded judge looks for each picture's own prompt among the twelve (R-Precision).
The moved mesh, which is what is exported, ought to have the outlines of the renders.
The arm "static" is plain score distillation from the prompt alone: a fresh shape in
canonical space, no skeleton, no sampled set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table as markdown

from adreamer_jax.types import Float

ANIMALS = (  # every color once
    ("bear", "brown"), ("crocodile", "green"), ("pig", "pink"), ("sheep", "white"),
    ("cat", "black"), ("fox", "red"), ("elephant", "gray"), ("horse", "yellow"),
    ("dog", "blue"), ("cow", "purple"), ("tiger", "orange"), ("rabbit", "turquoise"),
)  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "full": {},
    "no_skeleton": {"generate.loss.skeleton": 0.0},
    "no_bone": {"generate.loss.bone": 0.0},
    "no_bone_no_skeleton": {"generate.loss.bone": 0.0, "generate.loss.skeleton": 0.0},
    # every view judged by itself, as by a single-view prior
    "apart": {"prior.view_attention": False},
    # the recipe holds the clip's motion still; these let the prior move it
    "moves": {"generate.optimizer.starts.motion": 0.2},
    "moves_no_skeleton": {
        "generate.optimizer.starts.motion": 0.2,
        "generate.loss.skeleton": 0.0,
    },
    "static": {
        "generate.fit.steps": 0,
        "generate.start.shape": "fresh",
        "generate.csd.space": "canonical",
        "generate.csd.form": "x0",
        "generate.csd.guidance": 3.0,
        "generate.csd.time_low": ((0.0, 0.5), (0.67, 0.02)),
        "generate.csd.time_high": ((0.0, 0.98), (0.67, 0.5)),
        "generate.loss.skeleton": 0.0,
        "generate.loss.bone": 0.0,
        "generate.loss.bone_skin": 0.0,
        "generate.loss.tear": 0.0,
    },
}
FIGURES = (
    *("species", "color", "r_precision", "mesh_iou", "torn", "pitted"),
    *("open", "moved"),
)


def recipe_of(source: str, prompt: str, changes: dict[str, Any]) -> Any:
    """The generation recipe on a source's skeleton, with an arm's changes."""
    from adreamer_jax.run.recipe import load_recipe
    from adreamer_jax.run.stages import resolved

    config = load_recipe("generate.py").unlock()
    config.update_from_flattened_dict(
        {"generate.source": source, "generate.prompt": prompt} | changes
    )
    return resolved(config.lock())


def run(config: Any, workdir: Path, animal: tuple[str, str]) -> dict[str, Any]:
    """Train the second stage and ask the judge; also written to verdict.json."""
    from adreamer_jax.run import pipeline
    from adreamer_jax.run.evaluate_text import (
        joint_strain,
        pictures_of,
        pitted_percent,
        rest_pictures,
        torn_percent,
    )
    from adreamer_jax.run.train import train

    model = pipeline.build(config, workdir, *pipeline.read(config), stage="generate")
    section = config.generate.run
    state = train(model.system, model.frozen, section, workdir, stage="generate")
    asset = model.system.asset(state, model.frozen)
    videos, agreement = pictures_of(
        model.system, state, model.frozen, asset, side=64, most=12
    )
    around = rest_pictures(asset, side=64)
    kinds = {"rest": np.stack([around[0::2], around[1::2]])}
    if config.generate.csd.space == "posed":
        kinds["motion"] = np.stack(list(videos.values()), axis=1)
    out = {kind: verdict(pictures, animal) for kind, pictures in kinds.items()}
    if "motion" in out:
        out["motion"]["mesh_iou"] = 100.0 * agreement
        out["motion"]["torn"] = torn_percent(asset)
        out["motion"]["pitted"] = pitted_percent(asset)
        strained = joint_strain(asset, model.skeleton)
        out["motion"]["open"] = strained["open_percent"]
        out["motion"]["moved"] = strained["rest_open_percent"]
    if config.generate.fit.steps > 0:
        out["place"] = placed(config, model, state)
    (workdir / "verdict.json").write_text(json.dumps(out) + "\n")
    np.savez_compressed(workdir / "judged.npz", **kinds)
    return out


def placed(config: Any, model: Any, state: Any) -> dict[str, float]:
    """How far the drawn animal lies from the extracted one's limbs, drawn and moved.

    As shares of the reach (0: everywhere on them); scale and shifts in radii.
    """
    import jax

    from adreamer_jax.prior.load import load_prior
    from adreamer_jax.systems.animatable import generation_fit as fit
    from adreamer_jax.systems.animatable.generation import stage_config
    from adreamer_jax.systems.animatable.generation_place import body_of, misfit

    stage, field = stage_config(config), model.frozen["extracted"].field
    start = model.system.init(jax.random.key(0), model.frozen).upkeep
    views = fit.set_views(stage, load_prior(config.prior.name)[0], field, start)
    masks = state.upkeep["fit_pictures"][None, ..., 3]
    (drawn,), kept = fit.bodies(views.camera, masks, field)
    turn, middle, radius = map(np.asarray, fit.animal_frame(stage, field, start))
    was, now = np.asarray(start["aim_rest"]), np.asarray(state.upkeep["aim_rest"])
    shift, scale = now[:3] - was[:3], float(now[3] / was[3])
    bodies = body_of(drawn), body_of(kept)
    about = {"middle": middle, "far": stage.fit.reach * float(radius)}
    return {
        "drawn": misfit(*bodies, **about),
        "moved": misfit(*bodies, **about, scale=scale, shift=shift),
        "scale": scale,
        "up": float(shift @ turn[1] / radius),
        "ahead": float(shift @ turn[2] / radius),
    }


def verdict(
    sets: Float[np.ndarray, "n 4 h w 3"], animal: tuple[str, str]
) -> dict[str, Any]:
    """What examiner and judge say of a creature's pictures, four sides a set."""
    from adreamer_jax.data.captions import prompt
    from adreamer_jax.run.text_score import load_judge, r_precision
    from adreamer_jax.systems.pocket.examiner import load_examiner

    named = named_by(load_examiner()(sets))
    judge = load_judge()
    seen = judge.of_pictures(sets.reshape(-1, *sets.shape[2:]))
    whole = judge.of_texts([prompt(s, color=c) for s, c in ANIMALS])
    own = np.full(len(seen), ANIMALS.index(animal))
    return {
        "said": named,
        "species": 100.0 * (named[0] == animal[0]),
        "color": 100.0 * (named[1] == animal[1]),
        "r_precision": r_precision(seen, whole, own),
    }


def named_by(found: Any) -> tuple[str, str]:
    """Species (of those that training knows) and color that all sets together name."""
    from adreamer_jax.data.species import TRAINING_SPECIES
    from adreamer_jax.systems.pocket.examiner import named

    total = lambda x: np.sum(x - np.logaddexp.reduce(x, -1, keepdims=True), axis=0)
    species = named(total(found.species), "species", TRAINING_SPECIES)
    return species, named(total(found.color), "color")


def table(runs: Path, arms: Sequence[str], sources: Sequence[str]) -> str:
    """A row an arm, source and kind of pictures; then what was said of each prompt."""
    head = [
        "arm",
        "skeleton",
        "pictures",
        "species %",
        "color %",
        "R-Precision@1 %",
        "mesh's outlines, IoU %",
        "of the mesh torn, %",
        "folded inward, %",
        "joints open beyond the clip's, %",
        "bones moved apart at rest, %",
        "off the limbs, drawn",
        "moved",
        "prompts",
    ]
    lines, details = [], []
    for arm in arms:
        for source in sources:
            name = Path(source).name
            found = {}
            for species, color in ANIMALS:
                path = runs / arm / f"{name}-{color}_{species}" / "verdict.json"
                if path.is_file():
                    found[f"{color} {species}"] = json.loads(path.read_text())
            places = [v["place"] for v in found.values() if "place" in v]
            off = [_mean([p[k] for p in places]) for k in ("drawn", "moved")]
            for kind in ("motion", "rest"):
                rows = [v[kind] for v in found.values() if kind in v]
                if rows:
                    means = [_mean([r[f] for r in rows if f in r]) for f in FIGURES]
                    lines.append([arm, name, kind, *means, *off, len(rows)])
            said = [
                f"{asked}: {' '.join(v.get('motion', v['rest'])['said'][::-1])}"
                for asked, v in found.items()
            ]
            details.append(f"{arm}, {name}: {'; '.join(said)}")
    return markdown(head, lines) + "\n\n" + "\n".join(details)


def _mean(values: Sequence[float]) -> float | str:
    return float(np.mean(values)) if values else ""


def main() -> None:
    """Run what is asked one after the other, or print the table of what is there."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("runs", type=Path)
    words.add_argument("--sources", required=True, help="work folders of extractions")
    words.add_argument("--arms", default="full")
    words.add_argument("--prior", default="", help="folder; empty: the embedded one")
    words.add_argument("--only", default="", help="species, as bear,dog")
    words.add_argument("--table", action="store_true", help="print, run nothing")
    asked = words.parse_args()
    arms, sources = asked.arms.split(","), asked.sources.split(",")
    if asked.table:
        print(table(asked.runs, arms, sources))
        return
    from adreamer_jax.data.captions import prompt
    from adreamer_jax.run import devices

    devices.set_backend(devices.CACHE)
    for arm in arms:
        for source in sources:
            for species, color in ANIMALS:
                if asked.only and species not in asked.only.split(","):
                    continue
                name = f"{Path(source).name}-{color}_{species}"
                workdir = asked.runs / arm / name
                if (workdir / "verdict.json").is_file():
                    continue
                changes = ARMS[arm] | {"prior.name": asked.prior}
                config = recipe_of(source, prompt(species, color=color), changes)
                print(arm, name, run(config, workdir, (species, color)), flush=True)


if __name__ == "__main__":
    main()
