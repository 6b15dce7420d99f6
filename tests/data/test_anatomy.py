"""Every species has a sound skeleton, symmetric at rest."""

import numpy as np
import pytest

from adreamer_jax.data import anatomy
from adreamer_jax.data.species import SPECIES


@pytest.mark.parametrize("name", SPECIES)
def test_bodies_are_sound_and_symmetric(name):
    body = anatomy.build(SPECIES[name])
    assert all(p < i for i, p in enumerate(body.parents))
    assert set(body.paint) <= set(anatomy.PAINTS)
    assert np.all(body.start_radius > 0) and np.all(body.end_radius > 0)
    np.testing.assert_allclose(np.linalg.norm(body.flat_axis, axis=-1), 1, atol=1e-6)
    rows = np.concatenate(
        [body.start, body.end, body.start_radius[:, None], body.end_radius[:, None]], 1
    )
    mirrored = rows * np.array([-1, 1, 1, -1, 1, 1, 1, 1])
    apart = np.abs(rows[:, None] - mirrored[None]).max(-1).min(1)
    if name != "sheep":  # tufts of wool stand where they like
        assert apart.max() < 1e-9


def test_rest_is_still_and_children_follow():
    body = anatomy.build(SPECIES["fox"])
    still = anatomy.carry(body, {}, 2)
    np.testing.assert_allclose(still, np.broadcast_to(np.eye(4), still.shape))
    quarter = np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])
    moved = anatomy.carry(body, {"neck": quarter}, 1)[0]
    neck, head = body.bones.index("neck"), body.bones.index("head")
    np.testing.assert_allclose(moved[head], moved[neck])
    pivot = moved[neck] @ np.append(body.heads[neck], 1.0)
    np.testing.assert_allclose(pivot[:3], body.heads[neck], atol=1e-12)
    np.testing.assert_allclose(moved[body.bones.index("body")], np.eye(4))
