"""Fitting to sampled sets: each drawn once, of the shape at rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit, project
from adreamer_jax.systems.animatable import generation_fit as fit
from tests.systems.test_generation import second_recipe


def test_the_sets_have_the_first_steps_and_every_so_manyth_of_the_rest():
    config = second_recipe(**{"fit.steps": 5, "fit.every": 3})
    due = lambda: [i for i in range(14) if bool(fit.fit_due(config, i))]
    assert due() == [0, 1, 2, 3, 4, 6, 9, 12]
    with config.unlocked():
        config.fit.every = 0
    assert due() == [0, 1, 2, 3, 4]


def test_what_is_sampled_once_depends_on_the_seed_alone():
    config, other = second_recipe(), second_recipe()
    other.run.seed = config.run.seed + 1
    draw = lambda config, purpose: np.asarray(
        jax.random.normal(fit._key(config, purpose), (8,))
    )
    np.testing.assert_array_equal(draw(config, "views"), draw(config, "views"))
    assert np.abs(draw(config, "views") - draw(config, "noise")).max() > 0.1
    assert np.abs(draw(config, "views") - draw(other, "views")).max() > 0.1


def test_the_set_is_of_the_rest_shape_and_moves_the_field_alone():
    config = second_recipe()
    before = config.csd.to_dict()
    still = fit.at_rest(config)
    assert (still.csd.space, still.csd.moves) == ("canonical", "canonical")
    assert config.csd.to_dict() == before  # the caller's recipe stays


def test_sets_are_drawn_evenly_over_the_fit_and_never_after_it():
    config = second_recipe()
    with config.unlocked():
        config.fit.update(dict(steps=10, sets=4))
    due = {step: fit.set_due(config, step) for step in range(14)}
    assert {k: v for k, v in due.items() if v is not None} == {0: 0, 2: 1, 5: 2, 7: 3}
    config.fit.steps = 0
    assert fit.set_due(config, 0) is None


def test_each_set_is_seen_from_elsewhere():
    config = second_recipe()
    draw = lambda number: np.asarray(
        jax.random.normal(fit._key(config, "views", number), (8,))
    )
    np.testing.assert_array_equal(draw(1), draw(jnp.asarray(1)))
    assert np.abs(draw(0) - draw(1)).max() > 0.1


@pytest.fixture(scope="module")
def outlines():
    """Four cameras around a slanted ellipsoid, and what they see of it."""
    turn = jnp.asarray(0.3 + np.arange(4) * np.pi / 2, jnp.float32)
    one = jnp.ones(4)
    camera = orbit(turn, 0.3 * one, 3.2 * one, 0.7 * one, size=(32, 32))
    random = np.random.default_rng(0)
    points = random.standard_normal((60_000, 3))
    points *= random.random((60_000, 1)) ** (1 / 3) / np.linalg.norm(
        points, axis=1, keepdims=True
    )
    points = points * [0.8, 0.25, 0.4] @ np.linalg.qr(random.standard_normal((3, 3)))[0]
    points = jnp.broadcast_to(jnp.asarray(points, jnp.float32), (4, *points.shape))
    place = np.floor(np.asarray(project(camera, points)[0])).astype(int)
    masks = np.zeros((4, 32, 32), np.float32)
    for mask, xy in zip(masks, place, strict=True):
        mask[xy[:, 1], xy[:, 0]] = 1.0
    return camera, masks


def test_outlines_of_one_object_agree_and_others_do_not(outlines):
    camera, masks = outlines
    whole = float(fit.hull_agreement(camera, jnp.asarray(masks)))
    assert whole > 0.9
    torn = masks.copy()
    torn[2, :, 16:] = 0.0  # half of one view is missing
    mixed = masks[[1, 0, 2, 3]]  # two views change places
    moved = np.roll(masks, 5, axis=2)
    for wrong in (torn, mixed, moved):
        assert float(fit.hull_agreement(camera, jnp.asarray(wrong))) < whole - 0.1
    assert float(fit.hull_agreement(camera, jnp.zeros((4, 32, 32)))) == 0.0


def test_agreement_by_a_slow_twin(outlines):
    camera, masks = outlines
    random = np.random.default_rng(1)
    masks = np.maximum(masks, (random.random(masks.shape) < 0.02).astype(np.float32))
    cells = 14
    axis = (np.arange(cells) + 0.5) / cells * 2 - 1
    points = np.array([[x, y, z] for x in axis for y in axis for z in axis], np.float32)
    every = jnp.broadcast_to(jnp.asarray(points), (4, *points.shape))
    place = np.floor(np.asarray(project(camera, every)[0])).astype(int)
    seen = lambda v, p: (
        all(0 <= c < 32 for c in place[v, p]) and masks[v][tuple(place[v, p][::-1])] > 0
    )
    held = [p for p in range(len(points)) if all(seen(v, p) for v in range(4))]
    scores = []
    for v in range(4):
        outline = {tuple(place[v, p][::-1]) for p in held}
        mask = set(zip(*np.nonzero(masks[v]), strict=True))
        scores.append(len(outline & mask) / len(outline | mask))
    found = fit.hull_agreement(camera, jnp.asarray(masks), cells=cells)
    assert float(found) == pytest.approx(np.mean(scores), abs=1e-6)
