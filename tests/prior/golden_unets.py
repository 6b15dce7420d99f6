"""Reference tensors of the UNets: tiny networks of the published classes, by torch."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from adreamer_jax.prior.load import tree_from_torch

FOLDER = Path(__file__).parents[1] / "golden"
ATOL = 2e-5  # below the smallest error that a wrong formula makes (tanh gelu: 3e-4)


def read_golden(name):
    """Config, torch weights and inputs/outputs of one network."""
    folder = FOLDER / name
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    return config, weights, load_file(folder / "io.safetensors")


def to_params(weights, prefix=""):
    """The float32 tree of the weights behind a prefix."""
    cut = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    return jax.tree.map(lambda x: np.asarray(x, np.float32), tree_from_torch(cut))


def manifest(name):
    """Names and shapes of a real-size network, as an empty tree."""
    shapes = json.loads((FOLDER / "manifests" / f"{name}.json").read_text())
    empty = {k: np.broadcast_to(np.float32(0), shape) for k, shape in shapes.items()}
    return tree_from_torch(empty)


def sizes(tree):
    """Number of tensors and of parameters."""
    leaves = jax.tree.leaves(tree)
    return len(leaves), sum(int(np.prod(leaf.shape)) for leaf in leaves)


def nhwc(x):
    """Channels last: torch keeps them second."""
    return jnp.moveaxis(jnp.asarray(x), 1, -1)


def error(found, wanted):
    """Largest absolute difference."""
    return float(np.abs(np.asarray(found) - np.asarray(wanted)).max())
