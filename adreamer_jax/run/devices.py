"""What must be said to XLA and to noisy libraries before the first array exists.

Nothing here imports jax at module level: an XLA flag counts only when it is set before
the first use of a backend.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

SLOW_SCATTER = ((0, 10, 2), (0, 11, 1))  # first affected and first repaired version
SCATTER_FLAG = "--xla_backend_extra_options=-nvptx-allow-ftz-atomics"
CACHE = "~/.cache/adreamer_jax/xla"


def slow_scatter(versions: Iterable[str]) -> bool:
    """Whether a CUDA plugin of these versions compiles float scatter-adds badly.

    They become compare-and-swap loops, hundreds of times slower under contention,
    which is what the gradient of the coarse levels of a hash grid is.
    """
    first, repaired = SLOW_SCATTER
    return any(first <= _numbers(version) < repaired for version in versions)


def cuda_versions() -> list[str]:
    """Versions of the CUDA plugins of jax that are installed."""
    names = ("jax-cuda13-plugin", "jax-cuda12-plugin")
    return [version for name in names if (version := _version(name))]


def set_backend(cache: str | None = CACHE) -> None:
    """Set XLA's flags, the compilation cache and the log level of absl.

    ``cache`` is a folder, or None or "" to compile everything anew. A folder that is
    named by JAX_COMPILATION_CACHE_DIR is left as it is.
    """
    if slow_scatter(cuda_versions()):
        flags = os.environ.get("XLA_FLAGS", "")
        if "xla_backend_extra_options" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} {SCATTER_FLAG}".strip()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        _set_cache(cache)
    from absl import logging

    logging.set_verbosity(logging.WARNING)  # orbax prints very long INFO lines


def _set_cache(cache: str) -> None:
    """Keep every compiled program; jax alone would leave the quick ones out."""
    import jax

    try:
        folder = Path(cache).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where home is
        return  # a home that cannot be written costs compile time, not the run
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 0.10.2.dev1 is (0, 10, 2)."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers[:3])


def hand_back_memory() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc).

    Between two stages more than a gigabyte of it is kept otherwise.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
