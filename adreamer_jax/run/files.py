"""Whole files or none: a file appears under its name only when it is complete.

A run may be killed at any moment; readers and the next run must never meet half a file.
What a killed run left of one goes away when the file is written again.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    _forget_parts(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _forget_parts(path: Path) -> None:
    # A killed process could not: another one that still writes keeps its part.
    name = rf"\.{re.escape(path.stem)}\.(\d+)\.part{re.escape(path.suffix)}"
    for part in path.parent.glob(".*"):
        writer = re.fullmatch(name, part.name)
        if writer and not _alive(int(writer[1])):
            with suppress(OSError):
                part.unlink()


def _alive(process: int) -> bool:
    if os.name == "nt":
        return False  # and a file that is open cannot be deleted
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_bytes(path: Path, data: bytes) -> Path:
    """The path of a file that now holds the data."""
    with replacing(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: Path, text: str) -> Path:
    """The path of a file that now holds the text."""
    return write_bytes(path, text.encode())
