"""The figures of drawn scenes: outlines of one object agree, right answers count."""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import pocket_quality as quality

from adreamer_jax.core.camera import project
from adreamer_jax.systems.pocket.examiner import Answers
from adreamer_jax.systems.pocket.sets import NAMES


def outlines(points, camera, size=32):
    """Masks of a cloud of points, each a little square."""
    masks = np.zeros((4, size, size))
    many = np.broadcast_to(points, (4, *points.shape)).astype(np.float32)
    pixels = np.asarray(project(camera, jnp.asarray(many))[0]).astype(int)
    for mask, places in zip(masks, pixels, strict=True):
        mask[places[:, 1], places[:, 0]] = 1.0
    return masks


@pytest.fixture(scope="module")
def box():
    axis = np.linspace(-1, 1, 40)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    return cube * np.array([0.25, 0.35, 0.6])


def test_outlines_of_one_object_agree(box):
    camera = quality.views(45.0, 0.95)
    masks = outlines(box, camera)
    assert quality.best_agreement(masks) > 0.9


def test_outlines_of_different_objects_do_not(box):
    camera = quality.views(45.0, 0.95)
    masks = outlines(box, camera)
    masks[1] = outlines(box * np.array([0.3, 0.3, 0.3]), camera)[1]
    assert quality.best_agreement(masks) < 0.7
    assert quality.best_agreement(np.zeros((4, 32, 32))) == 0.0


def test_wishes_come_from_both_sides_of_the_rule():
    asked = quality.wishes(40)
    assert [w.held_out for w in asked] == [False, True] * 20
    assert asked == quality.wishes(40)
    assert all(w.species in w.text and w.color in w.text for w in asked)


class Perfect:
    """A judge that sees in a picture's first pixel which wish it shows."""

    def __init__(self, asked):
        self.asked = asked

    def of_texts(self, texts):
        words = [set(t.split()) - {"a", "an"} for t in texts]
        return np.stack([self._rate(w) for w in words])

    def _rate(self, words):
        fit = [len(words & set(w.text.split())) for w in self.asked]
        return np.array(fit) - 0.01 * len(words)

    def of_pictures(self, pictures):
        which = (pictures[:, 0, 0, 0] * len(self.asked)).round().astype(int)
        return np.eye(len(self.asked))[which]


def test_answers_of_a_judge_that_sees_all():
    asked = quality.wishes(8)
    numbers = np.arange(8) / 8
    pictures = np.broadcast_to(numbers[:, None, None, None, None], (8, 4, 2, 2, 3))
    right = quality.answers(Perfect(asked), asked, pictures)
    assert all(value.all() for value in right.values())
    wrong = quality.answers(Perfect(asked), asked, pictures[::-1])
    assert not wrong["own text"].any()
    sees = perfect_examiner(asked)
    rows = quality.rows_of("x", Perfect(asked), sees, asked, pictures)
    assert [row[:3] for row in rows] == [["x", "trained", 4], ["x", "held out", 4]]
    assert all(row[3:] == [100.0] * 7 for row in rows)


def perfect_examiner(asked):
    """An examiner that names what the wishes say, in their order."""
    place = lambda name: [NAMES[name].index(getattr(w, name)) for w in asked]
    hot = lambda name, n: np.eye(n)[place(name)]
    found = Answers(
        species=hot("species", len(NAMES["species"])),
        color=hot("color", 12),
        pose=hot("pose", len(NAMES["pose"])),
    )
    return lambda pictures: found


def test_an_examiner_that_is_wrong_is_told_so():
    asked = quality.wishes(8)
    seen = perfect_examiner(asked[::-1])
    right = quality.examined(seen, asked, np.zeros((8, 4, 2, 2, 3)))
    expected = [a.color == b.color for a, b in zip(asked, asked[::-1], strict=True)]
    assert list(right["color"]) == expected


def test_the_sheet_marks_what_training_never_saw():
    asked = quality.wishes(4)
    page = quality.sheet(np.full((4, 4, 6, 6, 3), 0.5), asked, columns=2)
    assert page.shape == (2 * 2 * 8, 2 * 2 * 26, 3)
    assert list(page[0, 0]) == [255, 255, 255] and page[0, -1, 1] < 50
