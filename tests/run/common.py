"""What several tests of the run floor share."""

from pathlib import Path

import jax
import numpy as np

RECIPE = """
from ml_collections import ConfigDict


def get_config(size="default"):
    if size not in ("default", "smoke"):
        raise ValueError(f"size must be one of default, smoke, got {size!r}")
    config = ConfigDict()
    config.data = ConfigDict({"clip": ""})
    config.optimizer = ConfigDict({"lr": 1e-3})
    config.ramp = ConfigDict({"csd": ((0, 0.0), (10, 1.0))})
    steps = 20 if size == "default" else 2
    config.run = ConfigDict({"steps": steps, "seed": 0, "log_every": 5})
    return config.lock()
"""


def write_recipe(folder: Path) -> Path:
    path = folder / "toy.py"
    path.write_text(RECIPE)
    return path


def same_bits(a, b):
    """Whether two trees hold the same bits."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in leaves)


def write_end(folder: Path, state) -> None:
    """Keep every bit of a final state where a test can compare it."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    np.savez(folder / "end.npz", *leaves)


def read_end(folder: Path) -> list[np.ndarray]:
    """The leaves of a final state."""
    with np.load(folder / "end.npz") as content:
        return [content[name] for name in content.files]
