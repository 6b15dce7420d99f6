"""One step's arithmetic: augmentations are symmetries, noise is fair, weights bound."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit
from adreamer_jax.prior.mvdream import camera_tokens
from adreamer_jax.systems.pocket import learn, start_params
from tests.systems.small_pocket import fake_sets, networks, plain_sample, recipe

FLAT = jnp.ones(4)


def tokens(first_azimuth, elevation=0.3):
    """The ring of cameras that begins at an azimuth."""
    turn = first_azimuth + jnp.arange(4) * jnp.pi / 2
    return camera_tokens(orbit(turn, elevation * FLAT, 2 * FLAT, FLAT, size=(8, 8)))


def test_the_mirror_image_is_seen_from_the_other_side():
    """The azimuth changes its sign; elevation and the order of the views do not."""
    np.testing.assert_allclose(
        learn.mirrored_cameras(tokens(0.7)), tokens(-0.7), atol=1e-6
    )


def test_mirroring_twice_changes_nothing():
    images = jax.random.uniform(jax.random.key(0), (4, 6, 6, 4))
    twice = learn.mirrored_images(learn.mirrored_images(images))
    np.testing.assert_array_equal(twice, images)
    cameras = tokens(1.1)
    twice = learn.mirrored_cameras(learn.mirrored_cameras(cameras))
    np.testing.assert_allclose(twice, cameras, atol=1e-6)


def test_mirrored_pictures_and_cameras_belong_together():
    """A point is seen at the mirrored pixel by the mirrored view of its twin."""
    point = jnp.array([0.3, -0.2, 0.5])  # ours: y up, front +z, left +x

    def pixel(matrix, point):
        world = point[jnp.array([2, 0, 1])]  # z up, front +x
        turn = matrix[:3, :3]
        local = turn.T @ (world - 3.0 * matrix[:3, 3])
        return local[:2] / -local[2]  # OpenGL: looks along -z

    ring = tokens(0.4).reshape(4, 4, 4)
    mirrored = learn.mirrored_cameras(tokens(0.4)).reshape(4, 4, 4)
    twin = point * jnp.array([-1.0, 1.0, 1.0])
    for view, source in enumerate((0, 3, 2, 1)):
        seen = pixel(ring[source], point)
        np.testing.assert_allclose(
            pixel(mirrored[view], twin), seen * jnp.array([-1.0, 1.0]), atol=1e-5
        )


def test_turning_keeps_each_picture_with_its_camera():
    images = jnp.arange(2 * 4 * 4.0).reshape(2, 4, 2, 2, 1)
    cameras = jnp.stack([tokens(0.1), tokens(0.9)])
    sample = plain_sample(2)._replace(turn=jnp.array([1, 3]))
    turned, seen = learn.augmented(images, cameras, sample)
    for i, turn in enumerate((1, 3)):
        np.testing.assert_array_equal(turned[i], jnp.roll(images[i], turn, axis=0))
        np.testing.assert_array_equal(seen[i], jnp.roll(cameras[i], turn, axis=0))


@pytest.mark.parametrize("alpha", [True, False])
def test_the_background_is_zero_for_the_network(alpha):
    sizes = networks(prior__alpha=alpha)
    codes = learn.code_views(sizes, jnp.zeros((1, 4, 16, 16, 4), jnp.uint8))
    assert codes.shape == (1, 4, 8, 8, 16 if alpha else 12)
    pixels = codes.reshape(-1, 4 if alpha else 3)
    np.testing.assert_array_equal(pixels[:, :3], 0.0)
    if alpha:
        np.testing.assert_array_equal(pixels[:, 3], -1.0)


def test_levels_are_spread_over_a_batch():
    config = recipe("pocket", run__batch=8)
    config.loss_numbers.level_power = ((0.0, 1.0),)
    config.loss_numbers.shown = 0.0
    sample = jax.jit(partial(learn.draw_sample, config))(
        jax.random.key(3), jnp.int32(3)
    )
    assert sorted((8 * np.asarray(sample.level[:, 0])).astype(int)) == list(range(8))
    np.testing.assert_array_equal(sample.level, sample.level[:, :1] + np.zeros(4))
    np.testing.assert_array_equal(sample.row, 8 + np.arange(8))  # second of two


def test_some_sets_have_views_that_are_shown():
    """A third of them one to three views; those are clear, the others as they were."""
    level = jnp.linspace(0.0, 0.999, 600)
    found = learn.with_clear_views(jax.random.key(0), level, share=0.33, most=0.1)
    found, level = np.asarray(found), np.asarray(level)[:, None]
    shown = (found != level).sum(1)
    assert 0.27 < (shown > 0).mean() < 0.39
    assert set(shown) == {0, 1, 2, 3}
    assert (found <= level).all() and found[found != level].max() <= 0.1
    one = (found != level)[shown == 1].mean(0)
    assert one.min() > 0.1  # any view may be the one


def test_weights_of_levels():
    schedule = networks().schedule
    t = np.arange(0, 1000, 37)
    a = np.asarray(schedule.alphas_cumprod)[t]
    expected = [min(1.0, 5.0 / (x / (1 - x) + 1)) for x in a]
    found = learn.level_weight(schedule, jnp.asarray(t), most=5.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.fixture(scope="module")
def trial():
    """A batch, its loss under fresh weights, and what those are worth."""
    config = recipe("pocket", run__batch=4)
    sizes = networks()
    sets = fake_sets(4, 16)
    shelf = {
        "images": jnp.asarray(sets["images"]),
        "cameras": jnp.asarray(sets["cameras"]),
        "ids": jnp.ones((4, 18), jnp.int32),
    }
    params = start_params(config, sizes)
    views = partial(learn.chosen, sizes, shelf, silence=jnp.zeros(18, jnp.int32))
    run = jax.jit(
        lambda sample: learn.objective(
            config, sizes, params, views(sample), sample, jax.random.key(1)
        )
    )
    return run, sizes, shelf


def test_a_fresh_network_errs_by_the_velocity_itself(trial):
    """It says zero: the error is a E[e^2] + (1 - a) E[x^2]."""
    run, sizes, shelf = trial
    sample = plain_sample(4)
    _, metrics = run(sample)
    codes = np.asarray(learn.code_views(sizes, shelf["images"]))
    codes = codes.reshape(4, -1, 4)
    a = np.asarray(sizes.schedule.alphas_cumprod)[[125, 375, 625, 875]]
    square = (codes**2).mean(1)
    color = a + (1 - a) * square[:, :3].mean(-1)
    alpha = a + (1 - a) * square[:, 3]
    expected = (color + alpha).mean()
    assert float(metrics["error/velocity"]) == pytest.approx(expected, rel=0.03)


def test_a_batch_is_the_mean_of_its_shares(trial):
    """Noise goes by the place in the whole batch, so devices may share it."""
    run, *_ = trial
    whole = plain_sample(4)
    pick = lambda rows: jax.tree.map(lambda x: x[rows], whole)
    first, second = (run(pick(jnp.array(r)))[0] for r in ([0, 1], [2, 3]))
    assert float(run(whole)[0]) == pytest.approx(float(first + second) / 2, rel=1e-5)


def test_silence_takes_the_text_away(trial):
    _, sizes, shelf = trial
    sample = plain_sample(4)._replace(silent=jnp.array([True, False, True, False]))
    views = learn.chosen(sizes, shelf, sample, jnp.zeros(18, jnp.int32))
    np.testing.assert_array_equal(views.ids[:, 0], [0, 1, 0, 1])
