"""The pictures of docs/ that show what benchmarks made.

    python benchmarks/pictures.py generated docs/generated.png RUNS/full \
        --sources=runs/A,runs/B --rows=A-blue_dog,B-pink_pig
    python benchmarks/pictures.py moving docs/moving.webp RUNS/full \
        --sources=runs/A,runs/B --rows=A-blue_dog,B-pink_pig
    python benchmarks/pictures.py unseen docs/unseen.png RUNS --rows=pink_giraffe-0

The first draws creatures of `benchmarks/generation.py`, a row each: the exported mesh
at some moments from two sides, and as clay. The second draws them beside each other as
an animation of the whole clip. The third draws animals of
`benchmarks/csd_effect.py` from the side that no camera saw: the true surface, then the
exported one of each arm, as clay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial import KDTree

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from generation import ANIMALS, ARMS, recipe_of

from adreamer_jax.run import score
from adreamer_jax.run.mesh_picture import carried, framed, mesh_pictures, turned
from adreamer_jax.run.render import sheet
from adreamer_jax.types import Asset, Float, Int

CLAY = 0.78
NAMES = {"none": "without", "csd": "with CSD"}  # of arms, beside their rows
SIDES = (20.0, 200.0)  # degrees from where the clip was filmed
ASIDE = -30.0  # degrees from there in a film
FRAMES, FPS = 60, 15  # of a film
MARGIN = 6  # pixels about the cut out animals


def spread(count: int, number: int) -> list[int]:
    """So many frames over a clip, not at equal parts of it: gaits repeat."""
    shares = sorted((0.1 + 0.382 * i) % 1.0 for i in range(number))  # golden section
    return [int(share * count) for share in shares]


def cut_out(
    pictures: Sequence[Int[np.ndarray, "h w 3"]],
) -> list[Int[np.ndarray, "a b 3"]]:
    """Pictures over white without the white that all of them have about the animal."""
    shown = np.any([np.any(p < 250, axis=-1) for p in pictures], axis=0)
    if not shown.any():
        return list(pictures)
    box = []
    for axis in (1, 0):
        hit = np.flatnonzero(shown.any(axis))
        box.append(slice(max(hit[0] - MARGIN, 0), hit[-1] + 1 + MARGIN))
    return [p[box[0], box[1]] for p in pictures]


def stacked(
    rows: Sequence[Sequence[Int[np.ndarray, "h w 3"]]], *, height: int
) -> Int[np.ndarray, "h w 3"]:
    """Rows of pictures of any sizes, each row of one height, the left edges aligned."""
    lines = []
    for row in rows:
        fitted = []
        for picture in row:
            width = round(picture.shape[1] * height / picture.shape[0])
            image = Image.fromarray(picture).resize((width, height))
            fitted.append(np.pad(np.asarray(image), ((4, 4), (4, 4), (0, 0)), "edge"))
        lines.append(np.concatenate(fitted, axis=1))
    widest = max(line.shape[1] for line in lines)
    page = np.full((sum(len(line) for line in lines), widest, 3), 255, np.uint8)
    top = 0
    for line in lines:
        page[top : top + len(line), : line.shape[1]] = line
        top += len(line)
    return page


def drawn(
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    view: tuple[np.ndarray, np.ndarray],
    side: int,
    colors: Float[np.ndarray, "n 3"] | None = None,
) -> Int[np.ndarray, "h w 3"]:
    """A mesh in object space as a camera with intrinsics sees it; clay by default."""
    local = carried(view[0], np.asarray(vertices, np.float64))
    look = np.full(local.shape, CLAY) if colors is None else colors
    return mesh_pictures(local, faces, [look], view[1], (side, side))[0]


def made(runs: Path, source: str, name: str) -> Asset:
    """The creature of a finished run; ValueError where its name is of no prompt."""
    from adreamer_jax.data.captions import prompt
    from adreamer_jax.run import pipeline

    color, species = name.removeprefix(f"{Path(source).name}-").split("_")
    if (species, color) not in ANIMALS:
        raise ValueError(f"a row must be <source>-<color>_<species>, got {name}")
    config = recipe_of(source, prompt(species, color=color), ARMS["full"])
    given = pipeline.read(config)
    model = pipeline.build(config, runs / name, *given, stage="generate")
    return model.system.asset(pipeline.trained(model, runs / name), model.frozen)


def view_of(
    asset: Asset, angle: float, side: int
) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "4"]]:
    """A camera so many degrees about the animal, and intrinsics: all moments fit."""
    everywhere = np.asarray(asset.posed_vertices, np.float64).reshape(-1, 3)
    middle = len(asset.camera_from_object) // 2
    start, values = framed(asset.camera_from_object[middle], everywhere, (side, side))
    center = (everywhere.min(0) + everywhere.max(0)) / 2
    return turned(start, np.radians(angle), center), values


def creature(asset: Asset, *, side: int = 240) -> list[Int[np.ndarray, "h w 3"]]:
    """The exported mesh at four moments from two sides; the last one as clay, too."""
    moments = [asset.posed_vertices[i] for i in spread(len(asset.posed_vertices), 4)]
    out = []
    for angle in SIDES:
        view = view_of(asset, angle, side)
        row = [drawn(v, asset.faces, view, side, asset.colors) for v in moments]
        if angle == SIDES[-1]:
            row.append(drawn(moments[-1], asset.faces, view, side))
        out += cut_out(row)
    return out


def walk(
    asset: Asset, *, frames: int, side: int
) -> list[Int[np.ndarray, "side side 3"]]:
    """The exported mesh over its clip, from the front's half of the filmed side."""
    view = view_of(asset, ASIDE, 2 * side)  # drawn twice as large: smooth edges
    moments = np.arange(frames) % len(asset.posed_vertices)
    large = [
        drawn(asset.posed_vertices[i], asset.faces, view, 2 * side, asset.colors)
        for i in moments
    ]
    half = lambda p: np.asarray(Image.fromarray(p).resize((side, side), Image.BOX))
    return [half(picture) for picture in large]


def beside(
    films: Sequence[Sequence[Int[np.ndarray, "h w 3"]]], *, across: int
) -> list[Int[np.ndarray, "h w 3"]]:
    """One film of many of one length, so many in a row, cut to what is seen."""
    cut = [cut_out(film) for film in films]
    height = max(film[0].shape[0] for film in cut)
    width = max(film[0].shape[1] for film in cut)
    empty = np.full((height, width, 3), 255, np.uint8)

    def cell(picture: Int[np.ndarray, "h w 3"] | None) -> Int[np.ndarray, "h w 3"]:
        out = empty.copy()
        if picture is not None:
            top, left = height - picture.shape[0], (width - picture.shape[1]) // 2
            out[top:, left : left + picture.shape[1]] = picture
        return out

    frames = []
    for moment in zip(*cut, strict=True):
        cells: list[Any] = [*moment, *[None] * (-len(moment) % across)]
        rows = [
            np.concatenate([cell(p) for p in cells[i : i + across]], axis=1)
            for i in range(0, len(cells), across)
        ]
        frames.append(np.concatenate(rows))
    return frames


def from_behind(
    truth: Any, arms: Sequence[Path], *, moments: int = 5, side: int = 180
) -> list[list[Int[np.ndarray, "h w 3"]]]:
    """Rows of moments from opposite the camera: the truth, then each arm's surface.

    ``arms`` are folders of meshes in camera space; they are aligned as for the figures.
    """
    rows: list[list[np.ndarray]] = [[] for _ in range(1 + len(arms))]
    faces = np.asarray(truth.faces)
    for frame in spread(len(truth.vertices), moments):
        camera = np.asarray(truth.camera_from_object[frame], float)
        target = np.asarray(truth.vertices[frame], float)
        back = lambda points, camera=camera: carried(np.linalg.inv(camera), points)
        body = back(target)
        start, values = framed(camera, body, (side, side))
        view = turned(start, np.pi, (body.min(0) + body.max(0)) / 2), values
        rows[0].append(drawn(body, faces, view, side))
        for row, meshes in zip(rows[1:], arms, strict=True):
            mesh = trimesh.load(meshes / f"{frame:05d}.ply", process=False)
            found = np.asarray(mesh.vertices, float)
            found = score.align(found, target, KDTree(target))
            row.append(drawn(back(found), np.asarray(mesh.faces), view, side))
    return rows


def assets(asked: argparse.Namespace) -> Iterator[Asset]:
    """The creatures of the rows that are asked for."""
    sources = {Path(source).name: source for source in asked.sources.split(",")}
    for name in asked.rows.split(","):
        source = name.rsplit("-", 1)[0]
        if source not in sources:
            raise SystemExit(f"--sources must hold a folder {source}, for {name}")
        yield made(asked.runs, sources[source], name)


def generated(asked: argparse.Namespace) -> list[np.ndarray]:
    """The sheet of creatures."""
    return [stacked([creature(asset) for asset in assets(asked)], height=asked.height)]


def moving(asked: argparse.Namespace) -> list[np.ndarray]:
    """The frames of the film of creatures."""
    films = [walk(a, frames=FRAMES, side=asked.height) for a in assets(asked)]
    return beside(films, across=asked.across)


def unseen(asked: argparse.Namespace) -> list[np.ndarray]:
    """The sheet of the side that no camera saw."""
    from adreamer_jax.data.clip import read_truth

    rows, names = [], []
    arms = asked.arms.split(",")
    for name in asked.rows.split(","):
        truth = read_truth(asked.runs / "clips" / name.rsplit("-", 1)[0])
        folders = [
            asked.runs / arm / name / "export" / "extract" / "meshes" for arm in arms
        ]
        rows += from_behind(truth, folders)
        names += ["truth", *(NAMES.get(arm, arm) for arm in arms)]
    return sheet(rows, names, [""] * len(rows[0]))


def main() -> None:
    """Draw what is asked and write it."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("kind", choices=("generated", "moving", "unseen"))
    words.add_argument("out", type=Path)
    words.add_argument("runs", type=Path)
    words.add_argument("--rows", required=True)
    words.add_argument("--sources", default="", help="work folders of extractions")
    words.add_argument("--arms", default="none,csd")
    words.add_argument("--height", type=int, default=170)
    words.add_argument("--across", type=int, default=4)
    asked = words.parse_args()
    draw = {"generated": generated, "moving": moving, "unseen": unseen}[asked.kind]
    first, *more = (Image.fromarray(frame) for frame in draw(asked))
    how: dict[str, Any] = {"optimize": True}
    if more:
        how = {"save_all": True, "append_images": more, "loop": 0}
        how |= {"duration": 1000 // FPS, "quality": 75, "method": 6}
    first.save(asked.out, **how)


if __name__ == "__main__":
    main()
