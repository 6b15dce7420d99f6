"""The loop: a system's pure step, again and again, with time, disk and devices.

A run is a function of its recipe: every draw comes from the seed and the step, and the
state holds all the rest. So a run that is killed and started again ends, on a CPU,
with the same parameters as one that never stopped, bit for bit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adreamer_jax.run import parallel
from adreamer_jax.run.checkpoint import Checkpoints
from adreamer_jax.run.log import Log
from adreamer_jax.run.progress import Progress, say, timed
from adreamer_jax.types import Metrics, Params, System, TrainState

PATIENCE = 20  # so many steps are watched before skipped ones count as persistent


def start(
    system: System,
    frozen: Params,
    run: Any,
    checkpoints: Checkpoints,
    *,
    devices: int,
    mend: bool,
) -> TrainState:
    """The state to go on from: the newest checkpoint's, else a fresh one.

    With ``mend`` a damaged checkpoint newer than that goes.
    """
    mesh = parallel.make_mesh(devices)
    fresh = jax.jit(system.init)(_key(run, "init"), frozen)  # one program, not 100
    return checkpoints.latest(parallel.place(parallel.own(fresh), mesh), mend=mend)


def restore(
    system: System, frozen: Params, run: Any, workdir: Path, *, stage: str
) -> TrainState:
    """The newest state of a stage, for jobs that only read it: on one device."""
    folder = Path(workdir) / "checkpoints" / stage
    missing = ValueError(
        f"--workdir must hold a trained {stage} stage, got {workdir} without "
        "checkpoints; run the same command with --job=train first"
    )
    if not folder.is_dir():
        raise missing
    devices = 1 if jax.process_count() == 1 else 0
    with Checkpoints(folder) as checkpoints:
        if not checkpoints.steps():  # a run was stopped before its first one
            raise missing
        return start(system, frozen, run, checkpoints, devices=devices, mend=False)


def train(
    system: System, frozen: Params, run: Any, workdir: Path, *, stage: str
) -> TrainState:
    """The state after all steps; goes on where a checkpoint in ``workdir`` stands.

    ``run`` is the recipe's section: seed, log_every, save_every, show_every, devices.
    """
    mesh = parallel.make_mesh(run.get("devices", 1))
    frozen = parallel.place(frozen, mesh)
    with Checkpoints(Path(workdir) / "checkpoints" / stage) as checkpoints:
        with timed(f"{stage}: preparing"):
            devices = run.get("devices", 1)
            state = start(system, frozen, run, checkpoints, devices=devices, mend=True)
        first, last = int(state.step), system.num_steps
        if first >= last:
            say(f"{stage}: all {last} steps are done")
            return state
        if first:
            say(f"{stage}: going on after step {first} of {last}")
        key = parallel.hand_out(_key(run, "steps"), mesh)
        advance = _compile(system, mesh, (state, frozen, key), stage)
        log = Log(Path(workdir) / parallel.own_folder(), stage=stage, step=first)
        progress = Progress(stage, start=first, total=last)
        watch = Watch(checkpoints)
        with log, progress:
            for step in range(first, last):
                state = parallel.place(system.maintain(state, frozen, step), mesh)
                state, metrics = advance(state, frozen, key)
                done = step + 1
                progress.advance(done)
                if due(done, run.log_every, last):
                    scalars = read(metrics) | {"time/step_ms": progress.pace() * 1e3}
                    log.scalars(done, scalars)
                    progress.show(scalars.get("loss", math.nan))
                    watch(done, scalars)
                if due(done, run.show_every, last):
                    for name, image in system.preview(state, frozen).items():
                        log.picture(done, name, image)
                if due(done, run.save_every, last):
                    checkpoints.save(state)
    return state


def due(done: int, every: int, last: int) -> bool:
    """Whether something that comes every so many steps (0: never) comes now."""
    return done == last or (every > 0 and done % every == 0)


def read(metrics: Metrics) -> dict[str, float]:
    """Metrics as plain numbers; this waits for the step."""
    return {name: float(np.asarray(value)) for name, value in metrics.items()}


class Watch:
    """Stops a run whose steps are skipped again and again as not finite.

    The step itself leaves the state as it was when a gradient is not finite, and
    counts that in the metric "skipped"; one such step is no harm, half of the last
    ones are a run that learns nothing.
    """

    def __init__(self, checkpoints: Checkpoints, *, patience: int = PATIENCE):
        """Watch windows of at least ``patience`` steps."""
        self._checkpoints, self._patience = checkpoints, patience
        self._seen: deque[tuple[int, float]] = deque()

    def __call__(self, step: int, scalars: dict[str, float]) -> None:
        """Note one logged step; raise FloatingPointError when it is enough."""
        self._seen.append((step, scalars.get("skipped", 0.0)))
        while len(self._seen) > 2 and step - self._seen[1][0] >= self._patience:
            self._seen.popleft()
        first, before = self._seen[0]
        skipped = self._seen[-1][1] - before
        if step - first >= self._patience and skipped >= 0.5 * (step - first):
            raise FloatingPointError(self._sentence(step, step - first, scalars))

    def _sentence(self, step: int, steps: int, scalars: dict[str, float]) -> str:
        bad = [name for name, value in scalars.items() if not math.isfinite(value)]
        return (
            f"losses and gradients must be finite, got {', '.join(bad) or 'gradients'} "
            f"not finite in at least half of the {steps} steps before step {step}; "
            "lower --config.optimizer.lr or a loss weight and start from the last "
            f"checkpoint, {self._checkpoints.newest() or 'which there is none yet'}"
        )


def _key(run: Any, purpose: str) -> jax.Array:
    """The run's key for one purpose; a step folds in its own number."""
    purposes = ("init", "steps")
    return jax.random.fold_in(jax.random.key(run.seed), purposes.index(purpose))


def _compile(system: System, mesh: Any, arguments: tuple, stage: str) -> Callable:
    """The advance function, compiled, after a line on what it will need."""
    advance: Any = parallel.make_advance(system, mesh)
    with timed(f"{stage}: compiling the step"):
        memory = advance.lower(*arguments).compile().memory_analysis()
    count = sum(leaf.size for leaf in jax.tree.leaves(arguments[0].params))
    say(f"{stage}: {count:,} parameters{_memory(memory)}")
    return advance


def _memory(memory: Any) -> str:
    """What a step holds at most, where the backend tells."""
    if memory is None:
        return ""
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return f", {held / 2**20:,.0f} MiB held by a step"
