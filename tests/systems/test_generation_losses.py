"""Terms without a picture: points from cells, and which terms look at the clip."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.systems.animatable import generation_losses as losses
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
