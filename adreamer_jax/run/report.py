"""One page that shows a run to a person: report.html, whole and offline.

Everything is inside the page: pictures and videos as data, curves as SVG, the exported
model in a small viewer of our own. It is made from the work folder alone, so it can be
made again at any time, and shows what is there.
"""

import base64
import html
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adreamer_jax.run.charts import bond_matrix, chart
from adreamer_jax.run.files import write_text
from adreamer_jax.run.log import read_metrics

__all__ = ["report"]

_HERE = Path(__file__).parent

_VIDEOS = {
    "reconstruction": ("Reconstruction", "the input, the model's render, its normals"),
    "reanimated": (
        "From the unseen side",
        "the exported mesh in motion, in its colors and as clay",
    ),
    "turntable": ("Turntable", "the rest pose, in its colors and colored by bone"),
}
_PICTURES = {
    "input_vs_render": (
        "Input and render",
        "frames of the clip above what the model draws",
    ),
    "novel_views": ("Novel views", "sides that the camera did not see at that moment"),
    "normals": ("Normals", "the surface's direction as color"),
    "bones": (
        "Bones",
        "each ellipse is the surface one bone carries; lines are the skeleton",
    ),
    "skeleton": ("Skeleton in the body", "bones and joints at rest, from four sides"),
    "skinning": ("Skinning", "which bone moves what, in the bones' colors"),
}
_FILES = {
    "model.glb": "skinned, animated, colored model (Blender, three.js, Unity, Unreal)",
    "canonical.ply": "rest mesh with vertex colors",
    "rig.json": "bones, joints, connections, limits and motion as numbers",
    "motion.bvh": "the motion for tools that read BVH",
    "cameras.npz": "cameras and intrinsics of every frame",
    "meshes": "the surface of every frame in that frame's camera space",
}
# figures that deserve a place of their own, in this order: (key, name, unit)
_HEADLINES = (
    ("clip_score", "CLIP score of the prompt", ""),
    ("r_precision@1", "R-Precision@1", " %"),
    ("clip_t", "CLIP-T", ""),
    ("chamfer_percent", "Chamfer distance", " %"),
    ("f2", "F-score at 2 %", ""),
    ("unseen.f2", "F-score at 2 %, never seen", ""),
    ("mask_iou", "mask IoU", ""),
    ("psnr", "PSNR", " dB"),
    ("ssim", "SSIM", ""),
    ("rotation_median_deg", "root rotation, median", "°"),
    ("pck@0.1", "PCK@0.1", ""),
)


class Chapter(NamedTuple):
    """What one stage has left."""

    stage: str
    folder: Path  # of its export
    label: str  # before the names of its pictures and videos
    model: str  # the page's name for its model
    rig: dict


def report(workdir: Path) -> Path:
    """The path of a fresh report.html of a work folder."""
    workdir = Path(workdir)
    config = _json(workdir / "config.json")
    chapters = _chapters(workdir, config)
    evaluation = _json(workdir / "evaluation.json")
    metrics = read_metrics(workdir / "metrics.jsonl")
    rig = chapters[0].rig if chapters else {}
    parts = [
        _header(config, rig, metrics, workdir),
        _headlines(evaluation),
        *(
            _chapter(workdir, chapter, len(chapters) > 1, config)
            for chapter in chapters or [Chapter("", workdir, "", "", {})]
        ),
        _evaluation(evaluation),
        _training(metrics, workdir),
        _settings(config),
        _files(workdir, [chapter.folder for chapter in chapters]),
    ]
    return write_text(
        workdir / "report.html", _page(_title(config, rig), parts, chapters)
    )


def _chapters(workdir: Path, config: Mapping) -> list[Chapter]:
    """Exported stages, the last one first: it is what a person came for."""
    second = config.get("generate", {})
    two = bool(second) and not second.get("source")
    first = lambda path: (path.parent.name != "generate", path.parent.name)
    found = sorted((workdir / "export").glob("*/model.glb"), key=first)
    return [
        Chapter(
            stage=path.parent.name,
            folder=path.parent,
            label=f"{path.parent.name}_" if two else "",
            model="model-data" if i == 0 else f"model-data-{i}",
            rig=_json(path.parent / "rig.json"),
        )
        for i, path in enumerate(found)
    ]


_STAGES = {
    "extract": "Extracted from the clip",
    "generate": "Generated from the prompt",
}


def _chapter(workdir: Path, chapter: Chapter, several: bool, config: Mapping) -> str:
    """All that shows one stage, under its name where there are several."""
    head = ""
    if several:
        said = config.get("generate", {}) if chapter.stage == "generate" else config
        prompt = html.escape(str(said.get("prompt", "")))
        prompt = f": <em>{prompt}</em>" if prompt else ""
        name = _STAGES.get(chapter.stage, chapter.stage)
        head = f'<h1 class="stage">{name}{prompt}</h1>'
    shown = chapter.folder if chapter.stage else None
    return head + "".join(
        (
            _viewer(shown, chapter.model),
            _videos(workdir, chapter.label),
            _pictures(workdir, chapter.label),
            _skeleton(chapter.rig),
        )
    )


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _inline(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _picture(path: Path, *, quality: int = 88) -> tuple[str, int, int]:
    """A picture as WebP data (a third of the PNG's size), its width and height."""
    with Image.open(path) as image, io.BytesIO() as out:
        image.convert("RGB").save(out, "WEBP", quality=quality, method=4)
        data = base64.b64encode(out.getvalue()).decode()
        return f"data:image/webp;base64,{data}", image.width, image.height


def _section(title: str, body: str, note: str = "") -> str:
    note = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{note}{body}</section>" if body else ""


def _title(config: Mapping, rig: Mapping) -> str:
    clip = str(config.get("data", {}).get("clip", "")).rstrip("/")
    return rig.get("name") or (Path(clip).name if clip else "embedded clip")


def _flat(tree: Mapping, head: str = "") -> dict[str, Any]:
    """Dotted names and leaves of nested dictionaries."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{head}{key}.")
        else:
            out[f"{head}{key}"] = value
    return out


def _duration(metrics: list[dict]) -> str:
    # A gap of more than ten minutes between lines is a pause, not work.
    wall = np.array([line["wall"] for line in metrics if "wall" in line])
    seconds = float(np.minimum(np.maximum(np.diff(wall), 0), 600).sum())
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _header(config: Mapping, rig: Mapping, metrics: list[dict], workdir: Path) -> str:
    flat = _flat(config)
    prompts = [str(v) for k, v in flat.items() if k.split(".")[-1] == "prompt" and v]
    chips = {
        "prompt": " → ".join(dict.fromkeys(prompts)),
        "stages": ", ".join(dict.fromkeys(line["stage"] for line in metrics)),
        "steps": _number(max((line["step"] for line in metrics), default=0)),
        "logged time": _duration(metrics) if len(metrics) > 1 else "",
        "seed": flat.get("run.seed", ""),
        "frames": rig.get("num_frames", ""),
        "fps": f"{rig['fps']:g}" if rig else "",
        "bones": sum(bone["alive"] for bone in rig["bones"]) if rig else "",
    }
    items = "".join(
        f"<li>{html.escape(name)} <b>{html.escape(str(value))}</b></li>"
        for name, value in chips.items()
        if value not in ("", "0")
    )
    return (
        f"<header><p>an animatable 3D model from one clip</p>"
        f"<h1>{html.escape(_title(config, rig))}</h1>"
        f'<p><code>{html.escape(str(workdir))}</code></p><ul class="chips">{items}</ul>'
        "</header>"
    )


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return html.escape(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _find(flat: Mapping, key: str) -> float | None:
    """The figure of that name, wherever it is filed; the shortest full name wins."""
    names = sorted((n for n in flat if n == key or n.endswith(f".{key}")), key=len)
    if "." not in key:  # a plain name is not one of a part or of something compared
        names = [
            n
            for n in names
            if not {"seen", "unseen", "given_cameras"} & {*n.split(".")}
        ]
    value = flat[names[0]] if names else None
    return value if isinstance(value, (int, float)) else None


def _headlines(evaluation: Mapping) -> str:
    flat = _flat(evaluation)
    found = [(name, _find(flat, key), unit) for key, name, unit in _HEADLINES]
    cells = "".join(
        f'<div class="card"><strong>{value:.3g}{unit}</strong><span>{name}</span></div>'
        for name, value, unit in found
        if value is not None
    )
    return _section(
        "In numbers", f'<div class="numbers">{cells}</div>' if cells else ""
    )


def _viewer(folder: Path | None, model: str) -> str:
    if folder is None:
        return ""
    cameras = np.load(folder / "cameras.npz")["camera_from_object"]
    middle = np.linalg.inv(cameras[len(cameras) // 2])
    forward = -middle[:3, 2]  # from the object toward the camera
    azimuth = float(np.arctan2(forward[0], forward[2]))
    looks = "".join(
        f'<button data-look="{i}">{name}</button>'
        for i, name in enumerate(("Colors", "Clay", "Parts"))
    )
    body = (
        f'<div class="card viewer" data-model="{model}" '
        f'data-azimuth="{azimuth:.3f}">'
        '<canvas tabindex="0" aria-label="the model; drag to turn it"></canvas>'
        '<div class="bar"><button data-do="play">Pause</button>'
        '<input data-do="time" type="range" min="0" step="any" value="0" '
        f'aria-label="time">{looks}<button data-do="bones">Bones</button>'
        '<button data-do="rest">Rest pose</button><button data-do="home">Reset view'
        "</button></div><p>This browser has no WebGL 2; the turntable shows the same."
        "</p></div>"
    )
    note = "Drag to turn, scroll or pinch to come nearer: the exported file itself."
    return _section("The model", body, note)


def _videos(workdir: Path, label: str) -> str:
    cards = []
    for name, (title, caption) in _VIDEOS.items():
        path = workdir / "videos" / f"{label}{name}.mp4"
        if path.is_file():
            wide = "card wide" if name == "reconstruction" else "card"
            source = _inline(path, "video/mp4")
            cards.append(
                f'<figure class="{wide}"><video src="{source}" controls loop '
                "muted autoplay playsinline></video><figcaption>"
                f"<b>{title}</b>: {caption}</figcaption></figure>"
            )
    return _section(
        "Videos", f'<div class="grid">{"".join(cards)}</div>' if cards else ""
    )


def _figure(path: Path, title: str, caption: str) -> str:
    source, width, height = _picture(path)
    return (
        f'<figure class="card"><div class="scroll"><img src="{source}" width="{width}" '
        f'height="{height}" alt="{html.escape(title)}" loading="lazy"></div>'
        f"<figcaption><b>{html.escape(title)}</b>: {html.escape(caption)}</figcaption>"
        "</figure>"
    )


def _pictures(workdir: Path, label: str) -> str:
    place = lambda name: workdir / "pictures" / f"{label}{name}.png"
    figures = [
        _figure(place(name), title, caption)
        for name, (title, caption) in _PICTURES.items()
        if place(name).is_file()
    ]
    return _section(
        "Pictures", "<br>".join(figures), "Click a picture for its full size."
    )


def _skeleton(rig: Mapping) -> str:
    if not rig:
        return ""
    names = [bone["name"] for bone in rig["bones"]]
    linked = np.zeros((len(names),) * 2, bool)
    for child, bone in enumerate(rig["bones"]):
        if bone["parent"] is not None:
            above = names.index(bone["parent"])
            linked[child, above] = linked[above, child] = True
    error = {k: f"{v:.2f} % of the box" for k, v in rig["skinning_error"].items()}
    outside = sum(not row["in_tree"] for row in rig["connections"])
    rows = {
        "bones that carry surface": sum(bone["alive"] for bone in rig["bones"]),
        "bones in all": len(names),
        "connections kept": len(rig["connections"]),
        "of these not in the exported tree": outside,
        "error of the exported file, mean": error["mean_percent"],
        "error of the exported file, largest": error["max_percent"],
    }
    matrix = bond_matrix(np.array(rig["strength"]), linked, names)
    body = (
        f'<div class="grid"><div class="card bonds">{matrix}</div>'
        f'<div class="card table">{_table(rows)}</div></div>'
    )
    note = (
        "How strongly each pair of bones is connected: they share surface, the "
        "surface means the same, and their link holds together and stays inside of "
        "the body in motion. Outlined pairs are the links of the exported tree. "
        "The error is what four weights a vertex and linear blending change, over all "
        "frames."
    )
    return _section("Skeleton", body, note)


def _table(rows: Mapping[str, Any]) -> str:
    cells = "".join(
        f'<tr><th>{html.escape(name)}</th><td class="n">{_number(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def _evaluation(evaluation: Mapping) -> str:
    plain = {k: v for k, v in evaluation.items() if not isinstance(v, Mapping)}
    groups = {"": plain} | {
        name: _flat(group)
        for name, group in evaluation.items()
        if isinstance(group, Mapping)
    }
    parts = []
    for name, group in groups.items():
        rows = {
            k: v for k, v in group.items() if not isinstance(v, list) and v is not None
        }
        if rows:
            head = f"<h3>{html.escape(name)}</h3>" if name else ""
            parts.append(
                f'<div>{head}<div class="card table">{_table(rows)}</div></div>'
            )
    body = f'<div class="grid">{"".join(parts)}</div>' if parts else ""
    note = "Against a truth, or by a judge, that training did not read."
    return _section("Evaluation", body, note)


def _training(metrics: list[dict], workdir: Path) -> str:
    stages = list(dict.fromkeys(line["stage"] for line in metrics))
    names = [k for k in dict.fromkeys(k for line in metrics for k in line)]
    names = [k for k in names if k not in ("stage", "step", "wall")]

    def draw(name: str) -> str:
        curves = []
        for stage in stages:
            rows = [m for m in metrics if m["stage"] == stage and name in m]
            curves.append(([m["step"] for m in rows], [m[name] for m in rows]))
        return chart(name, curves)

    shown = [k for k in names if k == "loss" or k.startswith("loss/")]
    charts = "".join(map(draw, shown))
    others = "".join(draw(k) for k in names if k not in shown)
    body = f'<div class="charts">{charts}</div>' if charts else ""
    if others:
        body += (
            "<details><summary>other measurements</summary>"
            f'<div class="charts">{others}</div></details>'
        )
    body += _growth(workdir)
    two = " The second color is the second stage." if len(stages) > 1 else ""
    return _section(
        "Training", body, f"By step; the strong line is a running mean.{two}"
    )


def _growth(workdir: Path, *, most: int = 6) -> str:
    """Pictures taken on the way (<stage>_<step>_<name>.png), spread over the run."""
    taken = sorted((workdir / "pictures").glob("*_[0-9]*_*.png"))
    if not taken:
        return ""
    index = np.unique(np.linspace(0, len(taken) - 1, most).astype(int))
    figures = []
    for path in (taken[i] for i in index):
        stage, step, name = path.stem.split("_", 2)
        figures.append(_figure(path, f"{stage}, step {int(step):,}", name))
    return (
        "<details><summary>pictures on the way</summary>"
        f'<div class="grid">{"".join(figures)}</div></details>'
    )


def _settings(config: Mapping) -> str:
    if not config:
        return ""
    flat = _flat(config)
    weights = {
        k.split(".", 1)[1]: v for k, v in flat.items() if k.startswith("loss.") and v
    }
    sections = ("data", "run", "prompt", "prior", "generate")
    main = {k: v for k, v in flat.items() if k.split(".")[0] in sections}
    main = {k: v for k, v in main.items() if v not in ("", None)}
    full = html.escape(json.dumps(config, indent=2))
    body = (
        f'<div class="grid"><div><div class="card table">{_table(main)}</div></div>'
        f'<div><div class="card table">{_table({"loss weight": ""} | weights)}</div>'
        "</div></div>"
        f"<details><summary>the whole recipe</summary><pre>{full}</pre></details>"
    )
    return _section("Settings", body)


def _files(workdir: Path, folders: Sequence[Path]) -> str:
    rows = []
    for folder, (name, meaning) in itertools.product(folders, _FILES.items()):
        path = folder / name
        if path.exists():
            link = html.escape(path.relative_to(workdir).as_posix())
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            kib = sum(item.stat().st_size for item in inside) / 1024
            size = f"{kib / 1024:.1f} MiB" if kib >= 1024 else f"{kib:.0f} KiB"
            rows.append(
                f'<tr><td><a href="{link}"><code>{link}</code></a></td>'
                f'<td>{meaning}</td><td class="n">{size}</td></tr>'
            )
    body = f'<div class="card table"><table>{"".join(rows)}</table></div>'
    return _section("Files", body if rows else "", "They lie beside this page.")


_ZOOM = """
for (const image of document.querySelectorAll("figure img")) image.onclick = () => {
  const dialog = document.createElement("dialog"), copy = new Image();
  copy.src = image.src;
  dialog.append(copy);
  document.body.append(dialog);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
};
"""


def _page(title: str, parts: list[str], chapters: Sequence[Chapter]) -> str:
    style = (_HERE / "report.css").read_text(encoding="utf-8")
    scripts = f"<script>{_ZOOM}</script>"
    for chapter in chapters:
        model = base64.b64encode((chapter.folder / "model.glb").read_bytes()).decode()
        scripts += f'<script type="text/plain" id="{chapter.model}">{model}</script>'
    if chapters:
        player = (_HERE / "viewer.js").read_text(encoding="utf-8")
        scripts += f"<script>{player}</script>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}"
        "<footer>Made by adreamer_jax from this work folder; the page needs no network."
        f"</footer></main>{scripts}</body></html>\n"
    )
