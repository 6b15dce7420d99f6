"""How much of the legs is there: the part of extraction that a Chamfer distance hides.

    python benchmarks/legs.py CLIPS RUNS

CLIPS holds clip folders with a truth, RUNS a work folder of the same name for each. The
table has the share of the true surface's points that the exported surface of the frame
has within 2 % of the longest side, after the alignment of the evaluation: of all
points, and of those in the lowest two fifths of the animal's height. A galloping
horse without hind legs has an F-score of .90; there it has a quarter.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import KDTree

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.core import shape
from adreamer_jax.data.clip import read_truth
from adreamer_jax.run import score

LOW = 0.4  # of the height
NEAR = 0.02  # of the longest side
EVERY = 7  # frames
POINTS = 6000


def height(points: np.ndarray, camera_from_object: np.ndarray) -> np.ndarray:
    """Height of camera-space points, 0 at the feet, 1 on top: the object's y is up."""
    at = points @ camera_from_object[:3, 1]
    return (at - at.min()) / np.ptp(at)


def found(source: np.ndarray, target: np.ndarray, near: float) -> np.ndarray:
    """Which points of the target have one of the aligned source within a distance."""
    aligned = score.align(source, target, KDTree(target))
    return shape.nearest(target, aligned)[0] < near


def shares(truth, meshes: Path) -> tuple[float, float]:
    """Shares that are found, of all points and of the low ones, over the frames."""
    whole, low = [], []
    for frame in range(0, len(truth.vertices), EVERY):
        random = np.random.default_rng(frame)
        mesh = trimesh.load(meshes / f"{frame:05d}.ply", process=False)
        vertices = np.asarray(truth.vertices[frame], float)
        camera = np.asarray(truth.camera_from_object[frame], float)
        source = shape.sample_surface(
            np.asarray(mesh.vertices, float), np.asarray(mesh.faces), POINTS, random
        )
        target = shape.sample_surface(vertices, truth.faces, POINTS, random)
        near = NEAR * score.longest_side(vertices, camera)
        hit = found(source, target, near)
        whole.append(hit.mean())
        low.append(hit[height(target, camera) < LOW].mean())
    return float(np.mean(whole)), float(np.mean(low))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("clips", type=Path)
    words.add_argument("runs", type=Path)
    asked = words.parse_args()
    rows = []
    for run in sorted(asked.runs.iterdir()):
        meshes = run / "export" / "extract" / "meshes"
        truth = read_truth(asked.clips / run.name) if meshes.is_dir() else None
        if truth is not None:
            rows.append([run.name, *(f"{x:.3f}" for x in shares(truth, meshes))])
    print(table(["clip", "found of the surface", "found of the low parts"], rows))


if __name__ == "__main__":
    main()
