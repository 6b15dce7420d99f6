"""Errors by noise and samples: closed forms where the right answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.data.zoo_views import _cameras, _mvdream_cameras
from adreamer_jax.prior.noise import clean_of, epsilon_of
from adreamer_jax.systems.pocket import learn, look
from tests.systems.small_pocket import fake_sets, networks


@pytest.fixture
def sizes():
    return networks()


def test_bands_of_a_network_that_says_zero(sizes, monkeypatch):
    """Its error is the velocity: a + (1 - a) E[x^2], averaged over each band."""
    monkeypatch.setattr(learn, "predict", lambda n, p, noised, *_: 0 * noised)
    monkeypatch.setattr(learn, "read_text", lambda *_: None)
    sets = fake_sets(16, 16)
    arrays = {k: jnp.asarray(sets[k]) for k in ("images", "cameras")}
    arrays["ids"] = jnp.zeros((16, 18), jnp.int32)
    found = look.band_errors(sizes, None, arrays)
    codes = np.asarray(learn.code_views(sizes, arrays["images"])).reshape(-1, 4) ** 2
    a = np.asarray(sizes.schedule.alphas_cumprod).reshape(5, -1).mean(1)
    color = a + (1 - a) * codes[:, :3].mean()
    alpha = a + (1 - a) * codes[:, 3].mean()
    np.testing.assert_allclose(found, np.stack([color, alpha, alpha], -1), rtol=0.05)
    names = look.names_of_bands(1000)
    assert len(names) == found.size and names[4] == "validation/alpha_200_400"


def test_two_views_are_shown_where_completion_is_measured(sizes, monkeypatch):
    """A network that says the time itself: its error tells which one it was given."""
    say_time = lambda n, p, noised, t, *_: (
        0 * noised + t.reshape(*t.shape, 1, 1, 1).astype(jnp.float32)
    )
    monkeypatch.setattr(learn, "predict", say_time)
    monkeypatch.setattr(learn, "read_text", lambda *_: None)
    sets = fake_sets(8, 16)
    arrays = {k: jnp.asarray(sets[k]) for k in ("images", "cameras")}
    arrays["ids"] = jnp.zeros((8, 18), jnp.int32)
    found = np.asarray(look.band_errors(sizes, None, arrays))
    mean_square = np.square(np.arange(1000).reshape(5, -1)).mean(1)
    np.testing.assert_allclose(found[:, 2], mean_square, rtol=0.2)


def test_sampling_ends_in_what_the_network_believes(sizes, monkeypatch):
    """The velocity toward a known picture, with text; toward nothing, without."""
    belief = jax.random.uniform(jax.random.key(0), (2, 4, 8, 8, 16))
    known = jnp.concatenate([belief, belief])
    as_clean = sizes.schedule.replace(prediction="sample")

    def predict(networks, params, noised, t, cameras, context):
        a = sizes.schedule.alphas_cumprod[t].reshape(*t.shape, 1, 1, 1)
        noise = epsilon_of(as_clean, known, noised, t)
        return jnp.sqrt(a) * noise - jnp.sqrt(1 - a) * known

    monkeypatch.setattr(look, "predict", predict)
    monkeypatch.setattr(look, "read_text", lambda *_: None)
    start = jax.random.normal(jax.random.key(1), belief.shape)
    ids = jnp.ones((2, 18), jnp.int32)
    cameras = look.ring_cameras(2, azimuth_deg=0.0, elevation_deg=15.0)
    numbers = dict(steps=5, scale=3.0, rescale=0.5)
    found = look.draw_views(sizes, None, ids, ids[0], cameras, start, **numbers)
    np.testing.assert_allclose(found, belief, atol=1e-3)
    back = clean_of(
        sizes.schedule, predict(None, None, jnp.concatenate([start, start]),
        jnp.full((4, 4), 500), None, None), jnp.concatenate([start, start]),
        jnp.full((4, 4), 500),
    )  # fmt: skip
    np.testing.assert_allclose(back, known, atol=1e-3)


def test_the_ring_is_the_zoos():
    numbers = (0.5 + np.arange(4)[None] * np.pi / 2, np.full((1, 4), 0.2),
               np.full((1, 4), 3.0), np.full((1, 4), 0.7))  # fmt: skip
    camera = _cameras(*numbers, size=16)
    zoo = _mvdream_cameras(np.asarray(camera.camera_from_object))
    ours = look.ring_cameras(
        2, azimuth_deg=float(np.degrees(0.5)), elevation_deg=float(np.degrees(0.2))
    )
    np.testing.assert_allclose(ours[1], zoo[0], atol=1e-5)


def test_a_sheet_lays_scenes_out_row_by_row():
    scenes = np.arange(3)[:, None, None, None, None] * np.ones((3, 4, 5, 5, 3)) / 4
    page = look.sheet(scenes, columns=2, enlarge=2)
    assert page.shape == (2 * 2 * 5, 2 * 2 * 4 * 5, 3) and page.dtype == np.uint8
    assert page[0, 0, 0] == 0 and page[0, -1, 0] == 64 and page[-1, 0, 0] == 128
    assert page[-1, -1, 0] == 255  # an empty place
    codes = jnp.zeros((1, 4, 2, 2, 16)).at[..., 0].set(1.0)
    shown = look.pictures(networks(), codes)
    assert shown.shape == (1, 4, 4, 4, 3) and float(shown[0, 0, 0, 0, 0]) == 1.0
    assert float(shown[0, 0, 1, 1, 1]) == 0.5
