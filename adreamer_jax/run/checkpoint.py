"""Training states on disk, one folder a step, written whole or not at all.

A save is finished when it returns, so a run that is killed at any moment finds a
complete older step. States have no device axis: what eight devices wrote, one reads;
of several processes the first one writes and all read.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from adreamer_jax.types import TrainState

KEEP = 2  # newest steps that stay: one more than needed, in case the last is damaged


class Checkpoints:
    """The saved steps of one stage of one run; use it in a ``with``."""

    def __init__(self, folder: Path, *, keep: int = KEEP):
        """Open (or start) a folder of checkpoints that holds the newest ``keep``."""
        self.folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.LatestN(keep),
            enable_async_checkpointing=False,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Checkpoints:
        """Give the checkpoints to the block."""
        return self

    def __exit__(self, *_) -> None:
        """Let go of the folder."""
        self._manager.close()

    def steps(self) -> list[int]:
        """Finished steps on disk, oldest first."""
        return sorted(self._manager.all_steps())

    def newest(self) -> Path | None:
        """Folder of the newest finished step."""
        steps = self.steps()
        return self.folder / str(steps[-1]) if steps else None

    def save(self, state: TrainState) -> None:
        """Write a state under its own step; a step that is there already is kept."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            saved = _on_host(state) if jax.process_count() > 1 else state
            self._manager.save(step, args=ocp.args.StandardSave(saved), force=True)

    def latest(self, fresh: TrainState, *, mend: bool = True) -> TrainState:
        """The newest state that can be read, placed as ``fresh`` is, else ``fresh``.

        Steps newer than it are damaged. With ``mend`` they go, so that they can be
        written again; a job that only reads leaves them.
        """
        damaged: list[tuple[int, Exception]] = []
        for step in reversed(self.steps()):
            try:
                state = self._restore(step, fresh)
            except Exception as error:
                damaged.append((step, error))
                continue
            for number, _ in damaged:
                warnings.warn(
                    f"checkpoint {number} cannot be read; going back", stacklevel=2
                )
                if mend:
                    self._manager.delete(number)
            return state
        if damaged:
            raise ValueError(_unreadable(self.folder, damaged[0][1]))
        return fresh

    def _restore(self, step: int, fresh: TrainState) -> TrainState:
        """Read one step; explicit shardings open files of any number of devices."""
        if jax.process_count() > 1:
            target = _on_host(fresh)
        else:
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
                fresh,
            )
        state: Any = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        put = lambda new, old: jax.device_put(new, old.sharding)
        return jax.tree.map(put, state, fresh)


def _on_host(state: TrainState) -> TrainState:
    """Copies off the devices: of several processes each has the whole state anyway."""
    return jax.tree.map(np.asarray, state)


def _unreadable(folder: Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
    return (
        f"the checkpoints in {folder} must fit this recipe and this version of the "
        f"program, got '{reason[0][:200]}'; choose another --workdir or delete them"
    )
