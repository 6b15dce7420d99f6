"""Heads have what their species is told by, in the right place and on both sides."""

import dataclasses

import numpy as np
import pytest

from adreamer_jax.data import anatomy
from adreamer_jax.data.anatomy_head import HEADGEAR
from adreamer_jax.data.species import SPECIES

FOX = SPECIES["fox"]


def off_the_head(body):
    """Capsules that move with neither head nor neck nor anything that hangs there."""
    upper = set()
    for name, parent in zip(body.bones, body.parents, strict=True):
        if name in ("neck", "head") or (parent >= 0 and body.bones[parent] in upper):
            upper.add(name)
    return [body.bones[i] not in upper for i in body.bone]


@pytest.mark.parametrize("name", SPECIES)
def test_everybody_looks_out_of_eyes_on_both_sides(name):
    body = anatomy.build(SPECIES[name])
    eyes = body.start[[paint == "eye" for paint in body.paint]]
    left, right = (eyes[side * eyes[:, 0] > 0] for side in (1, -1))
    assert len(left) + len(right) == len(eyes) > 0
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-12)
    trunk = body.heads[body.bones.index("body")]
    assert np.all(eyes[:, 2] > trunk[2]), "in front of the trunk"


@pytest.mark.parametrize("tag", HEADGEAR)
def test_what_grows_on_a_head_leaves_the_body_alone(tag):
    """A fox with it has more capsules, and those behind its neck are the same."""
    plain = dataclasses.replace(FOX, tags=tuple(t for t in FOX.tags if t != tag))
    grown = dataclasses.replace(plain, tags=(*plain.tags, tag))
    plain, grown = anatomy.build(plain), anatomy.build(grown)
    assert len(grown.bone) > len(plain.bone)
    rest = plain.start[off_the_head(plain)]
    np.testing.assert_array_equal(grown.start[off_the_head(grown)], rest)


def test_a_beak_points_where_the_bird_looks():
    body = anatomy.build(SPECIES["duck"])
    beak = body.paint.index("accent")
    skull = body.start[body.bone == body.bones.index("head")][0]
    assert body.end[beak][2] > skull[2] + SPECIES["duck"].head
