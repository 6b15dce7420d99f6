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

from adreamer_jax.core import zbuffer
from adreamer_jax.data.clip import Truth, read_clip, read_truth
from adreamer_jax.data.flow import GAPS, Flow, compute_flow
from adreamer_jax.types import Clip

EVERY = 3  # frames
RIGHT = (2.0, 1 / 3)  # pixels, or share of the motion


class Shown(NamedTuple):
    """The low parts of the surface that a frame shows."""

    row: np.ndarray
    column: np.ndarray
    corners: np.ndarray  # vertices of the face under each pixel
    share: np.ndarray  # of each corner


def shown(truth: Truth, clip: Clip, frame: int) -> Shown:
    """Pixels on the low parts, and where on the mesh they are."""
    vertices = np.asarray(truth.vertices[frame], float)
    lens = np.broadcast_to(truth.intrinsics, (len(truth.vertices), 4))[frame]
    seen = zbuffer.face_map(vertices, truth.faces, lens, clip.masks.shape[1:])
    row, column = np.nonzero((seen.face >= 0) & clip.masks[frame])
    corners = truth.faces[seen.face[row, column]]
    ray = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], -1)
    ray[:, :2] = (ray[:, :2] - lens[2:]) / lens[:2]
    point = ray * zbuffer.depth_map(seen)[row, column][:, None]
    share = zbuffer.barycentric(vertices[corners], point)
    camera = np.asarray(truth.camera_from_object[frame], float)
    up = height(np.concatenate([vertices, point]), camera)[len(vertices) :]
    low = up < LOW
    return Shown(row[low], column[low], corners[low], share[low])


def true_motion(truth: Truth, at: Shown, frame: int) -> np.ndarray:
    """Pixels that the shown points move until another frame."""
    lens = np.broadcast_to(truth.intrinsics, (len(truth.vertices), 4))[frame]
    corners = np.asarray(truth.vertices[frame], float)[at.corners]
    there = zbuffer.project(np.sum(at.share[..., None] * corners, 1), lens)
    return there - np.stack([at.column + 0.5, at.row + 0.5], -1)


def figures(truth: Truth, clip: Clip, flow: Flow, gap: int) -> list[float]:
    """Mean motion, shares trusted and right, trusted and wrong, error by confidence."""
    motions, errors, trusts = [], [], []
    for frame in range(0, len(clip.masks) - gap, EVERY):
        at = shown(truth, clip, frame)
        motion = true_motion(truth, at, frame + gap)
        maps, trust = (m[frame][at.row, at.column].astype(float) for m in flow[gap])
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
        if truth is None:
            sys.exit(f"a clip must have a truth to be measured, got none in {folder}")
        flow = compute_flow(clip.images, clip.masks)
        for gap in GAPS:
            motion, *rest = figures(truth, clip, flow, gap)
            numbers = [f"{x:.3f}" for x in rest]
            rows.append([clip.name, gap, f"{motion:.1f}", *numbers])
    head = ["clip", "gap", "true motion px", "right", "wrong", "mean error px"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
