"""Four-view sets: deterministic, orthogonal, held out by rule, inside the frame."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from adreamer_jax.data import zoo, zoo_views
from adreamer_jax.data.zoo_views import composite, sample_sets
from adreamer_jax.prior.mvdream import camera_tokens


@pytest.fixture(scope="module")
def sets():
    return sample_sets(5, 6, 16)


def test_shapes_and_alpha(sets):
    images = sets["images"]
    assert images.shape == (6, 4, 16, 16, 4) and images.dtype == np.uint8
    assert np.all(images[..., :3].max(-1) <= images[..., 3].astype(int) + 1)
    cover = images[..., 3].mean((2, 3)) / 255
    assert np.all(cover > 0.02) and np.all(cover < 0.5)
    gray = composite(images)
    np.testing.assert_allclose(gray[images[..., 3] == 0], 0.5)


def test_a_set_does_not_depend_on_its_batch(sets):
    again = sample_sets(5, 6, 16, start=2)  # six again: the same compiled program
    assert np.array_equal(again["images"][:4], sets["images"][2:])
    assert again["captions"][:4] == sets["captions"][2:]
    other = sample_sets(6, 6, 16)
    assert not np.array_equal(other["images"], sets["images"])


def test_processes_describe_the_same_animals(sets):
    with zoo_views.describers(1) as pool:
        told = sample_sets(5, 6, 16, pool=pool)
    assert told["captions"] == sets["captions"]
    assert told["attributes"] == sets["attributes"]
    for name in ("images", "cameras", "azimuths", "elevations"):
        assert np.array_equal(told[name], sets[name])


def test_descriptions_in_parts_are_those_in_one(monkeypatch, sets):
    monkeypatch.setattr(zoo_views, "TOLD_AT_ONCE", 4)
    with ThreadPoolExecutor(1) as pool:
        told = sample_sets(5, 6, 16, pool=pool)
    assert told["captions"] == sets["captions"]
    assert np.array_equal(told["images"], sets["images"])


def test_views_are_a_quarter_turn_apart_and_cameras_are_mvdreams(sets):
    matrix = sets["cameras"].reshape(6, 4, 4, 4)
    place = matrix[..., :3, 3]
    np.testing.assert_allclose(np.linalg.norm(place, axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(
        place[..., 2], np.sin(sets["elevations"])[:, None].repeat(4, 1), atol=1e-5
    )
    flat = place[..., :2] / np.linalg.norm(place[..., :2], axis=-1, keepdims=True)
    np.testing.assert_allclose((flat * np.roll(flat, 1, 1)).sum(-1), 0.0, atol=1e-5)
    angle = np.stack([np.cos(sets["azimuths"]), np.sin(sets["azimuths"])], -1)
    np.testing.assert_allclose(flat, angle, atol=1e-5)
    numbers = [np.array([[0.3, 1.9]]), *(np.full((1, 2), x) for x in (0.2, 3.0, 0.7))]
    camera = zoo_views._cameras(*numbers, size=16)
    ours = zoo_views._mvdream_cameras(np.asarray(camera.camera_from_object))
    np.testing.assert_allclose(ours, camera_tokens(camera), atol=1e-5)


def test_held_out_sets_are_only_held_out_ones(sets):
    def sides(found):
        rows = zip(
            *(found["attributes"][k] for k in ("species", "pose", "color")), strict=True
        )
        return [zoo.is_held_out(*row) for row in rows]

    assert not any(sides(sets))
    assert all(sides(sample_sets(5, 6, 16, held_out=True)))


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="size must be"):
        sample_sets(0, 1, 15)


def test_azimuth_zero_looks_at_the_face_and_ninety_at_the_left():
    animal = zoo.sample_individual(
        np.random.default_rng(0), species="fox", pose="standing", color="red"
    )
    creature = zoo_views._still(animal)
    eyes = creature.start[np.isclose(creature.color[:, 0], 0.035)]
    assert eyes[:, 2].min() > 0.3  # the face is toward +z
    flat = (np.full((1, 2), x) for x in (0.0, 3.0, 0.7))
    view = zoo_views._cameras(np.array([[0.0, np.pi / 2]]), *flat, size=16)
    turn = np.asarray(view.camera_from_object)[0, :, :3, :3]
    np.testing.assert_allclose(turn[0] @ [0, 0, 1.0], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(turn[1] @ [0, 0, 1.0], [-1, 0, 0], atol=1e-6)


def test_all_animals_fit_the_ball():
    random = np.random.default_rng(0)
    for _ in range(40):
        one = zoo_views._still(zoo.sample_individual(random))
        real = one.start[:, 1] > -50
        far = np.linalg.norm(one.start, axis=-1) + one.start_radius
        assert far[real].max() < zoo_views.REACH + 1e-4
