"""The pocket system: it steps, repeats itself, goes on, becomes a prior's folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit
from adreamer_jax.data.captions import VOCABULARY
from adreamer_jax.data.zoo_views import sample_sets
from adreamer_jax.prior.load import EMBEDDED, load_prior
from adreamer_jax.prior.noise import add_noise, velocity
from adreamer_jax.prior.write import UNKNOWN
from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems import pocket
from adreamer_jax.systems.pocket import learn
from tests.systems.small_pocket import recipe, walker


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return walker(pocket, recipe("pocket"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(tiny):
    return tiny.walk(tiny.start, 4)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_four_steps_run_and_every_number_is_finite(tiny, trained):
    state, metrics = trained
    assert int(state.step) == 4 and metrics["skipped"] == 0
    assert all(np.isfinite(v) for v in metrics.values())
    assert metrics["validation/color_800_1000"] > 0
    assert not np.array_equal(
        state.params["unet"]["out_2"]["kernel"],
        tiny.start.params["unet"]["out_2"]["kernel"],
    )


def test_a_state_that_went_through_a_file_goes_on_as_if_nothing_had_been(tiny, trained):
    """In the middle of a shelf, which therefore has to be in the state."""
    half, _ = tiny.walk(tiny.start, 3)
    stored = jax.tree.map(lambda x: np.array(x), half)
    equal(tiny.walk(jax.tree.map(jnp.asarray, stored), 1)[0], trained[0])


def test_the_average_follows(tiny):
    one, far = {"a": jnp.zeros(3)}, {"a": jnp.ones(3)}
    early = pocket.averaged(one, far, jnp.int32(0), 0.998)
    late = pocket.averaged(one, far, jnp.int32(10**6), 0.998)
    np.testing.assert_allclose(early["a"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(late["a"], 0.002, rtol=1e-3)


def test_a_step_that_is_not_finite_is_skipped(tiny, trained):
    state, _ = trained
    table = state.params["text"]["text_model"]["embeddings"]["token_embedding"]
    table["embedding"] = jnp.full_like(table["embedding"], jnp.nan)
    after, metrics = tiny.walk(state, 1)
    assert metrics["skipped"] == 1 and int(after.step) == 5
    equal(after.opt_state["average"], state.opt_state["average"])
    table["embedding"] = trained[0].opt_state["average"]["text"]["text_model"][
        "embeddings"]["token_embedding"]["embedding"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "pocket"
    return pocket.write(tiny.config, trained[0], path)


def test_the_folder_is_a_prior_with_the_same_numbers(tiny, trained, folder):
    prior, weights = load_prior(str(folder), tell=lambda _: None)
    assert prior.has_alpha and prior.image_size == 16 and not prior.is_random
    networks = pocket.networks_of(tiny.config)
    flat = jnp.ones(4)
    views = orbit(jnp.arange(4) * jnp.pi / 2, 0.2 * flat, 2 * flat, flat, size=(8, 8))
    latents = jax.random.normal(jax.random.key(0), (4, *prior.latent_shape))
    t = jnp.full(4, 400)
    ids = prior.tokenize(["a red fox"])
    context = prior.embed_text(weights, ids)
    noise = prior.denoise(weights, latents, t, jnp.repeat(context, 4, 0), views)
    average = jax.tree.map(
        lambda x: x.astype(jnp.float16).astype(jnp.float32),
        trained[0].opt_state["average"],
    )
    from adreamer_jax.prior.mvdream import camera_tokens

    v = learn.predict(
        networks, average, latents[None], t[:1], camera_tokens(views)[None],
        learn.read_text(networks, average, jnp.asarray(ids)),
    )[0]  # fmt: skip
    a = networks.schedule.alphas_cumprod[400]
    expected = jnp.sqrt(a) * v + jnp.sqrt(1 - a) * latents
    np.testing.assert_allclose(noise, expected, atol=2e-4)


def test_a_run_can_start_from_a_folder(trained, folder):
    config = recipe("pocket", run__start_from=str(folder))
    params = pocket.start_params(config, pocket.networks_of(config))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3)
    jax.tree.map(close, params, trained[0].opt_state["average"])
    with config.unlocked():
        config.prior.unet.model_channels = 32
    with pytest.raises(ValueError, match="misshapen"):
        pocket.start_params(config, pocket.networks_of(config))


def test_the_preview_shows_every_prompt(tiny, trained):
    page = tiny.system.preview(trained[0], tiny.frozen)["samples"]
    assert page.shape == (2 * 16, 2 * 2 * 4 * 16, 3) and page.dtype == np.uint8


def test_what_only_a_model_of_a_clip_can_do_is_refused(tiny):
    with pytest.raises(ValueError, match="this recipe trains a prior"):
        tiny.system.asset(None, None)


# -- the prior that ships ------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    prior, weights = load_prior("", tell=lambda _: None)
    sets = sample_sets(11, 16, prior.image_size, stream="evaluation", natural=0.0)
    return prior, weights, sets


def test_the_shipped_folder_is_small_and_whole(shipped):
    prior, *_ = shipped
    files = [f for f in EMBEDDED.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 12e6
    assert {"README.md", "model_index.json"} <= {f.name for f in files}
    assert prior.has_alpha and not prior.is_random and prior.num_views == 4
    words = [prior.tokenize([word])[0, 1] for word in VOCABULARY]
    assert len(set(words)) == len(VOCABULARY) and UNKNOWN not in words


@pytest.fixture(scope="module")
def errors_of(shipped):
    """A function of texts and every view's step: errors [s v], and those of silence."""
    prior, weights, sets = shipped
    images = jnp.asarray(sets["images"], jnp.float32) / 255
    networks = pocket.networks_of(load_recipe("configs/pocket.py"))
    cameras = jnp.asarray(sets["cameras"])

    @jax.jit
    def errors(ids, t):
        codes = jax.vmap(lambda x: prior.encode(weights, x[..., :3], x[..., 3]))(images)
        noise = jax.random.normal(jax.random.key(0), codes.shape)
        level = jnp.broadcast_to(t, codes.shape[:2])
        noised = add_noise(prior.schedule, codes, noise, level)
        context = learn.read_text(networks, weights, ids)
        v = learn.predict(networks, weights, noised, level, cameras, context)
        target = velocity(prior.schedule, codes, noise, level)
        every_view = lambda x: jnp.square(x).mean((2, 3, 4))
        return every_view(v - target), every_view(target)

    return errors


def test_the_shipped_prior_knows_more_than_chance(shipped, errors_of):
    """It takes off noise, and the right text helps where the noise is high."""
    prior, _, sets = shipped
    ids = jnp.asarray(prior.tokenize(sets["captions"]))
    for t, share in ((300, 0.3), (600, 0.4), (900, 0.7)):
        error, silence = errors_of(ids, jnp.int32(t))
        assert error.mean() < share * silence.mean()
    t = jnp.int32(900)
    right, wrong = (errors_of(x, t)[0].mean() for x in (ids, jnp.roll(ids, 5, axis=0)))
    assert right < 0.99 * wrong


def test_the_shipped_prior_completes_from_what_it_is_shown(shipped, errors_of):
    """Two views under hardly any noise tell it much about the two others."""
    prior, _, sets = shipped
    assert prior.shows_views
    ids = jnp.asarray(prior.tokenize(sets["captions"]))
    alone = errors_of(ids, jnp.int32(900))[0][:, 2:].mean()
    shown = errors_of(ids, jnp.array([20, 20, 900, 900]))[0][:, 2:].mean()
    assert shown < 0.8 * alone
