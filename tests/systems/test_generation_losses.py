"""Terms without a picture: points from cells, and which terms look at the clip."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.scene.field import signed_distance
from adreamer_jax.systems.animatable import generation_losses as losses
from adreamer_jax.systems.animatable.model import moment
from tests.systems.small import small_model, small_recipe
from tests.systems.tiny import tiny_recipe


def test_points_lie_in_true_cells_alone_and_evenly():
    grid = np.zeros((4, 4, 4), bool)
    grid[0, 1, 2] = grid[3, 3, 0] = True
    points = losses.occupied_points(jnp.asarray(grid), 4000, jax.random.key(0))
    cells = np.floor((np.asarray(points) + 1.0) * 2.0).astype(int)
    found, counts = np.unique(cells, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, 3, 0]])
    assert abs(counts[0] / 4000 - 0.5) < 0.05


def test_points_come_from_the_whole_cube_where_no_cell_is_true():
    grid = jnp.zeros((4, 4, 4), bool)
    points = np.asarray(losses.occupied_points(grid, 4000, jax.random.key(1)))
    assert np.abs(points).max() <= 1.0
    np.testing.assert_allclose(points.mean(0), 0.0, atol=0.05)
    np.testing.assert_allclose(points.var(0), 1 / 3, atol=0.03)


def test_points_are_moved_onto_the_surface_and_not_farther_than_they_may():
    config, model = small_recipe(), small_model(backbone="hash")
    now = moment(config, model, jnp.array(0))
    distance = lambda points: signed_distance(model.field, points, detail=now.detail)
    points = jax.random.uniform(jax.random.key(2), (400, 3), minval=-0.7, maxval=0.7)
    moved = losses.on_surface(model, now, points)
    step = jnp.linalg.norm(moved - points, axis=-1)
    assert step.max() <= losses.REACH + 1e-6
    near = jnp.abs(distance(points)) < 0.5 * losses.REACH
    far = jnp.abs(distance(points)) > 2.0 * losses.REACH
    assert near.sum() > 20 and far.sum() > 20
    before, after = jnp.abs(distance(points)[near]), jnp.abs(distance(moved)[near])
    assert after.mean() < 0.1 * before.mean()
    np.testing.assert_allclose(step[far], losses.REACH, rtol=1e-3)
    assert jnp.all(jnp.abs(distance(moved)[far]) < jnp.abs(distance(points)[far]))


def test_points_on_the_surface_do_not_hold_the_model_by_their_place():
    config, model = small_recipe(), small_model(backbone="hash")
    points = jax.random.uniform(jax.random.key(2), (20, 3))
    pull = jax.grad(
        lambda m: losses.on_surface(m, moment(config, m, jnp.array(0)), points).sum()
    )(model)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(pull))


def test_steps_to_neighbors_do_not_follow_from_the_points_places(monkeypatch):
    """One key for both would draw steps that go outward alone."""
    seen = {}
    config, model = small_recipe(), small_model(backbone="hash")
    config.loss_numbers.surface = 0.0

    def spy(field, pair, **rest):
        seen["pair"] = pair
        return signed_distance(field, pair, **rest), jnp.ones_like(pair)

    monkeypatch.setattr(losses, "distance_with_normal", spy)
    upkeep = {"occupancy": jnp.zeros((4, 4, 4), bool).at[1, 2, 1].set(True)}
    config.loss_numbers.points = 2000
    for name in config.loss:
        config.loss[name] = 1.0 * (name in ("smooth", "eikonal"))
    losses.generation_losses(
        config, model, upkeep, None, scale=1.0, count=3, step=jnp.array(0),
        key=jax.random.key(4),
    )  # fmt: skip
    here, nearby = np.split(np.asarray(seen["pair"]), 2)
    joint = np.corrcoef(here.reshape(-1), (nearby - here).reshape(-1))[0, 1]
    assert abs(joint) < 0.05


def test_terms_of_the_clip_are_told_from_the_others():
    config = tiny_recipe()
    assert losses.compares_with_clip(config)
    only = losses.clip_terms_only(config)
    assert only.loss.rgb == config.loss.rgb
    assert only.loss.eikonal == 0.0
    assert config.loss.eikonal > 0.0  # the caller's recipe stays
    for name in losses.CLIP_TERMS:
        config.loss[name] = 0.0
    assert not losses.compares_with_clip(config)
