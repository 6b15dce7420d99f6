"""Pictures: means are kept, metrics agree with others', colors mean what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from adreamer_jax.core.image import (
    composite,
    depth_colors,
    grid,
    label_colors,
    normal_colors,
    overlaps,
    psnr,
    resize,
    ssim,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(3, 5), (12, 20), (7, 9), (24, 13), (1, 1)])
def test_resizing_keeps_the_mean_and_constants(size):
    image = noise(12, 20, 3)
    small = resize(jnp.asarray(image), size)
    assert small.shape == (*size, 3)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(resize(jnp.ones((12, 20, 1)), size), 1, rtol=1e-5)


def test_resizing_by_a_whole_number_is_a_mean_of_blocks_and_to_itself_nothing():
    image = noise(2, 12, 20, 3)
    blocks = image.reshape(2, 4, 3, 5, 4, 3).mean((2, 4))
    np.testing.assert_allclose(resize(jnp.asarray(image), (4, 5)), blocks, atol=1e-6)
    same = resize(jnp.asarray(image), (12, 20))
    np.testing.assert_allclose(same, image, atol=1e-6)


def test_overlaps_against_a_slow_count():
    fine = 60  # both 5 and 4 divide it
    old, new = np.arange(fine) * 5 // fine, np.arange(fine) * 4 // fine
    counts = np.zeros((4, 5))
    np.add.at(counts, (new, old), 4 / fine)
    np.testing.assert_allclose(overlaps(5, 4), counts, atol=1e-6)


def test_composite_covers_the_ground_as_far_as_the_mask_says():
    color, mask = jnp.asarray(noise(4, 5, 3)), jnp.linspace(0, 1, 20).reshape(4, 5)
    over = composite(color * mask[..., None], mask, jnp.array([0.2, 0.4, 0.6]))
    np.testing.assert_allclose(over[0, 0], [0.2, 0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose(over[-1, -1], color[-1, -1], rtol=1e-6)


def test_metrics_agree_with_another_library():
    first = noise(40, 50, 3)
    second = np.clip(first + 0.1 * noise(40, 50, 3, seed=1), 0, 1)
    expected = peak_signal_noise_ratio(first, second, data_range=1)
    np.testing.assert_allclose(psnr(*map(jnp.asarray, (first, second))), expected, 1e-4)
    expected, full = structural_similarity(
        first,
        second,
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inner = full[5:-5, 5:-5].mean()
    np.testing.assert_allclose(ssim(*map(jnp.asarray, (first, second))), inner, 1e-3)


def test_normals_to_the_viewer_are_blue_and_up_is_green():
    normals = jnp.array([[0.0, 0, -1], [0, -1, 0], [1, 0, 0], [0, 0, -1]])
    colors = normal_colors(normals, jnp.array([1.0, 1, 1, 0]))
    expected = [[0.5, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 0.5], [1, 1, 1]]
    np.testing.assert_allclose(colors, expected)


def test_near_is_lighter_than_far_and_the_ground_is_white():
    depth = jnp.array([2.0, 2.5, 3.0, jnp.inf])
    mask = jnp.array([1.0, 1, 1, 0])
    light = depth_colors(depth, mask).sum(-1)
    assert light[0] > light[1] > light[2]
    assert light[3] == 3
    same = depth_colors(depth, mask, near=2.0, far=3.0)
    np.testing.assert_allclose(same.sum(-1), light, rtol=1e-6)
    assert jnp.isfinite(depth_colors(jnp.ones(3), jnp.zeros(3))).all()


def test_labels_have_colors_of_their_own():
    colors = np.asarray(jax.jit(label_colors)(jnp.arange(25)))
    assert colors.min() >= 0 and colors.max() <= 1
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert gaps[~np.eye(25, dtype=bool)].min() > 0.05
    assert np.linalg.norm(np.diff(colors, axis=0), axis=1).min() > 0.4


def test_a_sheet_shows_every_picture_where_it_belongs():
    red = np.full((10, 12, 3), [200, 0, 0], np.uint8)
    blue = np.full((8, 20, 3), [0, 0, 200], np.uint8)
    sheet = grid([[red, blue], [blue, red]], gap=4)
    assert sheet.shape == (4 + 10 + 4 + 10 + 4, 4 + 20 + 4 + 20 + 4, 3)
    np.testing.assert_array_equal(sheet[4:14, 4:16], red)
    np.testing.assert_array_equal(sheet[4:12, 28:48], blue)
    np.testing.assert_array_equal(sheet[18:26, 4:24], blue)
    assert (sheet[:4] == 255).all()
    named = grid([[red, blue]], columns=["input", "render"])
    assert (named[:16] < 128).any() and (named[16:26, 4:16] == red).all()


def test_a_sheet_needs_rows_of_one_length():
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError):
        grid([[picture], [picture, picture]])
