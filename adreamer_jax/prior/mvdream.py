"""Our cameras as the numbers that MVDream's network was trained with.

Its camera is the 4x4 matrix from camera to world, row by row: camera axes of OpenGL
(x right, y up, z backward), world of Blender (z up, the object's front toward +x) and
a translation of length one. Ours are OpenCV cameras in a world with y up and the
front toward +z, so ``(x, y, z)`` of ours is ``(y, z, x)`` of theirs.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from adreamer_jax.types import Array, Camera, Float

BLENDER_FROM_OBJECT = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
_OPENCV_FROM_OPENGL = np.array([1, -1, -1], np.float32)


def camera_tokens(camera: Camera) -> Float[Array, "*b 16"]:
    """The 16 numbers that describe each camera to the network.

    Field of view and distance are not among them: the network learned views of many
    distances and tells them from the picture.
    """
    turn = camera.camera_from_object[..., :3, :3]
    move = camera.camera_from_object[..., :3, 3]
    back = jnp.swapaxes(turn, -1, -2)  # a rotation: its inverse is its transpose
    place = -jnp.einsum("...ij,...j->...i", back, move) @ BLENDER_FROM_OBJECT.T
    # 1e-8 keeps a camera that stands at the origin finite, as the published code does
    place = place / (jnp.linalg.norm(place, axis=-1, keepdims=True) + 1e-8)
    axes = BLENDER_FROM_OBJECT @ back * _OPENCV_FROM_OPENGL
    upper = jnp.concatenate([axes, place[..., None]], axis=-1)
    last = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0]), (*place.shape[:-1], 1, 4))
    matrix = jnp.concatenate([upper, last], axis=-2)
    return matrix.reshape(*matrix.shape[:-2], 16)
