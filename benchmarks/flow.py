"""How well the flow that extraction learns from follows limbs, against the truth.

    python benchmarks/flow.py CLIP [CLIP ...]

The true motion of every visible point of the surface is known from the vertices. For
each frame gap, of the pixels in the lowest two fifths of the animal's height: how far
they truly move, how many have a flow that is trusted and right (within two pixels, or a
third of the motion), how many are trusted and wrong, and the mean error by confidence.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from legs import LOW, height
from timing import table

from adreamer_jax.core.shape import Places, points_at
from adreamer_jax.core.zbuffer import project
from adreamer_jax.data.clip import Truth, read_clip, read_truth
from adreamer_jax.data.flow import GAPS, Flow, compute_flow
from adreamer_jax.run.track import MovingMesh, cast
from adreamer_jax.types import Int

EVERY = 3  # frames
RIGHT = (2.0, 1 / 3)  # pixels, or share of the motion


class Shown(NamedTuple):
    """Pixels of a frame that show low parts of the surface, and which."""

    pixels: Int[np.ndarray, "p 2"]  # column, row
    places: Places


def shown(mesh: MovingMesh, cameras: np.ndarray, mask: np.ndarray, frame: int) -> Shown:
    """The low parts that the mask shows in a frame."""
    pixels = np.argwhere(mask)[:, ::-1]
    places, hit = cast(mesh, frame, pixels + 0.5, reach=0.0)
    points = points_at(mesh.vertices[frame], mesh.faces, places)
    body = np.concatenate([mesh.vertices[frame], points])
    low = hit & (height(body, cameras[frame])[-len(points) :] < LOW)
    return Shown(pixels[low], Places(places.face[low], places.weight[low]))


def true_motion(mesh: MovingMesh, at: Shown, frame: int, gap: int) -> np.ndarray:
    """Pixels that the shown places move from a frame to the one ``gap`` later."""
    here, there = (
        project(points_at(mesh.vertices[f], mesh.faces, at.places), mesh.intrinsics[f])
        for f in (frame, frame + gap)
    )
    return there - here


def figures(truth: Truth, masks: np.ndarray, flow: Flow, gap: int) -> list[float]:
    """Mean motion, shares trusted and right, trusted and wrong, error by confidence."""
    count, *size = masks.shape
    lens = np.broadcast_to(truth.intrinsics, (count, 4))
    mesh = MovingMesh(np.asarray(truth.vertices, float), truth.faces, lens, tuple(size))
    motions, errors, trusts = [], [], []
    for frame in range(0, count - gap, EVERY):
        at = shown(mesh, truth.camera_from_object, masks[frame], frame)
        motion = true_motion(mesh, at, frame, gap)
        column, row = at.pixels.T
        maps, trust = (m[frame][row, column].astype(float) for m in flow[gap])
        motions.append(np.linalg.norm(motion, axis=-1))
        errors.append(np.linalg.norm(maps - motion, axis=-1))
        trusts.append(trust)
    motion, error, trust = (np.concatenate(x) for x in (motions, errors, trusts))
    right = error < np.maximum(RIGHT[0], RIGHT[1] * motion)
    sure = trust > 0
    mean = np.sum(error * trust) / max(trust.sum(), 1e-9)
    shares = np.mean(sure & right), np.mean(sure & ~right)
    return [float(x) for x in (motion.mean(), *shares, mean)]


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rows = []
    for folder in sys.argv[1:]:
        clip, truth = read_clip(folder), read_truth(folder)
        if truth is None or truth.vertices is None:
            sys.exit(f"a clip must have true vertices to be measured, got {folder}")
        flow = compute_flow(clip.images, clip.masks)
        for gap in GAPS:
            motion, *rest = figures(truth, clip.masks, flow, gap)
            numbers = [f"{x:.3f}" for x in rest]
            rows.append([clip.name, gap, f"{motion:.1f}", *numbers])
    head = ["clip", "gap", "true motion px", "right", "wrong", "mean error px"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
