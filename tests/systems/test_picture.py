"""Whole pictures: every ray at its pixel, in chunks of any size; normals face us."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.scene.pose import clip_cameras
from adreamer_jax.systems.animatable.picture import (
    box_at,
    draw_pixels,
    make_draw,
    rungs,
    spread,
)
from tests.systems.tiny import FRAMES, tiny_recipe


@pytest.fixture(scope="module")
def shown(tiny, trained):
    """One view at a size that no chunk divides: small chunks, and far too few slots."""
    state, _ = trained
    pictures = []
    for chunk, share in ((64, 1.0), (1024, 0.01)):
        config = tiny_recipe(**{"render.chunk": chunk, "render.picture_share": share})
        view = clip_cameras(state.params.pose, jnp.asarray(4), size=(17, 19))
        picture = make_draw(config, FRAMES)(
            state.params, state.upkeep, state.step, view, jnp.float32(4)
        )
        pictures.append(jax.tree.map(np.asarray, picture))
    return pictures


def test_neither_chunks_nor_slots_show(shown):
    small, large = shown
    for name in ("color", "mask", "depth", "normal"):
        a, b = getattr(small, name), getattr(large, name)
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_the_object_is_where_the_mask_is(tiny, shown):
    mask = shown[0].mask > 0.5
    truth = tiny.clip.masks[4]
    rows, columns = np.nonzero(mask)
    expected = np.argwhere(truth).mean(0) * np.array([17, 19]) / 32
    assert len(rows) > 10
    assert np.linalg.norm([rows.mean(), columns.mean()] - expected) < 3


def test_normals_are_unit_and_look_at_the_camera(shown):
    picture = shown[0]
    solid = picture.mask > 0.9
    assert solid.sum() > 5
    normal = picture.normal[solid] / picture.mask[solid][:, None]
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1.0, atol=1e-3)
    # the rest looks through the fog into the gap of the first shape
    assert np.mean(normal[:, 2] < 0) > 0.75


def test_depth_is_that_of_the_surface(tiny, trained, shown):
    state, _ = trained
    depth = shown[0].depth[shown[0].mask > 0.9]
    far = float(state.params.pose.initial[4, 2, 3])
    assert np.all((depth > far - 1.2) & (depth < far + 1.2))


def test_a_frame_in_between_is_a_frame(tiny, trained):
    state, _ = trained
    view = clip_cameras(state.params.pose, jnp.asarray(4), size=(0, 0))
    shape, overflow = jax.eval_shape(
        partial(draw_pixels, tiny.config, FRAMES, share=0.5),
        state.params,
        state.upkeep,
        state.step,
        view,
        jnp.float32(4.5),
        jnp.zeros((20, 2)),
    )
    assert shape.color.shape == (20, 3) and shape.normal.shape == (20, 3)
    assert overflow.shape == ()


def test_a_box_in_between_holds_both():
    boxes = np.array([[[0, 0, 0], [1, 1, 1]], [[-1, 0.5, 0], [0.5, 2, 1]]], np.float32)
    held = box_at(jnp.asarray(boxes), jnp.float32(0.5))
    np.testing.assert_array_equal(held, [[-1, 0, 0], [1, 2, 1]])
    np.testing.assert_array_equal(box_at(jnp.asarray(boxes), jnp.float32(7)), boxes[1])


@pytest.mark.parametrize(("total", "chunk"), [(323, 64), (64, 64), (5, 64), (129, 2)])
def test_every_pixel_is_drawn_and_found_again(total, chunk):
    order, back = spread(total, chunk)
    assert order.shape[1] == chunk and set(order.reshape(-1)) == set(range(total))
    np.testing.assert_array_equal(order.reshape(-1)[back], np.arange(total))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.25, (0.25, 0.5, 1.0)),
        (0.3, (0.3, 0.6, 1.0)),
        (0.6, (0.6, 1.0)),
        (1.0, (1.0,)),
    ],
)
def test_rungs_double_up_to_a_slot_for_every_sample(share, expected):
    np.testing.assert_allclose(rungs(share), expected)
