"""The job `view`: the model in a browser, its frames on a slider, its bones to drag.

The page is served by viser, an optional package, to this machine alone; over ssh,
forward the port. What is dragged is blended as players of the exported files blend it;
what is not is the model's own motion.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from adreamer_jax.run.joints import bone_name, linear_blend
from adreamer_jax.run.progress import say
from adreamer_jax.types import Asset, Float

__all__ = ["bent", "furnish", "gizmo_poses", "motion_of", "view"]

PORT = 8080
_GIZMO = 0.12  # size of a gizmo, as a share of the model's longest side


def view(asset: Asset, *, host: str = "127.0.0.1", port: int = PORT) -> None:
    """Serve the model until someone stops the program."""
    server = _viser().ViserServer(host=host, port=port, verbose=False)
    advance = furnish(server, asset)
    say(f"open http://{host}:{port} in a browser; Ctrl-C ends it")
    try:
        while True:
            time.sleep(1.0 / asset.fps)
            advance()
    except KeyboardInterrupt:
        server.stop()


def gizmo_poses(
    asset: Asset, frame: int
) -> tuple[Float[np.ndarray, "bones 4"], Float[np.ndarray, "bones 3"]]:
    """Rotation (wxyz) and place of every bone at a frame, in object space."""
    placed = asset.posed_from_rest[frame] @ asset.rest_from_bone
    xyzw = Rotation.from_matrix(placed[:, :3, :3]).as_quat()
    return np.roll(xyzw, 1, axis=-1), placed[:, :3, 3]


def motion_of(
    asset: Asset,
    wxyz: Float[np.ndarray, "bones 4"],
    place: Float[np.ndarray, "bones 3"],
) -> Float[np.ndarray, "bones 4 4"]:
    """Motion away from rest of bones that were put somewhere."""
    posed = np.tile(np.eye(4), (len(place), 1, 1))
    posed[:, :3, :3] = Rotation.from_quat(np.roll(wxyz, -1, axis=-1)).as_matrix()
    posed[:, :3, 3] = place
    return posed @ np.linalg.inv(np.asarray(asset.rest_from_bone, np.float64))


def bent(
    asset: Asset, posed_from_rest: Float[np.ndarray, "bones 4 4"]
) -> Float[np.ndarray, "n 3"]:
    """The rest surface, moved by its bones."""
    every = np.broadcast_to(np.arange(asset.weights.shape[1]), asset.weights.shape)
    return linear_blend(asset.vertices, every, asset.weights, posed_from_rest)


def furnish(server: Any, asset: Asset) -> Any:
    """Put model, gizmos and controls on a page; returns what plays one frame on."""
    low, high = asset.vertices.min(0), asset.vertices.max(0)
    server.scene.set_up_direction("+y")
    last = len(asset.posed_vertices) - 1
    slider = server.gui.add_slider("frame", min=0, max=last, step=1, initial_value=0)
    play = server.gui.add_checkbox("play", initial_value=False)
    bones = server.gui.add_checkbox("bones", initial_value=True)
    back = server.gui.add_button("undo dragging")
    wxyz, place = gizmo_poses(asset, 0)
    gizmos = [
        server.scene.add_transform_controls(
            f"/bones/{bone_name(bone)}",
            scale=_GIZMO * float((high - low).max()),
            wxyz=wxyz[bone],
            position=place[bone],
        )
        for bone in range(len(place))
    ]

    def show(vertices: Float[np.ndarray, "n 3"]) -> None:
        colors = np.round(255 * np.clip(asset.colors, 0, 1)).astype(np.uint8)
        mesh = trimesh.Trimesh(
            vertices, asset.faces, vertex_colors=colors, process=False
        )
        server.scene.add_mesh_trimesh("/model", mesh)

    def show_frame(_: Any = None) -> None:
        frame = int(slider.value)
        for gizmo, turn, at in zip(gizmos, *gizmo_poses(asset, frame), strict=True):
            gizmo.wxyz, gizmo.position = turn, at
        show(asset.posed_vertices[frame])

    def show_dragged(_: Any = None) -> None:
        turns = np.stack([np.asarray(gizmo.wxyz, float) for gizmo in gizmos])
        places = np.stack([np.asarray(gizmo.position, float) for gizmo in gizmos])
        show(bent(asset, motion_of(asset, turns, places)))

    def show_bones(_: Any = None) -> None:
        for gizmo in gizmos:
            gizmo.visible = bool(bones.value)

    def advance() -> None:
        if play.value:
            slider.value = (int(slider.value) + 1) % (last + 1)

    slider.on_update(show_frame)
    back.on_click(show_frame)
    bones.on_update(show_bones)
    for gizmo in gizmos:
        gizmo.on_update(show_dragged)
    show_frame()
    return advance


def _viser() -> Any:
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            "--job=view must have the package viser, got none; write pip install viser"
        ) from None
    return viser
