"""Descriptors that find the same place again, and the algebra that picks them."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from adreamer_jax.data import features as features_file
from adreamer_jax.data.features import (
    compute_features,
    discriminants,
    evened,
    features_cached,
    general_axes,
    partners,
    reduce_features,
    shifted,
)
from adreamer_jax.data.flow import compute_flow
from adreamer_jax.types import Clip

SIDE, COUNT = 64, 9
SIZE = (32, 32)
SPEED = np.array([1.5, 1.0])


def texture(x, y):
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(
        rng.normal(size=(3, 128, 128)), (0, 3, 3), mode="wrap"
    )
    noise = 128 + 50 * noise / noise.std()
    planes = [ndimage.map_coordinates(n, [y, x], order=1, mode="wrap") for n in noise]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def moving_disc():
    """A textured disc that moves and grows a little brighter, before a still ground."""
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    images, masks = [], []
    for i in range(COUNT):
        dx, dy = SPEED * i
        mask = np.hypot(x - 24 - dx, y - 26 - dy) < 17
        moved = texture(x - dx + 20, y - dy + 20) * (0.9 + 0.01 * i)
        images.append(np.where(mask[..., None], moved, texture(y, x)).astype(np.uint8))
        masks.append(mask)
    return np.stack(images), np.stack(masks)


@pytest.fixture(scope="module")
def disc():
    return moving_disc()


@pytest.fixture(scope="module")
def flow(disc):
    return compute_flow(*disc, (1, 2, 4))


@pytest.fixture(scope="module")
def maps(disc, flow):
    return compute_features(*disc, flow, size=SIZE)


def test_maps_have_unit_norm_on_the_object_and_are_zero_off_it(disc, maps):
    assert maps.shape == (COUNT, *SIZE, 16) and maps.dtype == np.float16
    norm = np.linalg.norm(maps.astype(float), axis=-1)
    whole = disc[1].reshape(COUNT, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_allclose(norm[whole == 1], 1, atol=2e-3)
    assert not norm[whole <= 0.25].any()


def test_the_nearest_descriptor_is_the_same_place(maps):
    first, last = maps[0].astype(float), maps[8].astype(float)
    rows, columns = np.nonzero(np.linalg.norm(first, axis=-1))
    found = np.argwhere(np.linalg.norm(last, axis=-1))
    best = found[(first[rows, columns] @ last[tuple(found.T)].T).argmax(1)]
    true = np.stack([rows, columns], 1) + SPEED[::-1] * 8 / 2
    error = np.linalg.norm(best - true, axis=1)
    assert np.median(error) < 1.0
    assert (error < 2).mean() > 0.85  # at random 3 in 100


def test_descriptors_do_not_see_the_ground(disc, flow, maps):
    images = np.where(disc[1][..., None], disc[0], 255 - disc[0])
    other = compute_features(images, disc[1], flow, size=SIZE)
    np.testing.assert_array_equal(other, maps)


def test_general_axes_solve_the_general_eigenproblem():
    rng = np.random.default_rng(0)
    a, b = (x.T @ x for x in rng.normal(size=(2, 9, 6)))
    axes = general_axes(a, b)
    np.testing.assert_allclose(axes.T @ b @ axes, np.eye(6), atol=1e-8)
    values = np.diag(axes.T @ a @ axes)
    np.testing.assert_allclose(axes.T @ a @ axes, np.diag(values), atol=1e-7)
    assert (np.diff(values) <= 1e-9).all()


def still_flow(count, size, value=(0.0, 0.0), sure=1.0):
    maps = np.tile(np.float16(value), (count, *size, 1))
    return {2: (maps, np.full((count, *size), sure, np.float16))}


def test_discriminants_keep_what_stays_along_the_flow():
    """One channel says where, another when, a third is noise: where comes first."""
    rng = np.random.default_rng(1)
    count, size = 6, (8, 10)
    maps = np.zeros((count, *size, 3))
    maps[..., 0] = np.linspace(-1, 1, 10)
    maps[..., 1] = 3 * np.linspace(-1, 1, count)[:, None, None]
    maps[..., 2] = 2 * rng.normal(size=(count, *size))
    present = np.ones((count, *size), bool)
    axis = discriminants(maps, present, still_flow(count, size), 1)[:, 0]
    assert abs(axis[0]) > 3 * abs(axis[1:]).max()


def test_a_short_clip_is_judged_along_its_shorter_gaps():
    """Eight frames apart there is no pair in eight frames."""
    rng = np.random.default_rng(1)
    count, size = 8, (8, 10)
    maps = np.zeros((count, *size, 2))
    maps[..., 0] = np.linspace(-1, 1, 10)
    maps[..., 1] = 3 * rng.normal(size=(count, *size))
    present = np.ones((count, *size), bool)
    (pair,) = still_flow(count, size).values()
    axis = discriminants(maps, present, {2: pair, 8: pair}, 1)[:, 0]
    assert abs(axis[0]) > 3 * abs(axis[1])


def test_discriminants_work_without_any_trusted_flow():
    maps = np.random.default_rng(2).normal(size=(4, 5, 5, 3))
    present = np.ones((4, 5, 5), bool)
    axes = discriminants(maps, present, still_flow(4, (5, 5), sure=0.0), 2)
    assert axes.shape == (3, 2) and np.isfinite(axes).all()


def test_partners_follow_the_flow_of_any_size_and_stay_on_the_object():
    present = np.ones((3, 4, 6), bool)
    present[2, 0] = False
    pair = still_flow(3, (8, 12), (4.0, -2.0))[2]  # 2 columns right, 1 row up
    (rows, columns), (to_rows, to_columns) = partners(present, pair, 0, 2)
    np.testing.assert_array_equal(to_rows, rows - 1)
    np.testing.assert_array_equal(to_columns, columns + 2)
    assert set(to_rows) == {1, 2} and columns.max() == 3


def test_shifting_looks_right_and_down():
    values = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    np.testing.assert_allclose(shifted(values, 1, 1)[0, 0], 5)
    np.testing.assert_allclose(shifted(values, 0.5, 0)[0, 0], 0.5)


def test_evened_maps_have_mean_zero_and_mean_square_one():
    maps = np.random.default_rng(3).normal(2, 5, size=(3, 6, 6, 4))
    present = np.zeros((3, 6, 6), bool)
    present[:, 1:4] = True
    even = evened(maps, present)
    np.testing.assert_allclose(even[present].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose((even[present] ** 2).sum(-1).mean(), 1, rtol=1e-6)
    assert not even[~present].any()


def test_given_features_are_reduced_to_their_main_directions(disc):
    """Forty channels of rank three come down to three without loss of angles."""
    rng = np.random.default_rng(4)
    core = rng.normal(size=(COUNT, 8, 8, 3))
    wide = core @ np.linalg.qr(rng.normal(size=(40, 3)))[0].T
    few = reduce_features(wide, disc[1], size=(8, 8), channels=3).astype(float)
    on = np.linalg.norm(few, axis=-1) > 0
    centered = core - core[on].mean(0)
    centered /= np.linalg.norm(centered, axis=-1, keepdims=True)
    gram = few[on] @ few[on].T
    np.testing.assert_allclose(gram, centered[on] @ centered[on].T, atol=5e-3)


def test_few_given_channels_stay_as_they_are(disc):
    given = np.zeros((COUNT, 8, 8, 2), np.float16)
    given[..., 1] = 2
    maps = reduce_features(given, disc[1], size=SIZE)
    on = np.linalg.norm(maps.astype(float), axis=-1) > 0
    assert maps.shape == (COUNT, *SIZE, 2) and on.any() and not on.all()
    np.testing.assert_array_equal(maps[on], np.tile([0, 1], (on.sum(), 1)))


def test_features_are_kept_and_the_clips_own_come_first(
    disc, flow, maps, tmp_path, monkeypatch
):
    clip = Clip("disc", 10.0, "", *disc, None, None, "none")
    kept = features_cached(clip, tmp_path, flow, size=SIZE)
    np.testing.assert_array_equal(kept, maps)
    monkeypatch.setattr(
        features_file, "compute_features", lambda *a, **k: pytest.fail("twice")
    )
    again = features_cached(clip, tmp_path, flow, size=SIZE)
    np.testing.assert_array_equal(again, maps)
    given = np.ones((COUNT, 4, 4, 5), np.float16)
    own = dataclasses.replace(clip, features=given)
    assert features_cached(own, tmp_path, flow, size=SIZE).shape[-1] == 5
    assert len(list(tmp_path.iterdir())) == 1


def test_flow_and_size_are_found_where_they_are_not_given(disc, tmp_path):
    clip = Clip("disc", 10.0, "", *disc, None, None, "none")
    assert features_cached(clip, tmp_path).shape == (COUNT, 16, 16, 16)
    names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert names == ["features", "flow"]
