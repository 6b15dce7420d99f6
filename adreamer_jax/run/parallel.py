"""One step on one device or on several: the only file that knows how.

A state has no device axis anywhere. Every device draws the whole batch from the same
key and takes its own share, so a sample depends on the seed, the step and its place in
the batch, and never on how many devices there are. One reduction a step, of all
gradients at once, is the system's own, over the axis whose name it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from adreamer_jax.core.shares import own_rows
from adreamer_jax.types import Key, Params, System, TrainState

AXIS = "devices"


def make_mesh(count: int = 1) -> Mesh:
    """The first ``count`` devices in a row; 0 takes all of them."""
    found = jax.devices()
    if not 0 <= count <= len(found):
        raise ValueError(
            f"config.run.devices must be 0 (all) to {len(found)}, got {count}; "
            "write --config.run.devices=0"
        )
    chosen = np.array(found[: count or len(found)])
    return Mesh(chosen, (AXIS,), axis_types=(AxisType.Auto,))


def place(tree: Params, mesh: Mesh) -> Params:
    """The same tree, whole on every device; leaves that are there already stay."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: jax.device_put(leaf, everywhere), tree)


def hand_out(key: Key, mesh: Mesh) -> Key:
    """The key as `make_advance` takes it: on several devices the same one for each.

    pmap wants one argument with an axis to map over; the key is the smallest.
    """
    if mesh.size == 1:
        return place(key, mesh)
    by_device = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.device_put(jnp.broadcast_to(key, (mesh.size,)), by_device)


def own(tree: Params) -> Params:
    """A copy without shared buffers or weak types, which a step may take over.

    A donated buffer is gone after the step: it must not be the clip's, nor appear
    twice. A weakly typed leaf would compile a second program after a restore.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype, copy=True), tree)


def make_advance(system: System, mesh: Mesh) -> Callable:
    """A compiled (state, frozen, key) -> (state, metrics); keys come by `hand_out`.

    On several devices the system's step is told the axis' name as ``axis`` and has to
    average its gradients and metrics over it.
    """
    devices = list(mesh.devices.flat)
    if len(devices) == 1:
        return jax.jit(partial(_advance, system), donate_argnums=0)
    return jax.pmap(
        partial(_advance_share, system, len(devices)),
        axis_name=AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        devices=devices,
        donate_argnums=0,
    )


def _advance(system: System, state: TrainState, frozen: Params, key: Key):
    batch, key = _draw(system, state, frozen, key)
    return system.step(state, frozen, batch, key)


def _advance_share(
    system: System, count: int, state: TrainState, frozen: Params, key: Key
):
    batch, key = _draw(system, state, frozen, key)
    share = jax.tree.map(partial(_share, count), batch)
    return system.step(state, frozen, share, key, axis=AXIS)


def _draw(system: System, state: TrainState, frozen: Params, key: Key):
    """The step's whole batch, and a key for the step itself."""
    sample_key, step_key = jax.random.split(jax.random.fold_in(key, state.step))
    return system.sample(frozen, sample_key, state.step), step_key


def _share(count: int, leaf: jax.Array) -> jax.Array:
    """This device's rows of one leaf of the batch; a scalar is everybody's."""
    if leaf.ndim == 0:
        return leaf
    if leaf.shape[0] % count:
        raise ValueError(
            f"the frames of a step must be a multiple of the {count} devices, got "
            f"{leaf.shape[0]}; write --config.data.frames_per_step="
            f"{-(-leaf.shape[0] // count) * count}"
        )
    return own_rows(leaf, AXIS)
