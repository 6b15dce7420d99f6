"""Arrays that take long to compute, kept in files beside a run.

A file is named by the content hash of the inputs and settings that its arrays depend
on; who changes how they are computed changes a setting with it (`flow.RECIPE`). It
appears whole or not at all, and a damaged one is computed anew.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["cached", "content_hash"]


def content_hash(*parts: np.ndarray | str | int | float | tuple | None) -> str:
    """A short name for the content of arrays and settings."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()[:20]


def cached(
    path: Path, compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The named arrays of a file, computed and written when it is not there whole.

    Where nothing can be written (a full disk) the arrays are returned all the same.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        arrays = compute()
    try:
        write_whole(path, arrays)
    except OSError:
        pass
    return arrays


def write_whole(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz file under another name first, so that it is never seen in parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
