"""The examiner: its lessons, its loss, its files, and what the embedded one knows."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.data.species import COLORS, SPECIES, TRAINING_SPECIES
from adreamer_jax.data.zoo_views import composite, sample_sets
from adreamer_jax.systems.pocket import examiner
from adreamer_jax.systems.pocket.sets import NAMES, numbers_of
from tests.systems.small_pocket import fake_sets, recipe, walker


def test_sets_become_places_in_the_names():
    sets = fake_sets(3, 2)
    sets["species"] = np.array(["fox", "penguin", "fox"])
    sets["color"] = np.array(["red", "natural", "blue"])
    shown = numbers_of(sets, examiner.ASKED)
    names = NAMES
    assert shown.shape == (3, 3)
    assert [names["species"][i] for i in shown[:, 0]] == ["fox", "penguin", "fox"]
    assert [names["color"][i] for i in shown[:, 1]] == ["red", "natural", "blue"]
    assert {names["pose"][i] for i in shown[:, 2]} == {"walking"}


def test_glimpses_are_moved_pictures_before_gray():
    images = jnp.asarray(fake_sets(2, 6)["images"])
    still = examiner.Glance(
        row=jnp.arange(2),
        mirror=jnp.zeros((2, 4), bool).at[1, 2].set(True),
        shift=jnp.zeros((2, 4, 2), int).at[0, 1].set(jnp.array([1, -1])),
        blur=jnp.zeros(2),
        loud=jnp.zeros(2),
    )
    plain = composite(np.asarray(images))
    found = examiner.glimpsed(images, still, jax.random.key(0))
    np.testing.assert_allclose(found[0, 0], plain[0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1, 2], plain[1, 2][:, ::-1], atol=1e-6)
    moved = np.roll(plain[0, 1], (1, -1), axis=(0, 1))
    np.testing.assert_allclose(found[0, 1], moved, atol=1e-6)
    soft = examiner.glimpsed(
        images, still._replace(blur=jnp.ones(2)), jax.random.key(0)
    )
    x = plain[0, 0]
    around = [np.roll(x, s, axis=a) for s in (-1, 1) for a in (0, 1)]
    np.testing.assert_allclose(soft[0, 0], np.mean(around, axis=0), atol=1e-6)
    loud = examiner.glimpsed(
        images, still._replace(loud=jnp.ones(2)), jax.random.key(0)
    )
    assert np.std(loud - found) == pytest.approx(1.0, rel=0.1)


def test_the_loss_is_that_of_chance_and_forgives_natural_coats():
    names = NAMES
    zero = examiner.Answers(
        *(jnp.zeros((2, n)) for n in (len(SPECIES), len(COLORS), len(names["pose"])))
    )
    shown = jnp.array([[3, 2, 1], [5, len(COLORS), 0]])
    loss = examiner.named_loss(zero, shown)
    assert float(loss["species"]) == pytest.approx(np.log(len(SPECIES)))
    assert float(loss["color"]) == pytest.approx(np.log(len(COLORS)))
    assert float(loss["pose"]) == pytest.approx(np.log(len(names["pose"])))
    sure = zero._replace(color=zero.color.at[0, 2].set(50.0).at[1, 0].set(50.0))
    assert float(examiner.named_loss(sure, shown)["color"]) < 1e-6
    slope = jax.grad(
        lambda c: examiner.named_loss(zero._replace(color=c), shown)["color"]
    )(zero.color)
    assert np.any(slope[0]) and not np.any(slope[1])
    natural = examiner.named_loss(zero, shown.at[0, 1].set(len(COLORS)))
    assert float(natural["color"]) == 0.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return walker(examiner, recipe("examiner"), tmp_path_factory.mktemp("cache"))


def test_it_learns_and_its_folder_answers_alike(tiny, tmp_path):
    state, metrics = tiny.walk(tiny.start, 3)
    assert all(np.isfinite(v) for v in metrics.values()) and metrics["skipped"] == 0
    folder = examiner.write(tiny.config, state, tmp_path / "examiner")
    pictures = np.asarray(tiny.frozen["pictures"][:5])
    found = examiner.load_examiner(folder)(pictures)
    network = examiner.network_of(tiny.config)
    ours = network.apply({"params": state.opt_state["average"]}, pictures)
    for a, b in zip(found, ours, strict=True):
        assert len(a) == 5
        np.testing.assert_allclose(a, b, atol=1e-2)
    large = pictures.repeat(2, axis=2).repeat(2, axis=3)
    for a, b in zip(examiner.load_examiner(folder)(large), found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # every four pixels are one
    with pytest.raises(ValueError, match=r"\[n, v, h, w, 3\], got \(4, 16, 16, 3\)"):
        examiner.load_examiner(folder)(pictures[0])
    again = recipe("examiner", run__start_from=str(folder))
    start = examiner.start_params(network, again)
    for a, b in zip(
        jax.tree.leaves(start), jax.tree.leaves(state.opt_state["average"]), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-2)
    config = json.loads((folder / "config.json").read_text())
    config["pose"] = ["dancing"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="must know the zoo's pose names"):
        examiner.load_examiner(folder)


def test_the_embedded_one_knows_unseen_animals():
    """Other individuals than in any training, half of them in held-out combinations."""
    sets = [sample_sets(977, 40, 32, stream="evaluation", held_out=h, natural=0.0)
            for h in (False, True)]  # fmt: skip
    pictures = composite(np.concatenate([s["images"] for s in sets]))
    found = examiner.load_examiner()(pictures)
    named = lambda scores, names: [names[i] for i in scores.argmax(-1)]
    join = lambda name: [x for s in sets for x in s["attributes"][name]]
    species = np.mean(
        np.array(named(found.species, NAMES["species"])) == join("species")
    )
    color = np.mean(np.array(named(found.color, tuple(COLORS))) == join("color"))
    assert set(join("species")) <= set(TRAINING_SPECIES)
    assert species >= 0.9 and color >= 0.9
