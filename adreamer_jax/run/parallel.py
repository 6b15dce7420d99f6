"""One step on one device or on several: the only file that knows how.

A state has no device axis anywhere. Every device draws the whole batch from the same
key and takes its own share, so a sample depends on the seed, the step and its place in
the batch, and never on how many devices there are. One reduction a step, of all
gradients at once, is the system's own, over the axis whose name it is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from adreamer_jax.core.shares import own_rows
from adreamer_jax.types import Key, Params, System, TrainState

AXIS = "devices"
PROCESSES = "ADREAMER_PROCESSES"


def join() -> None:
    """Become one of several processes, where the environment says that there are some.

    ADREAMER_PROCESSES is "address:port,count,number", the same for all but the number,
    or "auto" where Slurm, Open MPI or Kubernetes know. All processes run the same
    command on the same work folder; the first one writes.
    """
    words = os.environ.get(PROCESSES, "")
    if not words:
        return
    if words == "auto":
        jax.distributed.initialize()
        return
    address, *numbers = words.split(",")
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        raise ValueError(
            f"{PROCESSES} must be address:port,count,number or auto, got {words}; "
            f"write {PROCESSES}=localhost:1234,2,0 and the same with 1 at its end"
        )
    count, number = map(int, numbers)
    jax.distributed.initialize(address, num_processes=count, process_id=number)


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def own_folder() -> str:
    """Where in a work folder this process keeps its log: the first one at the top."""
    return "" if is_first() else f"processes/{jax.process_index()}"


def make_mesh(count: int = 1) -> Mesh:
    """The first ``count`` devices in a row; 0 takes all, of all processes."""
    found = jax.devices()
    if jax.process_count() > 1 and count not in (0, len(found)):
        raise ValueError(
            f"config.run.devices must be 0 (all) where several processes work together,"
            f" got {count}; write --config.run.devices=0"
        )
    if not 0 <= count <= len(found):
        raise ValueError(
            f"config.run.devices must be 0 (all) to {len(found)}, got {count}; "
            "write --config.run.devices=0"
        )
    chosen = np.array(found[: count or len(found)])
    return Mesh(chosen, (AXIS,), axis_types=(AxisType.Auto,))


def place(tree: Params, mesh: Mesh) -> Params:
    """The same tree, whole on every device; leaves that are there already stay.

    Each of several processes has its own copy, on its own devices.
    """
    everywhere = NamedSharding(_here(mesh), PartitionSpec())
    return jax.tree.map(lambda leaf: jax.device_put(leaf, everywhere), tree)


def _here(mesh: Mesh) -> Mesh:
    """The part of the mesh that belongs to this process."""
    if jax.process_count() == 1:
        return mesh
    own = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return Mesh(np.array(own), (AXIS,), axis_types=(AxisType.Auto,))


def hand_out(key: Key, mesh: Mesh) -> Key:
    """The key as `make_advance` takes it: on several devices the same one for each.

    pmap wants one argument with an axis to map over; the key is the smallest.
    """
    if mesh.size == 1:
        return place(key, mesh)
    here = _here(mesh)
    by_device = NamedSharding(here, PartitionSpec(AXIS))
    return jax.device_put(jnp.broadcast_to(key, (here.size,)), by_device)


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
