"""Nested dictionaries: leaves of the second win, everything else stays."""

from adreamer_jax.core.nested import laid_over


def test_leaves_of_the_second_lie_over_those_of_the_first():
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    changes = {"a": {"y": {"z": 5, "w": 6}}, "c": {"d": 7}}
    whole = laid_over(base, changes)
    assert whole == {"a": {"x": 1, "y": {"z": 5, "w": 6}}, "b": 3, "c": {"d": 7}}
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert changes == {"a": {"y": {"z": 5, "w": 6}}, "c": {"d": 7}}


def test_a_leaf_and_a_branch_take_each_others_place():
    assert laid_over({"a": {"x": 1}}, {"a": 2}) == {"a": 2}
    assert laid_over({"a": 2}, {"a": {"x": 1}}) == {"a": {"x": 1}}


def test_nothing_over_something_is_the_same():
    base = {"a": {"x": 1}}
    assert laid_over(base, {}) == laid_over({}, base) == base
