"""Sampling: the job with random weights, and its mathematics with a known answer."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from adreamer_jax.prior.oracle import oracle_prior
from adreamer_jax.run import sample

ROOT = Path(__file__).parents[2]


def recipe(size):
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "configs/sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(size)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    return sample.sample(recipe("smoke"), tmp_path_factory.mktemp("run"))


def test_four_views_from_random_weights(sheet):
    picture = np.asarray(Image.open(sheet))
    assert picture.shape == (128, 512, 3) and picture.std() > 1
    assert sheet.name == "a-red-fox-0.png"


def test_random_weights_are_said(tmp_path, capsys):
    sample.sample(recipe("smoke"), tmp_path)
    heard = "".join(capsys.readouterr())
    assert "random weights: the pictures mean nothing" in heard
    assert "takes 0.0012 GB" in heard


def test_the_seed_decides(sheet, tmp_path):
    config = recipe("smoke")
    again = sample.sample(config, tmp_path)
    assert again.read_bytes() == sheet.read_bytes()
    config.run.seed = 1
    other = sample.sample(config, tmp_path)
    assert other.read_bytes() != sheet.read_bytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt", " "),
        ("prior.dtype", "int8"),
        ("run.eta", 2.0),
        ("guidance.rescale", -1.0),
        ("run.steps", 0),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path, key, value):
    config = recipe("smoke")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=r"must be .*got"):
        sample.sample(config, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["default", "paper", "smoke"])
def test_recipes_have_the_same_keys(size):
    found = recipe(size)
    assert found.to_dict().keys() == recipe("default").to_dict().keys()
    sample.check(found)
    with pytest.raises(ValueError, match="must be one of default, paper, smoke"):
        recipe("huge")


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_a_known_answer_is_reached_from_any_noise(scale):
    """With a perfect score both halves agree, so guidance changes nothing."""
    config = recipe("smoke")
    config.run.steps, config.guidance.scale = 20, scale
    contexts = jnp.zeros((2, 1, 1))
    known = oracle_prior(
        lambda w, views: jnp.broadcast_to(
            0.5 + 0.4 * views.camera_from_object[:, 2, :3][:, None, None],
            (len(views.focal), 8, 8, 3),
        ),
        image_size=8,
    )
    config.guidance.rescale = 0.0
    found = known.decode({}, sample.draw(known, {}, contexts, config))
    views = sample.cameras(known, **config.view)
    wanted = 0.5 + 0.4 * views.camera_from_object[:, 2, :3][:, None, None]
    np.testing.assert_allclose(found, jnp.broadcast_to(wanted, found.shape), atol=0.1)


def test_cameras_stand_around_the_object_at_one_height():
    prior = oracle_prior(lambda w, _: w, image_size=8)
    views = sample.cameras(prior, azimuth_deg=90.0, elevation_deg=30.0)
    turn = views.camera_from_object[:, :3, :3]
    place = -jnp.einsum("vji,vj->vi", turn, views.camera_from_object[:, :3, 3])
    np.testing.assert_allclose(place[:, 1], 1.0, atol=1e-5)
    np.testing.assert_allclose(place[0], [3**0.5, 1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(place.sum(0), [0, 4, 0], atol=1e-5)


def test_fresh_noise_enters_with_eta_alone():
    known = oracle_prior(lambda w, c: jnp.zeros((8, 8, 8, 3)), image_size=8)
    z = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    args = ({}, z, np.int32(500), np.int32(400), jnp.zeros((2, 1, 1)))
    views = sample.cameras(known, azimuth_deg=0.0, elevation_deg=0.0)

    def run(eta, seed):
        step = sample.make_step(known, scale=1.0, rescale=0.0, eta=eta)
        return step(*args, views, jax.random.key(seed))

    np.testing.assert_array_equal(run(0.0, 0), run(0.0, 1))
    assert float(jnp.abs(run(1.0, 0) - run(1.0, 1)).max()) > 0.1
