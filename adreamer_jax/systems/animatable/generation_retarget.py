"""Another clip's motion on an extracted model: bones matched by their rest places.

Both skeletons are brought together by a turn about the upright axis, a scale and a
shift; the assignment of least squared distance says which bone moves like which. A
motion is rotation vectors and shifts about the rest centers, so it is carried over by
the same turn and scale, and so are the cameras.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from adreamer_jax.scene.bones import rest_pose
from adreamer_jax.scene.pose import PoseParams, root_poses
from adreamer_jax.systems.animatable.model import Model
from adreamer_jax.types import Float, Int

_TURNS = 72  # headings that are tried; the first one is none at all


class Alignment(NamedTuple):
    """own = scale * turn @ other + shift, and the other's bone for each own one."""

    turn: Float[np.ndarray, "3 3"]
    scale: float
    shift: Float[np.ndarray, "3"]
    match: Int[np.ndarray, "bones"]
    error: float  # r.m.s. distance of matched bones, in r.m.s. radii of the skeleton


def align(
    own: Float[np.ndarray, "bones 3"], other: Float[np.ndarray, "bones 3"]
) -> Alignment:
    """The turn, scale and shift that bring another skeleton's bones nearest to ours."""
    if own.shape != other.shape:
        raise ValueError(
            f"generate.motion must be a run with as many bones, {len(own)}, got one "
            f"with {len(other)}; extract that clip with "
            f"--config.scene.bones.count={len(own)}"
        )
    spread = [np.sqrt(np.mean(np.sum((x - x.mean(0)) ** 2, -1))) for x in (own, other)]
    scale = float(spread[0] / max(spread[1], 1e-9))
    best: Alignment | None = None
    for i in range(_TURNS):
        turn = _about_upright(2.0 * np.pi * i / _TURNS)
        shift = own.mean(0) - scale * turn @ other.mean(0)
        moved = scale * other @ turn.T + shift
        cost = np.sum((own[:, None] - moved[None]) ** 2, -1)
        match = linear_sum_assignment(cost)[1]
        error = float(np.sqrt(np.mean(cost[np.arange(len(own)), match])) / spread[0])
        if best is None or error < best.error - 1e-6:
            best = Alignment(turn, scale, shift, match, error)
    assert best is not None
    return best


def _about_upright(angle: float) -> Float[np.ndarray, "3 3"]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def retargeted(own: Model, other: Model) -> Model:
    """The own model with the motion, root poses and cameras of another one."""
    if own.bones.spec.motion != "cosine" or other.bones.spec.motion != "cosine":
        raise ValueError(
            "generate.motion must join two runs whose bones move by cosine terms, got "
            f"{own.bones.spec.motion} and {other.bones.spec.motion}; extract both with "
            "--config.scene.bones.motion=cosine"
        )
    places = (np.asarray(rest_pose(m.bones).translation, float) for m in (own, other))
    fit = align(*places)
    motion = np.asarray(other.bones.motion, np.float64)[:, fit.match]
    turned = np.concatenate(
        [motion[..., :3] @ fit.turn.T, fit.scale * motion[..., 3:] @ fit.turn.T], -1
    )
    spec = dataclasses.replace(
        own.bones.spec,
        terms=other.bones.spec.terms,
        falloff=other.bones.spec.falloff,
    )
    bones = own.bones.replace(motion=jnp.asarray(turned, jnp.float32), spec=spec)
    return own.replace(bones=bones, pose=_moved_cameras(other.pose, fit))


def _moved_cameras(pose: PoseParams, fit: Alignment) -> PoseParams:
    """The other clip's cameras about our model: the whole scene, scaled.

    A camera at p_c = R p + t sees p = turn^T (q - shift) / scale; all lengths times
    the scale give the same picture of q.
    """
    found = np.asarray(root_poses(pose), np.float64)
    turn = found[:, :3, :3] @ fit.turn.T
    shift = fit.scale * found[:, :3, 3] - turn @ fit.shift
    initial = np.tile(np.eye(4), (len(found), 1, 1))
    initial[:, :3, :3], initial[:, :3, 3] = turn, shift
    still = jax.tree.map(jnp.zeros_like, pose.correction)
    return pose.replace(initial=jnp.asarray(initial, jnp.float32), correction=still)
