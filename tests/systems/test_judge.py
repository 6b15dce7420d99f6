"""The judge's lessons: what is true of a picture, and what the loss makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.data.species import COLORS
from adreamer_jax.run.text_score import load_judge
from adreamer_jax.systems.pocket import judge
from tests.systems.small_pocket import fake_sets, recipe, walker

A = judge.ATTRIBUTES


def test_may_be_true_by_a_slow_twin():
    random = np.random.default_rng(0)
    shown = np.stack([random.integers(0, 3, 40), random.integers(10, 13, 40),
                      *random.integers(0, 3, (3, 40))], 1)  # fmt: skip
    said = shown[random.permutation(40)].copy()
    said[random.random(said.shape) < 0.5] = judge.UNSAID
    expected = [
        [
            all(
                s == judge.UNSAID or s == x or (name == "color" and x == len(COLORS))
                for name, s, x in zip(A, text, picture, strict=True)
            )
            for text in said
        ]
        for picture in shown
    ]
    found = judge.may_be_true(jnp.asarray(said), jnp.asarray(shown))
    np.testing.assert_array_equal(found, expected)


def test_the_first_text_is_true_and_the_others_are_wrong():
    random = np.random.default_rng(1)
    shown = judge._numbers(fake_sets(1, 2), 0)
    for _ in range(50):
        said = judge._texts_of(random, shown)
        true = judge.may_be_true(jnp.asarray(said), jnp.asarray(shown)[None])[0]
        assert bool(true[0]) and not np.any(true[1:])
        assert np.all((said[1:] != said[0]).sum(1) == 1)


def test_the_loss_is_zero_for_a_perfect_judge_and_blind_to_twins():
    true = jnp.eye(3, 6, dtype=bool)
    perfect = jnp.where(true, 1.0, -1.0)
    assert float(judge.contrast(perfect, true, jnp.float32(50.0))) < 1e-6
    blind = judge.contrast(jnp.zeros((3, 6)), true, jnp.float32(1.0))
    assert float(blind) == pytest.approx(0.5 * (np.log(6) + np.log(3)), rel=1e-5)
    twins = true.at[0, 1].set(True)  # text 1 is true of picture 0 as well
    same = perfect.at[0, 1].set(1.0)
    assert float(judge.contrast(same, twins, jnp.float32(50.0))) < 1e-6
    assert float(judge.contrast(same, true, jnp.float32(50.0))) > 0.1
    slope = jax.grad(lambda c: judge.contrast(c, twins, jnp.float32(1.0)))(same)
    assert np.all(np.isfinite(slope)) and float(slope[0, 1]) == 0.0


def test_glimpses_are_moved_pictures_before_gray():
    images = jnp.asarray(fake_sets(2, 6)["images"])
    glance = judge.Glance(
        row=jnp.arange(2), view=jnp.array([2, 0]), mirror=jnp.array([False, True]),
        shift=jnp.array([[1, 0], [0, 0]]),
    )  # fmt: skip
    found = judge.glimpsed(images, glance)
    picture = np.asarray(images, np.float32)[0, 2] / 255
    gray = picture[..., :3] + 0.5 * (1 - picture[..., 3:])
    np.testing.assert_allclose(found[0], np.roll(gray, 1, axis=0), atol=1e-6)
    picture = np.asarray(images, np.float32)[1, 0, :, ::-1] / 255
    gray = picture[..., :3] + 0.5 * (1 - picture[..., 3:])
    np.testing.assert_allclose(found[1], gray, atol=1e-6)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return walker(judge, recipe("judge"), tmp_path_factory.mktemp("cache"))


def test_it_learns_and_its_folder_is_a_clip(tiny, tmp_path):
    state, metrics = tiny.walk(tiny.start, 3)
    assert all(np.isfinite(v) for v in metrics.values()) and metrics["skipped"] == 0
    folder = judge.write(tiny.config, state, tmp_path / "judge")
    one = load_judge(str(folder))
    pictures = np.asarray(tiny.frozen["pictures"][:5])
    seen, read = one.of_pictures(pictures), one.of_texts(["a red fox", "a cat"])
    assert seen.shape == (5, 64) and read.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1.0, atol=1e-4)
    clip = judge.clip_of(tiny.config)
    average = state.opt_state["average"]
    ours = judge.clip_text(clip, average, jnp.asarray(
        judge.make_tokenizer(clip.text)(["a red fox", "a cat"])))  # fmt: skip
    np.testing.assert_allclose(read, ours, atol=5e-3)
