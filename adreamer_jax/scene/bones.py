"""Gaussian bones and their motion over the clip.

A bone is an ellipsoid: a rest frame (`object_from_bone` at rest) and three scales. Its
motion is ``posed_from_rest``: a rigid motion of field space for every frame. Two models
of motion: cosine terms in time about the rest center (default: smooth, and without a
constant term the rest pose is the clip's mean pose), and the paper's network of the
time code, whose rest pose is its output at the mean code.
"""

import dataclasses
from typing import no_type_check

import jax
import jax.numpy as jnp
from flax import struct

from adreamer_jax.core import rigid, rotation
from adreamer_jax.core.encoding import cosine_basis, time_code
from adreamer_jax.core.mlp import init_mlp, init_skip_mlp, mlp
from adreamer_jax.types import Array, Float, Key, Params, Rigid

_SKIP = 3


@dataclasses.dataclass(frozen=True)
class BonesSpec:
    """How many bones and how they move."""

    count: int = 25
    motion: str = "cosine"  # or "mlp"
    terms: int = 24  # of the cosine motion
    falloff: float = 10.0  # term k may move by 1 / sqrt(1 + (k / falloff)^2)
    frequencies: int = 6  # of the time code
    width: int = 256
    depth: int = 5
    delta_width: int = 64  # of the skinning correction


@no_type_check  # tree.map fills it with other things than arrays
class Bones(struct.PyTreeNode):
    """Learned numbers of the bones."""

    center: Float[Array, "bones 3"]  # at rest
    turn: Float[Array, "bones 3"]  # rotation vector of object_from_bone at rest
    log_scale: Float[Array, "bones 3"]
    motion: Params
    delta: Params  # network of the skinning correction
    spec: BonesSpec = struct.field(pytree_node=False)


def init_bones(
    key: Key,
    spec: BonesSpec,
    *,
    center: Float[Array, "bones 3"],
    scale: Float[Array, "bones"],
) -> Bones:
    """Bones at rest at the given centers, round, and not moving."""
    keys = jax.random.split(key, 2)
    if spec.motion == "cosine":
        motion = jnp.zeros((spec.terms, spec.count, 6))
    else:
        motion = _init_network(keys[0], spec, center)
    inputs = 3 * spec.count + 1 + 2 * spec.frequencies
    width = spec.delta_width
    delta = init_mlp(keys[1], [inputs, width, width, spec.count], last_scale=0.1)
    return Bones(
        center=jnp.asarray(center, jnp.float32),
        turn=jnp.zeros((spec.count, 3)),
        log_scale=jnp.log(jnp.broadcast_to(jnp.asarray(scale)[:, None], center.shape)),
        motion=motion,
        delta=delta,
        spec=spec,
    )


def _init_network(key: Key, spec: BonesSpec, center: Float[Array, "bones 3"]) -> Params:
    """Trunk on the time code and two heads; the bias of one holds the rest centers."""
    a, b, c = jax.random.split(key, 3)
    inputs = 1 + 2 * spec.frequencies
    place = init_mlp(b, [spec.width, 128, 3 * spec.count], last_scale=0.01)
    place[-1]["bias"] = jnp.asarray(center).reshape(-1) / 0.1
    return {
        "trunk": init_skip_mlp(
            a, inputs, spec.width, spec.depth, spec.width, skip=_SKIP
        ),
        "place": place,
        "turn": init_mlp(c, [spec.width, 128, 3 * spec.count], last_scale=0.01),
    }


def _network_poses(bones: Bones, code: Float[Array, "*t c"]) -> Rigid:
    """object_from_bone out of the time network (Lab4D's flat articulation)."""
    h = jax.nn.relu(mlp(bones.motion["trunk"], code, skip=_SKIP))
    shape = (*code.shape[:-1], bones.spec.count, 3)
    place = 0.1 * mlp(bones.motion["place"], h).reshape(shape)
    turn = mlp(bones.motion["turn"], h).reshape(shape)
    return Rigid(rotation.from_vector(turn), place)


def rest_pose(bones: Bones) -> Rigid:
    """object_from_bone of every bone at rest."""
    if bones.spec.motion == "cosine":
        return Rigid(rotation.from_vector(bones.turn), bones.center)
    times = (jnp.arange(64) + 0.5) / 64  # the code's mean over the clip
    codes = time_code(times, frequencies=bones.spec.frequencies)
    return _network_poses(bones, jnp.mean(codes, axis=0))


def posed_from_rest(bones: Bones, time: Float[Array, "*t"]) -> Rigid:
    """Rigid motion [*t bones] of every bone's surroundings away from the rest pose."""
    if bones.spec.motion == "cosine":
        return _cosine_motion(bones, time)
    code = time_code(time, frequencies=bones.spec.frequencies)
    return rigid.compose(_network_poses(bones, code), rigid.invert(rest_pose(bones)))


def _cosine_motion(bones: Bones, time: Float[Array, "*t"]) -> Rigid:
    k = jnp.arange(1, bones.spec.terms + 1)
    amplitude = 1.0 / jnp.sqrt(1.0 + (k / bones.spec.falloff) ** 2)
    basis = cosine_basis(time, terms=bones.spec.terms, first=1) * amplitude
    value = jnp.einsum("...k,kbc->...bc", basis, bones.motion)
    turn = rotation.from_vector(value[..., :3])
    # rotation about the rest center: x -> R (x - c) + c + shift
    moved = bones.center - rotation.rotate(
        turn, jnp.broadcast_to(bones.center, value[..., 3:].shape)
    )
    return Rigid(turn, moved + value[..., 3:])


def posed_bones(bones: Bones, motion: Rigid) -> Rigid:
    """object_from_bone [*t bones] at the given motion."""
    return rigid.compose(motion, rest_pose(bones))
