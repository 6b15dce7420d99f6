"""One run at a time in a work folder: two would overwrite each other's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None


@contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Hold a work folder for the block; the system lets go when the process ends."""
    path = Path(workdir) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"--workdir must be used by one run at a time, got {workdir}, "
                    "where another is at work; wait for it or choose another folder"
                ) from None
        yield
