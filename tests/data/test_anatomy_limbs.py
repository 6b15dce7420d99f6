"""Limbs reach from the body to where they ought to end, on both sides."""

import dataclasses

import numpy as np
import pytest

from adreamer_jax.data import anatomy
from adreamer_jax.data.species import SPECIES

LEGGED = [name for name, s in SPECIES.items() if s.plan == "quadruped"]


def of(body, bone):
    """Start, end and radii of a bone's capsules."""
    rows = body.bone == body.bones.index(bone)
    return body.start[rows], body.end[rows], body.start_radius[rows]


@pytest.mark.parametrize("name", LEGGED)
def test_every_leg_ends_on_the_ground(name):
    body = anatomy.build(SPECIES[name])
    for leg in anatomy.LEGS:
        start, end, radius = of(body, f"{leg} foot")
        low = np.minimum(start[:, 1], end[:, 1]) - radius
        assert abs(low.min()) < 0.03, leg
        top = body.heads[body.bones.index(f"{leg} upper")]
        assert top[1] > 0.5 * SPECIES[name].leg
        assert np.sign(top[0]) == (1 if "left" in leg else -1)


@pytest.mark.parametrize("name", LEGGED)
def test_a_tail_is_as_long_as_the_table_says_and_points_back(name):
    body = anatomy.build(SPECIES[name])
    joints = body.heads[[body.bones.index(f"tail{i}") for i in (1, 2, 3)]]
    steps = np.diff(joints, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=-1), SPECIES[name].tail / 3.0)
    hip = body.start[0]
    assert joints[0, 2] < hip[2]


@pytest.mark.parametrize("name", SPECIES)
def test_bones_of_limbs_hang_together(name):
    """A limb's next bone turns about a point of the one before: within its capsules."""
    body = anatomy.build(SPECIES[name])
    for i, bone in enumerate(body.bones):
        parent = body.parents[i]
        if parent < 0 or not bone.endswith((" lower", " foot", "tail2", "tail3")):
            continue
        start, end, radius = of(body, body.bones[parent])
        if not len(start):
            continue
        way = end - start
        place = np.sum((body.heads[i] - start) * way, -1)
        place = place / np.maximum(np.sum(way**2, -1), 1e-12)
        near = start + np.clip(place, 0, 1)[:, None] * way
        gap = np.linalg.norm(body.heads[i] - near, axis=-1) - radius
        assert gap.min() < 1e-6, bone


def test_a_long_foot_is_longer():
    plain = SPECIES["fox"]
    long = dataclasses.replace(plain, tags=(*plain.tags, "long feet"))
    reach = [
        np.ptp(np.concatenate(of(anatomy.build(s), "hind left foot")[:2])[:, 2])
        for s in (plain, long)
    ]
    assert reach[1] > reach[0] + 2.0 * plain.foot
