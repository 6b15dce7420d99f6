"""Charts say what the numbers say."""

import re
from xml.etree import ElementTree

import numpy as np

from adreamer_jax.run.charts import bond_matrix, chart, smoothed, tick_text


def lines(text):
    """Points of the strong curves in a chart, which is well-formed."""
    tree = ElementTree.fromstring(text)
    found = [n for n in tree.iter("polyline") if n.get("class").startswith("line")]
    return [
        np.array(re.findall(r"[\d.]+", n.get("points")), float).reshape(-1, 2)
        for n in found
    ]


def test_a_falling_curve_falls_from_corner_to_corner():
    (curve,) = lines(chart("loss", [(range(0, 11), np.linspace(5, 1, 11))]))
    assert (np.diff(curve[:, 0]) > 0).all() and (np.diff(curve[:, 1]) > 0).all()
    assert np.allclose(curve[0], [34, 6]) and np.allclose(curve[-1], [236, 82])


def test_wide_ranges_are_logarithmic():
    (curve,) = lines(chart("loss", [(range(7), 10.0 ** -np.arange(7))]))
    assert np.allclose(np.diff(curve[:, 1]), 76 / 6, atol=0.1)
    assert ">log<" in chart("loss", [(range(7), 10.0 ** -np.arange(7))])


def test_stages_are_curves_of_their_own_and_holes_are_left_out():
    text = chart(
        "a<b", [([0, 1, 2], [1, float("nan"), 3]), ([0, 4], [2.0, 2.0]), ([], [])]
    )
    first, second = lines(text)
    assert len(first) == 2 and len(second) == 2 and second[-1, 0] == 236
    assert "a&lt;b" in text
    assert chart("none", [([1], [float("inf")])]) == ""


def test_a_constant_has_a_chart():
    (curve,) = lines(chart("skipped", [([0, 1], [0.0, 0.0])]))
    assert np.isfinite(curve).all()


def test_running_mean_is_a_mean_and_keeps_constants():
    values = np.random.default_rng(0).normal(size=50)
    mean = smoothed(values, share=0.2)
    assert np.isclose(mean[20], values[15:26].mean()) and np.isclose(
        mean[0], values[:6].mean()
    )
    assert np.allclose(smoothed(np.full(30, 2.5)), 2.5)


def test_numbers_are_short():
    texts = [tick_text(v) for v in (0, 0.12345, 12.3456, 4321.0, 1.2e-5, 3e7, -0.5)]
    assert texts == ["0", "0.123", "12.3", "4,321", "1e-5", "3e7", "-0.5"]


def test_matrix_draws_strength_as_area_and_outlines_the_tree():
    strength = np.array([[0, 0.25, 0], [0.25, 0, 1], [0, 1, 0.0]])
    linked = np.zeros((3, 3), bool)
    linked[0, 1] = linked[1, 0] = True
    tree = ElementTree.fromstring(bond_matrix(strength, linked, ("a", "b", "c")))
    cells = [n for n in tree.iter("rect") if n.get("class") is None]
    assert sorted(float(n.get("width")) for n in cells) == [0.45, 0.45, 0.9, 0.9]
    assert sum(n.get("class") == "tree" for n in tree.iter("rect")) == 2
