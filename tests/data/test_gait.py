"""Gaits are rotations, periodic, continuous, and really move the legs."""

import numpy as np
import pytest

from adreamer_jax.data import anatomy, gait
from adreamer_jax.data.species import SPECIES

CASES = [(name, pose) for name, s in SPECIES.items() for pose in gait.poses_of(s)]


@pytest.mark.parametrize("name,pose", CASES)
def test_turns_are_periodic_smooth_rotations_of_known_bones(name, pose):
    phase = np.linspace(0, 2 * np.pi, 65)
    turns = gait.turns(SPECIES[name], pose, phase, look=0.1)
    known = set(anatomy.build(SPECIES[name]).bones)
    assert len(known & set(turns)) >= 3
    for bone, turn in turns.items():
        np.testing.assert_allclose(
            turn @ turn.swapaxes(-1, -2),
            np.broadcast_to(np.eye(3), turn.shape),
            atol=1e-9,
        )
        assert np.abs(np.diff(turn, axis=0)).max() < 0.35
        if "trunk" not in bone:  # a trunk sways at half the pace
            np.testing.assert_allclose(turn[0], turn[-1], atol=1e-9)


def test_diagonal_legs_of_a_walk_alternate():
    phase = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    turns = gait.turns(SPECIES["fox"], "walking", phase)
    swing = {k: np.arctan2(v[:, 2, 1], v[:, 1, 1]) for k, v in turns.items()}
    left, right = swing["hind left upper"], swing["hind right upper"]
    assert np.ptp(left) > 0.7
    np.testing.assert_allclose(left, np.roll(right, 20), atol=1e-6)


def test_every_pose_is_somebodys():
    taken = {pose for _, pose in CASES}
    assert taken == set(gait.POSES)
