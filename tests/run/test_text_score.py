"""Text scores: laws on embeddings that are known, and any CLIP's folder."""

import jax
import numpy as np
import pytest

from adreamer_jax.prior.text import TextConfig
from adreamer_jax.prior.vision import ClipConfig, VisionConfig, clip_shapes
from adreamer_jax.prior.write import END, START, random_params, write_clip
from adreamer_jax.run import text_score


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


TEXTS = unit(np.random.default_rng(0).standard_normal((12, 8)))


def test_scores_of_pictures_that_are_their_texts():
    own = np.arange(12)
    assert text_score.clip_score(TEXTS[[3, 3]], TEXTS[3]) == pytest.approx(100.0)
    assert text_score.r_precision(TEXTS, TEXTS, own) == 100.0
    assert text_score.r_precision(-TEXTS, TEXTS, own) == 0.0
    assert text_score.r_precision(-TEXTS, TEXTS, own, k=12) == 100.0


def test_ranks_by_a_slow_twin_and_whatever_the_order():
    random = np.random.default_rng(1)
    seen, own = unit(random.standard_normal((30, 8))), random.integers(0, 12, 30)
    found = text_score.ranks(seen, TEXTS, own)
    for i in range(30):
        fit = [float(seen[i] @ t) for t in TEXTS]
        assert found[i] == sorted(fit, reverse=True).index(fit[own[i]])
    order = random.permutation(12)
    again = text_score.ranks(seen, TEXTS[order], np.argsort(order)[own])
    np.testing.assert_array_equal(found, again)


def test_r_precision_grows_with_k_and_chance_is_k_of_n():
    random = np.random.default_rng(2)
    seen, own = unit(random.standard_normal((6000, 8))), random.integers(0, 12, 6000)
    found = [text_score.r_precision(seen, TEXTS, own, k=k) for k in (1, 3, 6, 12)]
    np.testing.assert_allclose(found, [100 / 12, 25, 50, 100], atol=2.0)
    assert found == sorted(found)
    with pytest.raises(ValueError, match=r"k of R-Precision must be in 1 ... 12"):
        text_score.r_precision(seen, TEXTS, own, k=13)


def test_a_judge_that_cannot_tell_gets_no_credit():
    """All texts fit alike: half of them count as better, not none."""
    same = np.repeat(TEXTS[:1], 11, axis=0)
    assert text_score.ranks(TEXTS[:1], same, [4])[0] == 5.0


def test_a_still_video_is_consistent():
    assert text_score.clip_t(np.repeat(TEXTS[:1], 5, 0)) == pytest.approx(100.0)
    shuffled = text_score.clip_t(TEXTS)
    assert shuffled < 60.0
    with pytest.raises(ValueError, match="two frames or more, got 1"):
        text_score.clip_t(TEXTS[:1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random CLIP in the layout of transformers."""
    text = TextConfig(
        vocab_size=6, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=6, bos_token_id=START,
        eos_token_id=END,
    )  # fmt: skip
    vision = VisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, image_size=8, patch_size=4, projection_dim=4,
    )  # fmt: skip
    config = ClipConfig(text, vision, 4)
    path = tmp_path_factory.mktemp("clip") / "toy"
    params = random_params(0, clip_shapes(config))
    write_clip(path, config, params, words=["a", "fox", "cat"])
    return path


def test_all_figures_of_some_scenes(folder):
    judge = text_score.load_judge(str(folder))
    random = np.random.default_rng(3)
    videos = {t: random.uniform(size=(3, 20, 16, 3)) for t in ("a fox", "a cat")}
    found = text_score.scores(judge, videos, among=["a", "fox", "a cat"], k=(1, 4))
    assert found["judge"] == "toy" and found["texts"] == 2
    assert "r_precision@4" not in found  # "fox" and "a" are true of both, if short
    read, seen = judge.of_texts(["a fox", "a cat"]), judge.of_pictures(videos["a cat"])
    assert seen.shape == (3, 4) and -100 <= found["clip_score"] <= 100
    more = text_score.scores(judge, videos, among=["a dog", "a red dog"], k=(4, 10))
    assert more["texts"] == 4 and more["r_precision@4"] == 100.0
    assert more["clip_score"] == found["clip_score"]
    assert text_score.clip_score(seen, read[1]) == pytest.approx(
        100 * np.mean(seen @ read[1]), abs=1e-4
    )


def test_a_text_that_says_less_or_more_of_the_same_is_no_rival(folder):
    judge = text_score.load_judge(str(folder))
    videos = {"a tiger walking": np.zeros((2, 8, 8, 3))}
    pool = ["a tiger", "A walking tiger", "a striped tiger walking", "a tiger sitting"]
    assert text_score.scores(judge, videos, among=pool)["texts"] == 2


def test_what_the_judge_cannot_read_is_told(folder):
    told = []
    judge = text_score.load_judge(str(folder), tell=told.append)
    judge.of_texts(["a fox", "a corgi"])
    assert len(told) == 1 and "the words corgi" in told[0]


def test_more_rows_than_a_chunk(folder):
    judge = text_score.load_judge(str(folder))
    pictures = jax.random.uniform(jax.random.key(0), (text_score.CHUNK + 3, 8, 8, 3))
    seen = judge.of_pictures(np.asarray(pictures))
    assert seen.shape == (text_score.CHUNK + 3, 4)
    np.testing.assert_allclose(
        seen[-1], judge.of_pictures(np.asarray(pictures[-1:]))[0], atol=1e-5
    )
