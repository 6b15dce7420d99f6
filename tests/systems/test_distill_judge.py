"""What the prior says of pictures: which of them it judges, and toward what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.prior.load import CLEAR
from adreamer_jax.systems.animatable import distill_judge, distill_views
from tests.systems.small import fixed_prior, small_recipe, small_scene

KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def scene():
    return small_scene()


@pytest.mark.parametrize(
    ("key", "value"), [("form", "x1"), ("space", "rest"), ("moves", "all"),
                       ("background", "black"), ("groups", 0), ("chain", 0)]
)  # fmt: skip
def test_settings_that_cannot_work_are_named(key, value):
    config = small_recipe(**{f"csd.{key}": value})
    with pytest.raises(ValueError, match=rf"csd\.{key} must be .*--config\.csd\.{key}"):
        distill_judge.check_csd(config)


def test_texts_are_read_once_and_their_network_is_left_out():
    prior = fixed_prior()._replace(
        tokenize=lambda texts: np.array([[len(t)] for t in texts]),
        embed_text=lambda weights, ids: weights["text"] * ids[..., None].astype(float),
    )
    weights = {"unet": jnp.ones(3), "text": jnp.ones(())}
    arrays = distill_judge.prior_arrays(
        prior, weights, negative="", prompt="four", more="of them"
    )
    assert set(arrays["prior"]) == {"unet"}
    np.testing.assert_allclose(arrays["contexts"][:, 0, 0], [0.0, 4.0])
    np.testing.assert_allclose(arrays["more"][:, 0, 0], [0.0, 7.0])


def test_the_caption_form_asks_only_what_the_prompt_adds(scene):
    config = scene.config.copy_and_resolve_references()
    config.csd.form, config.csd.guidance = "caption", 2.0
    views = distill_views.sample_views(config, scene.prior, scene.upkeep, KEY)
    latents = jax.random.normal(KEY, (2, *scene.prior.latent_shape))
    ask = lambda prior, contexts: distill_judge.caption_part(
        config, prior, scene.frozen | {"contexts": contexts}, views.seen,
        latents, jnp.int32(300),
    )  # fmt: skip
    deaf = ask(scene.prior, jnp.zeros((2, 1, 1)))
    np.testing.assert_allclose(deaf, 0.0, atol=1e-5)

    def echo(weights, z, t, context, cameras):
        return jnp.broadcast_to(context[:, :1, :1, None], z.shape)

    schedule = scene.prior.schedule.replace(prediction="sample")
    heard = ask(
        scene.prior._replace(denoise=echo, schedule=schedule),
        jnp.array([1.0, 4.0])[:, None, None],
    )
    np.testing.assert_allclose(heard, 2.0 * 3.0, atol=1e-5)
    pictures = (jnp.full((2, 8, 8, 3), 0.5), jnp.ones((2, 8, 8)))
    pull, seen = distill_judge.judge(
        config, scene.prior, scene.frozen, views, pictures, jnp.array(0), KEY
    )
    assert all(np.abs(x).max() < 1e-5 for x in pull) and seen["loss/csd"] < 1e-8


def shown_scene(scene, shown, *, chain=1):
    """What a prior that believes in black says of gray pictures, and what it reads."""
    config = scene.config.copy_and_resolve_references()
    config.csd.chain = chain
    given = []

    def denoise(weights, z, t, context, cameras):
        jax.debug.callback(lambda z, t: given.append((z, t)), z, t)
        return jnp.full_like(z, -1.0)

    prior = scene.prior._replace(
        denoise=denoise,
        schedule=scene.prior.schedule.replace(prediction="sample"),
        decode_mask=lambda weights, z: (z[..., 0] > -0.5).astype(jnp.float32),
    )
    views = distill_views.sample_views(config, prior, scene.upkeep, KEY)
    pictures = (jnp.full((2, 8, 8, 3), 0.5), jnp.ones((2, 8, 8)))
    pull, _ = distill_judge.judge(
        config, prior, scene.frozen, views, pictures, jnp.array(0), KEY, shown
    )
    jax.effects_barrier()
    return pull, given


@pytest.mark.parametrize("chain", [1, 3])
def test_views_that_are_shown_are_nearly_clean_and_not_judged(scene, chain):
    pull, given = shown_scene(scene, jnp.array([True, False]), chain=chain)
    for part in pull:  # black and empty is wanted where it is gray and full
        assert not np.any(part[0]) and np.all(part[1] > 0)
    clean = scene.prior.encode(None, jnp.full((2, 8, 8, 3), 0.5), jnp.ones((2, 8, 8)))
    share = scene.prior.schedule.alphas_cumprod[CLEAR]
    assert len(given) == chain
    for z, t in given:
        assert t[0] == CLEAR and t[1] != CLEAR
        noise = (z[0] - np.sqrt(share) * clean[0]) / np.sqrt(1 - share)
        assert 0.7 < np.std(noise) < 1.3


def test_where_nothing_is_shown_nothing_is_said(scene):
    pull, _ = shown_scene(scene, jnp.array([False, False]))
    assert not any(np.any(part) for part in pull)


def test_completed_colors_and_outlines_count_apart(scene):
    """Half the mean squares, of pictures over gray that the prior's size is made of."""
    prior = scene.prior._replace(image_size=4)
    mask, wanted_mask = jnp.full((2, 8, 8), 0.75), jnp.full((2, 4, 4), 0.25)
    color, wanted = jnp.full((2, 8, 8, 3), 0.5), jnp.full((2, 4, 4, 3), 0.425)
    loss = lambda weight: distill_judge.completion_loss(
        prior, (color, mask), (wanted, wanted_mask), color=weight
    )
    assert loss(0.0) == pytest.approx(0.5 * 0.5**2)
    assert loss(2.0) - loss(0.0) == pytest.approx(2.0 * 0.5 * 0.2**2, rel=1e-4)


def test_only_a_prior_that_may_be_shown_views_is(scene):
    config = scene.config.copy_and_resolve_references()
    config.csd.shown_deg = 20.0
    with pytest.raises(ValueError, match=r"csd\.shown_deg must be 0 with the prior"):
        distill_judge.read_prior(config, "a fox", (scene.prior, None))
    for form in ("caption", "sds"):
        config.csd.form = form
        with pytest.raises(ValueError, match=rf"must be 0 with csd\.form={form}"):
            distill_judge.check_csd(config)


def test_a_prior_is_told_what_is_to_be_seen(scene):
    config = scene.config.copy_and_resolve_references()
    config.prompt, config.prompt_suffix = "", " "
    with pytest.raises(ValueError, match="must be told what is to be seen"):
        distill_judge.read_prior(config, "", (scene.prior, None))


def test_the_recipe_decides_whether_views_are_judged_apart(scene):
    config = scene.config.copy_and_resolve_references()
    config.prior.view_attention = False
    asked = []
    prior = fixed_prior()._replace(
        denoise_together=lambda views: asked.append(views) or (lambda *_: None),
        tokenize=lambda texts: np.zeros((len(texts), 1)),
        embed_text=lambda weights, ids: jnp.asarray(ids[..., None]),
    )
    apart, _ = distill_judge.read_prior(config, "a fox", (prior, {"text": 0}))
    assert asked == [1] and apart.denoise is not prior.denoise
