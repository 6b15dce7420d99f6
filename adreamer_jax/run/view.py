"""The job `view`: the model in a browser, its frames on a slider, its bones to pose.

The page is served by viser, an optional package, to this machine alone; over ssh,
forward the port. A click on the model picks the bone that leads there; dragging its
gizmo turns it about its joint, and all that hangs on it goes along. A pose that is kept
is a file for the job `pose`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from adreamer_jax.run.gltf import linear_from_srgb
from adreamer_jax.run.hand_pose import bent, pose_of, write_pose
from adreamer_jax.run.joints import bone_name
from adreamer_jax.run.progress import say
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset, Bool, Float, Int

__all__ = ["furnish", "gizmo_pose", "hangs_on", "led_by", "view"]

PORT = 8080
_GIZMO = 0.15  # size of the gizmo, as a share of the model's longest side
_FAR = 0.8  # the eye's distance from the middle, in diagonals of the box
_NEAR_RAY = 0.01  # of the diagonal: what lies so near a click's ray may be meant
_ACCENT = np.array([1.0, 0.45, 0.05])  # what the picked bone moves
_ACCENT_SHARE = 0.6


def view(
    asset: Asset,
    skeleton: Skeleton,
    workdir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
) -> None:
    """Serve the model until someone stops the program."""
    server = _viser().ViserServer(host=host, port=port, verbose=False)
    advance = furnish(server, asset, skeleton, workdir)
    say(f"open http://{host}:{port} in a browser; Ctrl-C ends it")
    try:
        while True:
            time.sleep(1.0 / asset.fps)
            advance()
    except KeyboardInterrupt:
        server.stop()


def hangs_on(parent: Int[np.ndarray, "bones"], bone: int) -> Bool[np.ndarray, "bones"]:
    """Which bones go along when a bone moves: itself and all below it in the tree."""
    along = np.arange(len(parent)) == bone
    for _ in range(len(parent)):
        along = along | (along[parent] & (parent >= 0))
    return along


def gizmo_pose(
    motion: Float[np.ndarray, "4 4"], pivot: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """A bone's axes at its joint: object axes at rest, carried by the bone's motion."""
    place = motion.copy()
    place[:3, 3] += motion[:3, :3] @ pivot
    return place


def led_by(
    vertices: Float[np.ndarray, "n 3"],
    weights: Float[np.ndarray, "n bones"],
    origin: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
) -> int:
    """The bone that leads the surface where a ray first comes near it."""
    direction = direction / np.linalg.norm(direction)
    depth = (vertices - origin) @ direction
    beside = np.linalg.norm(vertices - origin - depth[:, None] * direction, axis=1)
    reach = max(_NEAR_RAY * np.linalg.norm(np.ptp(vertices, axis=0)), beside.min())
    first = np.argmin(np.where(beside <= reach, depth, np.inf))
    return int(np.argmax(weights[first]))


def _matrix(handle: Any) -> Float[np.ndarray, "4 4"]:
    place = np.eye(4)
    xyzw = np.roll(np.asarray(handle.wxyz, float), -1)
    place[:3, :3] = Rotation.from_quat(xyzw).as_matrix()
    place[:3, 3] = handle.position
    return place


def _matte(color: Float[np.ndarray, "n 3"]) -> TextureVisuals:
    # without a material glTF means metal, which is black where nothing is mirrored
    look = TextureVisuals(material=PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9))
    light = np.concatenate([linear_from_srgb(color), np.ones_like(color[:, :1])], 1)
    look.vertex_attributes["color"] = np.round(255 * light).astype(np.uint8)
    return look


class _Page:
    """What the page shows: a frame's motion, and what was dragged since."""

    def __init__(
        self, server: Any, asset: Asset, skeleton: Skeleton, workdir: Path
    ) -> None:
        self.server, self.asset, self.skeleton = server, asset, skeleton
        self.workdir = Path(workdir)
        self.last = len(asset.posed_vertices) - 1
        names = [bone_name(bone) for bone in range(asset.weights.shape[1])]
        gui = server.gui
        self.frame = gui.add_slider(
            "frame", min=0, max=self.last, step=1, initial_value=0
        )
        self.play = gui.add_checkbox("play", initial_value=False)
        self.bone = gui.add_dropdown("bone", ["none", *names], initial_value="none")
        self.keep = gui.add_button("keep this pose")
        self.undo = gui.add_button("undo dragging")
        self.gizmo = server.scene.add_transform_controls(
            "/gizmo",
            scale=_GIZMO * float(np.ptp(asset.vertices, axis=0).max()),
            depth_test=False,  # joints lie inside of the body
            visible=False,
        )
        self.frame.on_update(self.show_frame)
        self.bone.on_update(self.pick)
        self.gizmo.on_update(self.drag)
        self.keep.on_click(self.write)
        self.undo.on_click(self.show_frame)
        self.look()
        self.show_frame()

    def picked(self) -> int | None:
        """Index of the bone in the menu."""
        return None if self.bone.value == "none" else int(self.bone.value[5:])

    def look(self) -> None:
        """Put the eye on the filmed side, near enough that the model fills the page."""
        low, high = self.asset.vertices.min(0), self.asset.vertices.max(0)
        camera = np.asarray(self.asset.camera_from_object[0], float)
        toward = -camera[:3, :3].T @ camera[:3, 3]  # where the first frame was taken
        away = _FAR * np.linalg.norm(high - low) / max(np.linalg.norm(toward), 1e-9)
        self.server.scene.set_up_direction("+y")
        self.server.initial_camera.look_at = (low + high) / 2
        self.server.initial_camera.position = (low + high) / 2 + away * toward

    def show_frame(self, _: Any = None) -> None:
        """The model's own motion of the slider's frame; what was dragged is gone."""
        frame = int(self.frame.value)
        self.motion = np.asarray(self.asset.posed_from_rest[frame], float)
        self.vertices = self.asset.posed_vertices[frame]
        self.pick()

    def pick(self, _: Any = None) -> None:
        """Color what the bone of the menu moves, and put the gizmo at its joint."""
        bone = self.picked()
        self.gizmo.visible = bone is not None
        if bone is not None:
            self.held = gizmo_pose(self.motion[bone], self.skeleton.pivot[bone])
            xyzw = Rotation.from_matrix(self.held[:3, :3]).as_quat()
            self.gizmo.wxyz = np.roll(xyzw, 1)
            self.gizmo.position = self.held[:3, 3]
        self.draw()

    def drag(self, _: Any = None) -> None:
        """The gizmo was moved: its bone and all that hangs on it go along."""
        bone = self.picked()
        if bone is None:
            return
        now = _matrix(self.gizmo)
        along = hangs_on(np.asarray(self.skeleton.parent), bone)
        moved = now @ np.linalg.inv(self.held) @ self.motion
        self.motion = np.where(along[:, None, None], moved, self.motion)
        self.held, self.vertices = now, bent(self.asset, self.motion)
        self.draw()

    def draw(self) -> None:
        """Send the surface, lit as its file is: colors in linear light."""
        bone, color = self.picked(), np.clip(self.asset.colors, 0, 1)
        if bone is not None:
            share = _ACCENT_SHARE * self.asset.weights[:, bone, None]
            color = (1 - share) * color + share * _ACCENT
        mesh = trimesh.Trimesh(self.vertices, self.asset.faces, process=False)
        mesh.visual = _matte(color)
        self.server.scene.add_mesh_trimesh("/model", mesh).on_click(self.clicked)

    def clicked(self, event: Any) -> None:
        """Pick the bone that leads the surface under the pointer."""
        ray = np.array(event.ray_origin), np.array(event.ray_direction)
        bone = led_by(self.vertices, self.asset.weights, *ray)
        self.bone.value = bone_name(bone)
        self.pick()

    def write(self, _: Any = None) -> None:
        """Keep what is shown as a file for the job `pose`, beside those that are."""
        number = 0
        while (path := self.workdir / f"pose_{number:02d}.json").exists():
            number += 1
        write_pose(path, pose_of(self.skeleton, self.motion))
        say(f"kept {path}; --job=pose --pose={path} writes the model in this pose")

    def advance(self) -> None:
        """One frame on, where play is on."""
        if self.play.value:
            self.frame.value = (int(self.frame.value) + 1) % (self.last + 1)


def furnish(server: Any, asset: Asset, skeleton: Skeleton, workdir: Path) -> Any:
    """Put model, gizmo and controls on a page; returns what plays one frame on."""
    return _Page(server, asset, skeleton, workdir).advance


def _viser() -> Any:
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            "--job=view must have the package viser, got none; write pip install viser"
        ) from None
    return viser
