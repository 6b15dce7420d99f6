"""Trees of parameters by rule from the names of torch, and back.

Split a torch key at the dots and let a number join the name before it
(``down_blocks.0.conv1.weight`` is ``{"down_blocks_0": {"conv1": {"kernel": ...}}}``).
The axes go into the order of flax: convolutions HWIO, matrices [in, out], norms
``scale``, tables ``embedding``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from adreamer_jax.types import Params

State = dict[str, np.ndarray]  # a flat torch state dict

_AXES = {2: (1, 0), 4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}  # flax from torch


def tree_from_torch(flat: Mapping[str, np.ndarray]) -> Params:
    """Return the linen tree of a flat torch state dict, without copying the numbers."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, leaf = re.sub(r"\.(?=\d+(\.|$))", "_", key).split(".")
        name, value = _leaf(path, leaf, value)
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return tree


def _leaf(path: list[str], leaf: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Name and layout in flax of one torch tensor."""
    if leaf != "weight":
        return leaf, value
    if value.ndim == 2 and path[-1].endswith(
        "embedding"
    ):  # a table of rows: looked up, never multiplied
        return "embedding", value
    if value.ndim == 1:
        return "scale", value
    return "kernel", value.transpose(_AXES[value.ndim])


def check_tree(params: Params, expected: Params, *, what: str = "the weights") -> None:
    """Raise an error that names every missing, extra or misshapen tensor.

    ``expected`` holds arrays or shapes, such as ``jax.eval_shape`` of an init. Names
    and shapes are told as the file has them, in torch's order.
    """
    found, wanted = _shapes(params), _shapes(expected)
    lines = [
        f"  missing    {name} {wanted[name]}" for name in sorted(wanted.keys() - found)
    ]
    lines += [
        f"  unexpected {name} {found[name]}" for name in sorted(found.keys() - wanted)
    ]
    lines += [
        f"  misshapen  {name} is {found[name]}, must be {wanted[name]}"
        for name in sorted(found.keys() & wanted)
        if found[name] != wanted[name]
    ]
    if lines:
        raise ValueError(
            f"{what} must be those of the network that its config describes, got "
            f"{len(lines)} differing tensors; use the files of one model together:\n"
            + "\n".join(lines[:_SHOWN] + ["  ..."] * (len(lines) > _SHOWN))
        )


_SHOWN = 40  # differing tensors: another model's file has a thousand


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    """Torch names and torch shapes of all leaves."""
    return {
        name: tuple(np.shape(x)[axis] for axis in axes)
        for name, axes, x in _torch_leaves(tree)
    }


def torch_from_tree(params: Params) -> State:
    """The flat torch state dict of a linen tree: the inverse of `tree_from_torch`."""
    return {
        name: np.array(np.asarray(x).transpose(axes), order="C")
        for name, axes, x in _torch_leaves(params)
    }


def _torch_leaves(tree: Params) -> list[tuple[str, tuple[int, ...], Any]]:
    """Torch name, order of axes in torch, and value of every leaf."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(*_torch_name([step.key for step in path], x), x) for path, x in leaves]


def _torch_name(path: list[str], value: Any) -> tuple[str, tuple[int, ...]]:
    *parts, leaf = path
    parts = [re.sub(r"(?<!linear)_(?=\d+(_|$))", ".", part) for part in parts]
    axes = tuple(range(np.ndim(value)))
    if leaf == "kernel":
        axes = tuple(int(axis) for axis in np.argsort(_AXES[len(axes)]))
    if leaf in ("kernel", "scale", "embedding"):
        leaf = "weight"
    return ".".join([*parts, leaf]), axes
