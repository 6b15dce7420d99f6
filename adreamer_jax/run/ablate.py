"""The same clip and prompt with one part of the method taken away at a time.

Every arm is a recipe of its own, which anybody can run alone: the full one runs both
stages, the others its second stage from the same extraction. What they reach becomes
one table and one page.
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from adreamer_jax.run import recipe
from adreamer_jax.run.files import write_text
from adreamer_jax.run.progress import say

__all__ = ["ablate", "arm_recipe", "figures_of", "table"]

FULL = "full"
_FIGURES = (  # where it stands, heading
    ("clip_score", "CLIP score"),
    ("r_precision@1", "R-Precision@1 %"),
    ("r_precision@10", "R-Precision@10 %"),
    ("clip_t", "CLIP-T"),
    ("rest.r_precision@1", "at rest, R-Precision@1 %"),
    ("mesh_iou", "outlines of the moved mesh, IoU"),
    ("torn_percent", "of the mesh torn, %"),
    ("pitted_percent", "folded inward, %"),
    ("joints.open_percent", "joints open beyond the clip's, %"),
    ("joints.turn_deg", "turn beyond, degrees"),
    ("joints.rest_open_percent", "bones moved apart at rest, %"),
)


def ablate(config: ConfigDict, workdir: Path) -> Path:
    """The page about all arms, after running those that are not done."""
    from adreamer_jax.run.pipeline import do

    asked: Any = config.ablation
    rows = []
    for clip in asked.clips:
        for prompt in asked.prompts:
            name = f"{Path(clip or 'embedded').name}, {prompt}"
            place = Path(workdir) / recipe.slug(name)
            for arm in asked.arms:
                made = arm_recipe(config, arm, clip, prompt, place)
                if finished(made, place / arm):
                    say(f"{name}: {arm} is done")
                else:
                    say(f"{name}: {arm}")
                    do("train", made, place / arm)
                rows.append((name, arm, place / arm))
    return write(rows, Path(workdir))


def arm_recipe(
    config: ConfigDict, arm: str, clip: str, prompt: str, place: Path
) -> ConfigDict:
    """The recipe of an arm: the full one with the arm's few changes."""
    asked: Any = config.ablation
    if arm not in asked.changes:
        raise ValueError(
            f"ablation.arms must be of {', '.join(asked.changes)}, got {arm}; name one "
            "of them or add it to ablation.changes"
        )
    made: Any = recipe.load_recipe(f"csd.py:{asked.size}").unlock()
    made.data.clip, made.generate.prompt = clip, prompt
    made.run.seed = made.generate.run.seed = asked.seed
    changes = dict(asked.changes[arm])
    if arm == FULL and changes:
        raise ValueError(f"ablation.changes.{FULL} must be empty, got {changes}")
    if arm != FULL:
        made.generate.source = str(place / FULL)
    for key, value in changes.items():
        recipe.check_keys(made, [key])
        *path, last = key.split(".")
        section: Any = made
        for word in path:
            section = section[word]
        section[last] = value
    return made.lock()


def finished(made: ConfigDict, folder: Path) -> bool:
    """Whether an arm has been judged and its page written, which comes last.

    Raises ValueError where the folder holds another recipe.
    """
    judged, page = folder / "evaluation.json", folder / "report.html"
    if not figures_of(folder) or not page.is_file():
        return False
    recipe.check_workdir(made, folder)
    return page.stat().st_mtime >= judged.stat().st_mtime


def figures_of(folder: Path) -> dict[str, float]:
    """What an arm has reached; empty where nothing judged it."""
    path = folder / "evaluation.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = recipe.flatten(known.get("generate", {}))
    return {name: found[key] for key, name in _FIGURES if key in found}


def table(rows: list[tuple[str, str, dict[str, float]]]) -> str:
    """A Markdown table: one line a clip, prompt and arm."""
    names = list(dict.fromkeys(name for _, _, figures in rows for name in figures))
    lines = [["clip, prompt", "arm", *names], ["---"] * (2 + len(names))]
    for scene, arm, figures in rows:
        cells = [f"{figures[n]:.3g}" if n in figures else "" for n in names]
        lines.append([scene, arm.replace("_", " "), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(rows: list[tuple[str, str, Path]], workdir: Path) -> Path:
    """The path of ablation.html, with ablation.md beside it."""
    found = [(scene, arm, figures_of(folder)) for scene, arm, folder in rows]
    text = table(found)
    write_text(workdir / "ablation.md", text)
    cards = "".join(_card(*row) for row in rows)
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Ablation</title><style>{style}</style></head><body><main><header>"
        "<h1>What each part does</h1><p>The same extraction, prompt and seed, with one "
        f"part taken away at a time.</p></header>{_rows(text)}{cards}</main></body>"
        "</html>\n"
    )
    path = write_text(workdir / "ablation.html", page)
    say(f"the ablation: {path}")
    return path


def _rows(text: str) -> str:
    """The Markdown table as HTML."""
    head, _, *lines = (line.strip("| \n").split(" | ") for line in text.splitlines())
    row = lambda cells, tag: "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in lines)
    return (
        f'<div class="card table"><table><tr>{row(head, "th")}</tr>{body}</table></div>'
    )


def _card(scene: str, arm: str, folder: Path) -> str:
    """The pictures of one arm."""
    found = sorted((folder / "pictures").glob("*novel_views.png"))
    found = [p for p in found if not p.name.startswith("extract")]
    if not found:
        return ""
    data = base64.b64encode(found[0].read_bytes()).decode()
    title = html.escape(f"{scene}: {arm.replace('_', ' ')}")
    return (
        f'<figure class="card"><img src="data:image/png;base64,{data}" alt="{title}">'
        f"<figcaption><b>{title}</b></figcaption></figure>"
    )
