"""Triangle meshes as binary PLY files, with sRGB vertex colors where there are any."""

from pathlib import Path

import numpy as np

from adreamer_jax.run.files import write_bytes
from adreamer_jax.types import Float, Int

__all__ = ["write_ply"]


def write_ply(
    path: Path,
    vertices: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    colors: Float[np.ndarray, "n 3"] | None = None,
) -> Path:
    """The path of a little-endian PLY file of a mesh; colors are rounded to bytes."""
    columns = [(axis, "<f4") for axis in "xyz"]
    columns += [] if colors is None else [(c, "u1") for c in ("red", "green", "blue")]
    table = np.empty(len(vertices), np.dtype(columns))
    for i, axis in enumerate("xyz"):
        table[axis] = np.asarray(vertices)[:, i]
    if colors is not None:
        bytes_ = np.round(255 * np.clip(np.asarray(colors), 0, 1)).astype(np.uint8)
        for i, name in enumerate(("red", "green", "blue")):
            table[name] = bytes_[:, i]
    triangles = np.empty(
        len(faces), np.dtype([("count", "u1"), ("index", "<i4", (3,))])
    )
    triangles["count"], triangles["index"] = 3, faces
    head = _header(len(vertices), len(faces), colors is not None)
    return write_bytes(path, head + table.tobytes() + triangles.tobytes())


def _header(num_vertices: int, num_faces: int, colored: bool) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {num_vertices}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    if colored:
        lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    lines += [f"element face {num_faces}", "property list uchar int vertex_indices"]
    return ("\n".join([*lines, "end_header"]) + "\n").encode()
