"""What a run says to disk: scalars as JSON lines and for TensorBoard, and pictures.

A step is the number of steps done. On resume everything after the restored step is
forgotten, so every step of every stage stands in the file once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from adreamer_jax.run.files import replacing, write_text

protos: Any = event_pb2  # its classes are made at run time


class Log:
    """Writers of one stage of one run; use it in a ``with``."""

    def __init__(self, workdir: Path, *, stage: str, step: int):
        """Open the files of a stage that goes on after ``step``."""
        self.workdir, self.stage = Path(workdir), stage
        self.workdir.mkdir(parents=True, exist_ok=True)
        forget(self.workdir / "metrics.jsonl", stage=stage, after=step)
        self._lines = (self.workdir / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = Board(self.workdir / "tensorboard" / stage, after=step)

    def __enter__(self) -> Log:
        """Give the log to the block."""
        return self

    def __exit__(self, *_) -> None:
        """Close the files."""
        self._lines.close()
        self._board.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line: stage, step, wall time in seconds, and the values."""
        head = {"stage": self.stage, "step": step, "wall": round(time.time(), 3)}
        self._lines.write(json.dumps(head | dict(values)) + "\n")
        self._lines.flush()
        self._board.write(step, [summary.scalar(k, v) for k, v in values.items()])

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Write a uint8 picture as pictures/<stage>_<step>_<name>.png."""
        path = self.workdir / "pictures" / f"{self.stage}_{step:06d}_{name}.png"
        with replacing(path) as part:
            Image.fromarray(np.asarray(image)).save(part)
        shown = summary.image(name, np.asarray(image), dataformats="HWC")
        self._board.write(step, [shown])


class Board:
    """A TensorBoard event file that is written at once, without a thread.

    A writer with a thread of its own would meet a full disk where nobody can catch it.
    """

    def __init__(self, folder: Path, *, after: int):
        """Begin a file in which nothing earlier files say after a step counts."""
        folder.mkdir(parents=True, exist_ok=True)
        # The writer names files by the second: a quick restart must not meet the last.
        suffix = f".{os.getpid()}.{time.monotonic_ns()}"
        self._writer = EventsWriter(str(folder / "events"), suffix)
        start = protos.SessionLog(status=protos.SessionLog.START)
        self._event(step=after + 1, session_log=start)

    def write(self, step: int, summaries: Sequence[Any]) -> None:
        """Write summaries of one step."""
        for entry in summaries:
            self._event(step=step, summary=entry)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _event(self, **content: Any) -> None:
        self._writer.write_event(protos.Event(wall_time=time.time(), **content))


def read_metrics(path: Path) -> list[dict]:
    """All whole lines of a metrics file, in their order; none where there is none."""
    if not path.exists():
        return []
    return list(_whole(path.read_text(encoding="utf-8").splitlines()))


def forget(path: Path, *, stage: str, after: int) -> None:
    """Drop a stage's lines after a step, and half lines that a kill left behind."""
    if not path.exists():
        return
    keep = [m for m in read_metrics(path) if m["stage"] != stage or m["step"] <= after]
    write_text(path, "".join(json.dumps(line) + "\n" for line in keep))


def _whole(lines: list[str]) -> Iterator[dict]:
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
