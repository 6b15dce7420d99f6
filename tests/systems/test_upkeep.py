"""Occupancy, boxes and fresh bones."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core.camera import camera_rays, clip_to_box, pixel_centers
from adreamer_jax.scene.field import signed_distance
from adreamer_jax.scene.pose import clip_cameras
from adreamer_jax.systems.animatable import upkeep
from tests.systems.tiny import FRAMES, SIZE


def test_cells_of_the_cube_are_in_the_order_of_a_grid():
    points = np.asarray(upkeep.grid_points(4)).reshape(4, 4, 4, 3)
    axis = np.array([-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(points[:, 1, 2, 0], axis)
    np.testing.assert_allclose(points[3, :, 0, 1], axis)
    np.testing.assert_allclose(points[0, 0, :, 2], axis)


def test_the_boundary_is_what_has_an_empty_neighbor():
    grid = np.zeros((6, 6, 6), bool)
    grid[1:5, 1:5, 1:5] = True
    grid[0, 3, 3] = True
    edge = np.asarray(upkeep.boundary(jnp.asarray(grid)))
    expected = grid.copy()
    expected[2:4, 2:4, 2:4] = False
    expected[1, 3, 3] = False  # all six neighbors are there
    np.testing.assert_array_equal(edge, expected)
    assert np.asarray(upkeep.boundary(jnp.ones((5, 5, 5), bool))).sum() == 98


def test_boxes_hold_every_occupied_cell_however_many_there_are(tiny):
    model, config = tiny.start.params, tiny.config  # bones that do not move
    points = upkeep.grid_points(12)
    for near in (points[:, 0] > -0.5, jnp.ones(len(points), bool)):
        boxes = np.asarray(upkeep.posed_boxes(config, model, near, points, 2))
        inside = np.asarray(points)[np.asarray(near)]
        expected = np.stack([inside.min(0) - 0.05, inside.max(0) + 0.05])
        for box in boxes:
            np.testing.assert_allclose(box, expected, atol=1e-3)
    nothing = upkeep.posed_boxes(config, model, jnp.zeros(len(points), bool), points, 2)
    np.testing.assert_allclose(nothing, np.tile([[[-1.2] * 3, [1.2] * 3]], (2, 1, 1)))


def test_the_ball_is_about_the_middle_of_the_box():
    points = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    valid = np.arange(30) < 20
    some = points[:20]
    middle = (some.min(0) + some.max(0)) / 2
    middle[0] = some[:, 0].mean()  # across
    radius = np.linalg.norm(some - middle, axis=1).max()
    across = jnp.array([1.0, 0.0, 0.0])
    found = upkeep.ball(jnp.asarray(points), jnp.asarray(valid), across=across)
    np.testing.assert_allclose(found, [*middle, radius], rtol=1e-5)
    nothing = upkeep.ball(jnp.asarray(points), jnp.zeros(30, bool), across=across)
    np.testing.assert_array_equal(nothing, [0.0, 0.0, 0.0, 1.0])


def test_the_prior_aims_at_what_is_seen_and_not_at_its_cells(tiny, trained):
    """Of bones that do not move, every ball is that of the visible surface.

    A density as soft as at a run's start is seen well outside of the zero set.
    """
    model, config = tiny.start.params, tiny.config
    found = jax.jit(lambda m, s: upkeep.aims(config, m, s, FRAMES))(
        model, tiny.start.step
    )
    points = np.asarray(upkeep.grid_points(96))
    detail = config.scene.field.detail[0][1] if config.scene.field.detail else 1.0
    sdf = signed_distance(model.field, jnp.asarray(points), detail=detail)
    beta = config.scene.field.beta[0][1]
    balls = []
    half = 1.0 / upkeep.AIM_CELLS  # a cell, where the surface passes through it
    for level in (0.0, config.run.mesh_level * beta + half):
        inside = points[np.asarray(sdf) < level]
        middle = (inside.min(0) + inside.max(0)) / 2
        middle[0] = inside[:, 0].mean()  # the recipe's front is +z
        balls.append([*middle, np.linalg.norm(inside - middle, axis=1).max()])
    assert balls[1][3] > balls[0][3] + 0.5 * beta
    for row in (*np.asarray(found["aim"]), np.asarray(found["aim_rest"])):
        np.testing.assert_allclose(row, balls[1], atol=half)


def test_refreshed_occupancy_keeps_the_surface(tiny, trained):
    state, _ = trained
    grid, boxes = jax.jit(
        lambda m, f, s: upkeep.refresh(tiny.config, m, f, s)
    )(state.params, tiny.frozen, state.step)  # fmt: skip
    cells = tiny.config.render.occupancy_cells
    points = upkeep.grid_points(40)
    sdf = np.asarray(signed_distance(state.params.field, points, detail=0.5))
    near = np.asarray(points)[np.abs(sdf) < 0.01]
    index = np.clip(((near + 1) / 2 * cells).astype(int), 0, cells - 1)
    assert np.asarray(grid)[tuple(index.T)].mean() > 0.99
    assert boxes.shape == (FRAMES, 2, 3) and np.all(boxes[:, 1] > boxes[:, 0])


def test_the_masks_agree_on_the_middle_and_on_nothing_outside(tiny):
    points = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.95, 0.0], [0.0, 0.0, 90.0]])
    share = upkeep.hull_share(tiny.start.params, tiny.frozen, points)
    assert share[0] > 0.9 and share[1] == 0.0


def test_rays_of_the_clip_meet_the_boxes(tiny, trained):
    state, _ = trained
    camera = clip_cameras(state.params.pose, jnp.array([3]), size=(SIZE, SIZE))
    pixels = pixel_centers((SIZE, SIZE))[None]
    rays = clip_to_box(camera_rays(camera, pixels), state.upkeep["box"][3:4])
    hit = np.asarray(rays.far > rays.near).reshape(SIZE, SIZE)
    assert hit[tiny.clip.masks[3]].mean() > 0.9


def test_seeded_bones_fill_the_shape_evenly():
    inside = np.zeros((16, 16, 16), bool)
    inside[1:15, 6:10, 6:10] = True  # a rod along x
    centers, scales = upkeep.seed_bones(inside, count=5, seed=0)
    assert centers.shape == (5, 3) and scales.shape == (5,)
    points = np.asarray(upkeep.grid_points(16))[inside.reshape(-1)]
    gap = np.linalg.norm(points[:, None] - centers, axis=-1).min(1)
    assert gap.max() < 0.5  # every cell has a bone near
    assert np.all(np.abs(centers[:, 1:]) < 0.3) and np.all(scales > 0)
    again, _ = upkeep.seed_bones(inside, count=5, seed=0)
    np.testing.assert_array_equal(again, centers)
