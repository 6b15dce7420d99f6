"""Shelves: decided by their number, moving on, and never from the held-out side."""

import numpy as np
import pytest

from adreamer_jax.data import zoo
from adreamer_jax.systems.pocket import sets
from tests.systems.small_pocket import fake_sets, recipe


@pytest.fixture
def config():
    return recipe("pocket")  # pieces of 8, 2 at the start, a window of 3, shelves of 4


def piece(number):
    """Sets that tell their own number in their captions."""
    found = fake_sets(8, 2, seed=number)
    return found | {"captions": np.array([f"{8 * number + i}" for i in range(8)])}


def numbers(shelf):
    return [int(text) for text in shelf["captions"]]


def test_a_shelf_holds_different_sets_of_the_newest_pieces(config):
    for number, low, high in ((0, 0, 16), (1, 0, 24), (2, 8, 32), (9, 64, 88)):
        found = numbers(sets.shelf(config, piece, number))
        assert len(set(found)) == 4 and min(found) >= low and max(found) < high


def test_pictures_cameras_and_captions_stay_together(config):
    shelf = sets.shelf(config, piece, 5)
    for i, number in enumerate(numbers(shelf)):
        own = piece(number // 8)
        for name in ("images", "cameras"):
            assert np.array_equal(shelf[name][i], own[name][number % 8])


def test_a_shelf_follows_from_its_number_alone(config):
    first = numbers(sets.shelf(config, piece, 7))
    sets.shelf(config, piece, 3)
    assert numbers(sets.shelf(config, piece, 7)) == first
    assert numbers(sets.shelf(config, piece, 8)) != first
    config.run.seed = 1
    assert numbers(sets.shelf(config, piece, 7)) != first


def test_a_set_is_used_as_often_as_the_recipe_says(config):
    """Draws a shelf over fresh sets a shelf: 4 / 8 here, from the middle of a run."""
    used = [n for i in range(400) for n in numbers(sets.shelf(config, piece, i))]
    times = np.bincount(used, minlength=8 * 402)[800:2400]
    assert np.mean(times) == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def sides(found):
    rows = zip(found["species"], found["pose"], found["color"], strict=True)
    return [zoo.is_held_out(str(s), str(p), str(c)) for s, p, c in rows]


def test_training_never_sees_what_is_held_out(config, cache):
    pieces = sets.Pieces(config, cache)
    seen = [side for i in range(4) for side in sides(pieces(i))]
    assert len(seen) == 32 and not any(seen)
    unseen = sets.held_out_sets(config, cache, count=8)
    assert all(sides(unseen)) and len(unseen["images"]) == 8


def test_pieces_are_drawn_once(config, cache, monkeypatch):
    pieces = sets.Pieces(config, cache)
    first = pieces(0)
    files = set(cache.iterdir())
    pieces.expect(1)
    assert np.array_equal(pieces(1)["images"], sets.Pieces(config, cache)(1)["images"])
    monkeypatch.setattr(sets, "sample_sets", lambda *a, **k: 1 / 0)
    again = sets.Pieces(config, cache)(0)  # from its file
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert set(cache.iterdir()) >= files


def test_pieces_that_are_not_kept_are_the_same(config, tmp_path):
    first = sets.Pieces(config, tmp_path / "kept")(0)
    config.data.keep = False
    again = sets.Pieces(config, tmp_path / "none")(0)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not (tmp_path / "none").exists()


def test_no_more_than_the_window_is_held(config, cache):
    pieces = sets.Pieces(config, cache)
    for i in range(4):
        pieces(i)
    assert list(pieces._held) == [1, 2, 3]
