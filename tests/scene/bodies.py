"""A strip of bones and a motion that wiggles them."""

import numpy as np
from scipy.spatial.transform import Rotation


def strip(columns=61, bones=5):
    """A flat strip along x and bones along it, with weights that fade between them."""
    x = np.linspace(0, 4, columns)
    vertices = np.stack(
        [np.repeat(x, 2), np.tile([0.0, 0.3], columns), 0 * np.repeat(x, 2)], -1
    )
    a = np.arange(columns - 1) * 2
    faces = np.concatenate(
        [np.stack([a, a + 2, a + 3], -1), np.stack([a, a + 3, a + 1], -1)]
    )
    weights = np.exp(-((vertices[:, :1] - np.linspace(0.2, 3.8, bones)) ** 2) / 0.1)
    rest = np.tile(np.eye(4), (bones, 1, 1))
    rest[:, 0, 3] = np.linspace(0.2, 3.8, bones)
    rest[:, :3, :3] = Rotation.random(bones, rng=2).as_matrix()
    return vertices, faces, weights / weights.sum(1, keepdims=True), rest


def wiggle(bones, frames=4, seed=0):
    rng = np.random.default_rng(seed)
    motion = np.tile(np.eye(4), (frames, bones, 1, 1))
    turn = Rotation.from_rotvec(0.3 * rng.normal(size=(frames * bones, 3))).as_matrix()
    motion[..., :3, :3] = turn.reshape(frames, bones, 3, 3)
    motion[..., :3, 3] = 0.1 * rng.normal(size=(frames, bones, 3))
    return motion
