"""What predictions without any learning score: the floor for extraction's figures.

    python benchmarks/visual_hull.py CLIP [CLIP ...]

hull: the part of space that falls into 85 % of the masks or more, with the clip's given
cameras. stiff: the exact shape of the first frame, never moving, with exact cameras.
ellipsoid: one that fills the exact box of every frame. Prints a markdown table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import trimesh
from skimage.measure import marching_cubes

sys.path.insert(0, str(Path(__file__).parents[1]))
from adreamer_jax.core.zbuffer import project
from adreamer_jax.data.clip import Truth, read_clip, read_truth
from adreamer_jax.run import score
from adreamer_jax.run.evaluate import EVERY
from adreamer_jax.types import Clip

HALF, CELLS, SHARE = 1.1, 96, 0.85


def seen_by(camera_from_object: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Object-space points in a camera's space."""
    return points @ camera_from_object[:3, :3].T + camera_from_object[:3, 3]


def local(vertices: np.ndarray, camera_from_object: np.ndarray) -> np.ndarray:
    """Camera-space points in object space."""
    return (vertices - camera_from_object[:3, 3]) @ camera_from_object[:3, :3]


def hull(clip: Clip) -> score.Mesh:
    """Surface of the share of masks that every point of a grid falls into."""
    axis = np.linspace(-HALF, HALF, CELLS, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    height, width = clip.masks.shape[1:]
    share = np.zeros(len(grid), np.float32)
    for mask, camera in zip(clip.masks, clip.camera_from_object, strict=True):
        pixel = np.floor(project(seen_by(camera, grid), clip.intrinsics)).astype(int)
        x, y = pixel.T.clip(0, np.array([[width - 1], [height - 1]]))
        share += mask[y, x] / len(clip.masks)
    level = SHARE * share.max()
    vertices, faces, _, _ = marching_cubes(share.reshape((CELLS,) * 3), level)
    return vertices * float(axis[1] - axis[0]) - HALF, faces


def predictions(clip: Clip, truth: Truth) -> dict[str, Callable[[int], score.Mesh]]:
    """Every trivial prediction as a function of the frame."""
    exact, ball = truth.camera_from_object, trimesh.creation.icosphere(4)
    carved, faces = hull(clip)
    first = local(truth.vertices[0], exact[0])

    def ellipsoid(frame: int) -> score.Mesh:
        points = local(truth.vertices[frame], exact[frame])
        low, high = points.min(0), points.max(0)
        filled = np.asarray(ball.vertices) * (high - low) / 2 + (high + low) / 2
        return seen_by(exact[frame], filled), np.asarray(ball.faces)

    return {
        "hull": lambda t: (seen_by(clip.camera_from_object[t], carved), faces),
        "stiff": lambda t: (seen_by(exact[t], first), truth.faces),
        "ellipsoid": ellipsoid,
    }


def main(argv: Sequence[str]) -> int:
    """The command line."""
    if not argv:
        print(__doc__)
        return 2
    print("| clip | prediction | Chamfer % | F@2% | seen | never seen |")
    print("| --- | --- | --- | --- | --- | --- |")
    for folder in argv:
        clip, truth = read_clip(folder), read_truth(folder)
        reference = score.make_reference(truth, clip.masks.shape[1:3])
        frames = range(0, len(clip.masks), EVERY)
        for name, mesh_at in predictions(clip, truth).items():
            out = score.score_shape(reference, mesh_at, frames)
            figures = (out["f2"], out["seen"]["f2"], out["unseen"]["f2"])
            row = " | ".join("" if f is None else f"{f:.3f}" for f in figures)
            print(f"| {clip.name} | {name} | {out['chamfer_percent']:.2f} | {row} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
