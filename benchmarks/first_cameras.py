"""How far first cameras are from the truth before any learning.

    python benchmarks/first_cameras.py CLIP [CLIP ...]

Clips with a truth, whose own cameras are left aside: medians, over the frames, of the
angle to the true rotations after the best constant rotation of the object, for one
constant pose, for the search with silhouettes alone, and with flow as well.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from timing import table

from adreamer_jax.data.cameras import constant_camera, intrinsics_of
from adreamer_jax.data.clip import read_clip, read_truth
from adreamer_jax.data.first_cameras import GAPS, search_cameras
from adreamer_jax.data.flow import compute_flow
from adreamer_jax.run.score import root_errors
from adreamer_jax.systems.animatable.clipdata import training_size
from adreamer_jax.types import Clip, Float

RESOLUTION = 128  # longest side of the flow, as in training


def guesses(clip: Clip) -> dict[str, Float[np.ndarray, "t 4 4"]]:
    """First cameras of a clip by name; what it says of them is not looked at."""
    intrinsics = intrinsics_of(clip)
    size = training_size(clip.masks.shape[1:], RESOLUTION)
    flow = compute_flow(clip.images, clip.masks, GAPS, size=size)
    return {
        "constant pose": constant_camera(clip.masks, intrinsics),
        "silhouettes": search_cameras(clip.masks, intrinsics, {}),
        "silhouettes and flow": search_cameras(clip.masks, intrinsics, flow),
    }


def row(folder: Path) -> list[str]:
    """Name, median degrees of each guess, and seconds for all of them."""
    clip, truth = read_clip(folder), read_truth(folder)
    if truth is None or truth.camera_from_object is None:
        raise ValueError(f"{folder} must have true cameras, got none")
    started = time.process_time()
    found = guesses(clip)
    spent = time.process_time() - started
    true = truth.camera_from_object.astype(float)
    errors = [root_errors(x.astype(float), true) for x in found.values()]
    degrees = [f"{error['rotation_median_deg']:.1f}" for error in errors]
    return [clip.name, *degrees, f"{spent:.0f}"]


def main(folders: list[str]) -> None:
    """Print the table."""
    head = ["clip", "constant pose", "silhouettes", "silhouettes and flow", "CPU s"]
    print(table(head, [row(Path(folder)) for folder in folders]))


if __name__ == "__main__":
    main(sys.argv[1:])
