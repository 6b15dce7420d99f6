"""Published weights as parameter trees: names, layouts, files and what can be wrong.

A linen tree follows from the torch key by rule: split at the dots, let a number join
the name before it (``down_blocks.0.conv1.weight`` is
``{"down_blocks_0": {"conv1": {"kernel": ...}}}``), and put the axes in the order of
flax: convolutions HWIO, matrices [in, out], norms ``scale``, tables ``embedding``.
Nothing here executes code from a file and nothing needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from adreamer_jax.types import Params

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
    if value.ndim == 2 and path[-1].endswith("embedding"):  # a table of rows: looked up, never multiplied
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
            + "\n".join(lines)
        )


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    """Torch names and torch shapes of all leaves."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return dict(
        _torch_shape([step.key for step in path], np.shape(x)) for path, x in leaves
    )


def _torch_shape(
    path: list[str], shape: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    """Torch name and torch shape of one leaf: the inverse of `_leaf`."""
    *parts, leaf = path
    parts = [re.sub(r"(?<!linear)_(?=\d+(_|$))", ".", part) for part in parts]
    if leaf == "kernel":
        axes = np.argsort(_AXES[len(shape)])
        leaf, shape = "weight", tuple(shape[axis] for axis in axes)
    elif leaf in ("scale", "embedding"):
        leaf = "weight"
    return ".".join([*parts, leaf]), shape
