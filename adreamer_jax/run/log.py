"""What a run says to disk: scalars as JSON lines and for TensorBoard, and pictures.

A step is the number of steps done. On resume everything after the restored step is
forgotten, so every step of every stage stands in the file once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

from adreamer_jax.run.files import replacing, write_text


class Log:
    """Writers of one stage of one run; use it in a ``with``."""

    def __init__(self, workdir: Path, *, stage: str, step: int):
        """Open the files of a stage that goes on after ``step``."""
        self.workdir, self.stage = Path(workdir), stage
        self.workdir.mkdir(parents=True, exist_ok=True)
        forget(self.workdir / "metrics.jsonl", stage=stage, after=step)
        self._lines = (self.workdir / "metrics.jsonl").open("a", encoding="utf-8")
        folder = self.workdir / "tensorboard" / stage
        self._board = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> Log:
        """Give the log to the block."""
        return self

    def __exit__(self, *_) -> None:
        """Write what is still held back and close the files."""
        self._lines.close()
        self._board.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line: stage, step, wall time in seconds, and the values."""
        head = {"stage": self.stage, "step": step, "wall": round(time.time(), 3)}
        self._lines.write(json.dumps(head | dict(values)) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Write a uint8 picture as pictures/<stage>_<step>_<name>.png."""
        path = self.workdir / "pictures" / f"{self.stage}_{step:06d}_{name}.png"
        with replacing(path) as part:
            Image.fromarray(np.asarray(image)).save(part)
        self._board.add_image(name, np.asarray(image), step, dataformats="HWC")


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
