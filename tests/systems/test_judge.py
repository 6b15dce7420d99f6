"""The judge's lessons: what is true of a picture, and what the loss makes of it."""

from types import SimpleNamespace

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


def spoken(said):
    """The one plainest text for attributes by their numbers."""
    first = SimpleNamespace(integers=lambda n: 0, random=lambda: 0.5)
    return judge._spoken(first, said)


def test_texts_that_read_the_same_are_true_of_the_same_pictures():
    """Nets are called patches, and what has no word is not said."""
    sets = fake_sets(40, 2)
    random = np.random.default_rng(5)
    for name in A:  # few kinds, so that texts meet
        values = ("plain", "netted", "patched") if name == "pattern" else None
        few = values or judge.NAMES[name][:1] + judge.NAMES[name][-1:]
        sets[name] = np.asarray(few)[random.integers(0, len(few), 40)]
    tokenize = judge.make_tokenizer(judge.clip_of(recipe("judge")).text)
    lesson = judge.lessons(random, sets, tokenize)
    said, shown = np.asarray(lesson["said"]), np.asarray(lesson["shown"])
    true = np.asarray(judge.may_be_true(lesson["said"], lesson["shown"]))
    met = 0
    for text in range(40):
        for picture in range(40):
            own = np.where(said[text] == judge.UNSAID, judge.UNSAID, shown[picture])
            own[judge.without_word(own[None])[0]] = judge.UNSAID
            if spoken(own) == spoken(said[text]):
                assert true[picture, text]
                met += text != picture
    assert met > 100


def test_a_picture_says_what_it_shows():
    sets = fake_sets(6, 2)
    tokenize = judge.make_tokenizer(judge.clip_of(recipe("judge")).text)
    lesson = judge.lessons(np.random.default_rng(1), sets, tokenize)
    assert lesson["ids"].shape == (6, 18)
    assert np.array_equal(lesson["said"][:, 0], lesson["shown"][:, 0])
    true = judge.may_be_true(lesson["said"], lesson["shown"])
    assert np.all(np.diag(true))


def test_named_texts_are_read_to_their_end():
    """Tables are cut behind the longest text, which changes nothing."""
    networks = judge.clip_of(recipe("judge"))
    params = judge.fresh_params(networks, jax.random.key(0))
    tokenize = judge.make_tokenizer(networks.text)
    tables = judge.tables_of(tokenize)
    assert tables["species_ids"].shape[-1] < 18
    whole = judge.clip_text(networks, params, jnp.asarray(tokenize(["a tyrannosaur"])))
    row = judge.NAMES["species"].index("tyrannosaur")
    cut = judge.clip_text(networks, params, tables["species_ids"][row : row + 1])
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_color_and_pose_are_asked_of_the_own_species():
    networks = judge.clip_of(recipe("judge"))
    params = judge.fresh_params(networks, jax.random.key(0))
    tokenize = judge.make_tokenizer(networks.text)
    tables = judge.tables_of(tokenize)
    seen = jax.random.normal(jax.random.key(1), (3, 64))
    shown = jnp.asarray([[2, 3, 0, 0, 1], [0, 12, 0, 0, 0], [7, 5, 0, 0, 1]])
    species, color, pose = judge.asked(networks, params, tables, seen, shown)
    assert species.shape == (3, len(judge.NAMES["species"]))
    name = judge.NAMES["species"][7]
    texts = [judge.prompt(name, color=c) for c in COLORS]
    slow = judge.clip_text(networks, params, jnp.asarray(tokenize(texts))) @ seen[2]
    np.testing.assert_allclose(color[2], slow, atol=1e-4)
    assert np.array_equal(pose > -10.0, tables["possible"][shown[:, 0]])


def test_the_named_loss_is_zero_where_all_is_found_and_forgives_natural_coats():
    shown = jnp.asarray([[1, 2, 0, 0, 0], [0, len(COLORS), 0, 0, 1]])
    one = lambda place, count: 2.0 * jax.nn.one_hot(place, count) - 1.0
    found = (one(shown[:, 0], 3), one(shown[:, 1], len(COLORS)), one(shown[:, 4], 2))
    sure = jnp.float32(50.0)
    assert float(judge.named_loss(found, shown, sure)) < 1e-6
    blind = tuple(jnp.zeros_like(x) for x in found)
    expected = np.log(3) + np.log(len(COLORS)) + np.log(2)
    assert float(judge.named_loss(blind, shown, sure)) == pytest.approx(expected)
    for i in range(3):
        wrong = tuple(-x if i == j else x for j, x in enumerate(found))
        assert float(judge.named_loss(wrong, shown, sure)) > 1.0
    slope = jax.grad(lambda c: judge.named_loss((found[0], c, found[2]), shown, sure))(
        blind[1]
    )
    assert np.all(np.isfinite(slope)) and not np.any(slope[1]) and np.any(slope[0])


def test_the_loss_is_zero_for_a_perfect_judge_and_blind_to_twins():
    true = jnp.eye(3, dtype=bool)
    perfect = jnp.where(true, 1.0, -1.0)
    assert float(judge.contrast(perfect, true, jnp.float32(50.0))) < 1e-6
    blind = judge.contrast(jnp.zeros((3, 3)), true, jnp.float32(1.0))
    assert float(blind) == pytest.approx(np.log(3), rel=1e-5)
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
        shift=jnp.array([[1, 0], [0, 0]]), loud=jnp.zeros(2),
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
