"""Whole files or none: a file appears under its name only when it is complete.

A run may be killed at any moment; readers and the next run must never meet half a file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "write_bytes", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path to write to, which takes the place of ``path`` when the block succeeds.

    It lies in the same folder (a rename is atomic only within one file system) and has
    the same ending, by which some writers choose their format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> Path:
    """The path of a file that now holds the data."""
    with replacing(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: Path, text: str) -> Path:
    """The path of a file that now holds the text."""
    return write_bytes(path, text.encode())
