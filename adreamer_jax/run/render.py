"""Videos and pictures of a finished model, for a person.

What is compared with the input comes from the system's own renderer; what turns and
what shows parts comes from the exported mesh, so one sees what other tools will get.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adreamer_jax.run.bone_picture import bone_blobs, draw_bones
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.files import replacing
from adreamer_jax.run.mesh_picture import (
    carried,
    framed,
    mesh_pictures,
    part_colors,
    turned,
)
from adreamer_jax.run.video import write_video
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import (
    Asset,
    Camera,
    Clip,
    Float,
    Int,
    Picture,
    System,
    TrainState,
)

__all__ = ["camera_at", "normal_colors", "on_white", "render", "sheet", "side_by_side"]

_CLAY = 0.78  # gray of a surface shown without its colors
_TALL = 256  # pictures are enlarged to about this height, for people to look at


def camera_at(
    camera_from_object: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "4"],
    size: tuple[int, int],
) -> Camera:
    """One camera for the system's renderer."""
    values = jnp.asarray(intrinsics, jnp.float32)
    matrix = jnp.asarray(camera_from_object, jnp.float32)
    return Camera(matrix, focal=values[:2], center=values[2:], size=size)


def on_white(picture: Picture) -> Int[np.ndarray, "h w 3"]:
    """A rendered picture over white, in bytes."""
    color = np.asarray(picture.color) + 1 - np.asarray(picture.mask)[..., None]
    return np.round(255 * np.clip(color, 0, 1)).astype(np.uint8)


def normal_colors(picture: Picture) -> Int[np.ndarray, "h w 3"]:
    """Normals as colors over white: x right, y up, z toward the viewer."""
    mask = np.asarray(picture.mask)[..., None]
    normal = np.zeros(3) if picture.normal is None else np.asarray(picture.normal)
    color = 0.5 * mask + 0.5 * normal * [1, -1, -1] + 1 - mask
    return np.round(255 * np.clip(color, 0, 1)).astype(np.uint8)


def resized(
    picture: Int[np.ndarray, "h w 3"], size: tuple[int, int]
) -> Int[np.ndarray, "*size 3"]:
    """The picture at a size (height, width)."""
    grows = size[0] > picture.shape[0]
    how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    return cv2.resize(picture, size[::-1], interpolation=how)


def side_by_side(pictures: Sequence[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Pictures of one height in a row, with white between them."""
    bar = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, bar)]
    return np.concatenate(row[:-1], axis=1)


def sheet(
    rows: Sequence[Sequence[np.ndarray]], names: Sequence[str], titles: Sequence[str]
) -> Int[np.ndarray, "h w 3"]:
    """Rows of pictures of one size, with row names at the left and titles above."""
    height, width, _ = rows[0][0].shape
    font = ImageFont.load_default(15)
    left = int(max(font.getlength(name) for name in names)) + 16
    page = Image.new(
        "RGB", (left + len(titles) * (width + 6), 28 + len(rows) * (height + 6))
    )
    page.paste((255, 255, 255), (0, 0, *page.size))
    pen = ImageDraw.Draw(page)
    for column, title in enumerate(titles):
        place = (left + column * (width + 6) + width / 2, 14)
        pen.text(place, title, (60, 60, 60), font, anchor="mm")
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        top = 28 + i * (height + 6)
        pen.text((left - 8, top + height / 2), name, (60, 60, 60), font, anchor="rm")
        for j, picture in enumerate(row):
            page.paste(Image.fromarray(picture), (left + j * (width + 6), top))
    return np.asarray(page)


def zoom_to_body(asset: Asset, *, margin: float = 0.04) -> float:
    """What focal lengths are multiplied by, at most one, for the body to be seen whole.

    In all frames; ``margin`` stays free on each side, as a share of the picture. Every
    two hundredth vertex may lie outside, a speck beside the body.
    """
    size, zoom = np.array([asset.size[1], asset.size[0]]), 1.0
    for vertices, camera, values in zip(
        asset.posed_vertices, asset.camera_from_object, asset.intrinsics, strict=True
    ):
        local = carried(np.asarray(camera, np.float64), np.asarray(vertices))
        away = np.abs(local[:, :2] / local[:, 2:]) * np.asarray(values[:2])
        center = np.asarray(values[2:])
        room = np.minimum(center, size - center) - margin * size
        zoom = min(zoom, *(room / np.quantile(away, 0.995, axis=0)))
    return float(zoom)


def _save(picture: Int[np.ndarray, "h w 3"], path: Path) -> None:
    with replacing(path) as part:
        Image.fromarray(picture).save(part, optimize=True)


def _spread(count: int, number: int) -> list[int]:
    """Frames spread over a clip, without the ends that the model knows least."""
    inner = (np.arange(number) + 0.5) / number * count
    return sorted(set(np.floor(inner).astype(int).tolist()))


class _Stage:
    """What all pictures are made from; big intrinsics are for enlarged pictures."""

    def __init__(self, system, state, frozen, clip, asset, skeleton, *, whole=False):
        self.clip, self.asset, self.skeleton = clip, asset, skeleton
        self.intrinsics = np.array(asset.intrinsics, np.float64)
        if whole:
            self.intrinsics[:, :2] *= zoom_to_body(asset)
        self.look = lambda camera, frame: system.render(state, frozen, camera, frame)
        self.center = (asset.vertices.min(0) + asset.vertices.max(0)).astype(float) / 2
        factor = max(1, round(_TALL / asset.size[0]))
        self.big = (asset.size[0] * factor, asset.size[1] * factor)
        self.scale = factor
        self.blobs = bone_blobs(asset)

    def view(self, frame: int, *, side: int) -> Picture:
        """The system's render with at most ``side`` pixels along its longer side."""
        asset = self.asset
        share = min(1.0, side / max(asset.size))
        size = (round(asset.size[0] * share), round(asset.size[1] * share))
        zoom = np.array([size[1] / asset.size[1], size[0] / asset.size[0]] * 2)
        matrix, intrinsics = asset.camera_from_object[frame], self.intrinsics[frame]
        return self.look(camera_at(matrix, intrinsics * zoom, size), float(frame))

    def around(self, frame: int, angles: np.ndarray, *, side: int) -> list[Picture]:
        """Square renders of one moment, the whole body in each, from turned cameras."""
        body = np.asarray(self.asset.posed_vertices[frame], np.float64)
        start, size = self.asset.camera_from_object[frame], (side, side)
        camera, intrinsics = framed(start, body, size)
        center = (body.min(0) + body.max(0)) / 2
        cameras = [turned(camera, angle, center) for angle in angles]
        return [
            self.look(camera_at(matrix, intrinsics, size), float(frame))
            for matrix in cameras
        ]

    def mesh(self, vertices, colors, view, size) -> list[np.ndarray]:
        camera, intrinsics = view
        local = carried(camera, np.asarray(vertices, np.float64))
        return mesh_pictures(local, self.asset.faces, colors, intrinsics, size)


def render(
    system: System,
    state: TrainState,
    frozen: Any,
    clip: Clip,
    workdir: Path,
    *,
    asset: Asset | None = None,
    skeleton: Skeleton | None = None,
    kept: Skeleton | None = None,
    video_side: int = 128,
    picture_side: int = 192,
    label: str = "",
    whole: bool = False,
) -> None:
    """Write videos/*.mp4 and the final pictures/*.png.

    An asset and a skeleton already at hand (from ``export``) save their making. The
    system renders at most so many pixels along a side: its renders take the time.
    Where ``whole``, the clip's camera is given a wider lens if the body would be cut: a
    creature may be larger than the animal that was filmed.
    ``kept`` is as of `asset_skeleton`; ``label`` stands before all names, so that two
    stages of one run do not meet.
    """
    asset = system.asset(state, frozen) if asset is None else asset
    skeleton = asset_skeleton(asset, kept) if skeleton is None else skeleton
    stage = _Stage(system, state, frozen, clip, asset, skeleton, whole=whole)
    videos, pictures = Path(workdir) / "videos", Path(workdir) / "pictures"
    count = len(asset.posed_vertices)
    views = [stage.view(frame, side=video_side) for frame in range(count)]
    at = lambda name: videos / f"{label}{name}.mp4"
    write_video(_reconstruction(stage, views), at("reconstruction"), asset.fps)
    write_video(_turntable(stage), at("turntable"), 24.0)
    write_video(_reanimated(stage), at("reanimated"), asset.fps)
    for name, picture in _pictures(stage, picture_side).items():
        _save(picture, pictures / f"{label}{name}.png")


def _reconstruction(stage: _Stage, views: list[Picture]) -> Int[np.ndarray, "t h w 3"]:
    rows = []
    for image, view in zip(stage.clip.images, views, strict=True):
        row = (image, on_white(view), normal_colors(view))
        rows.append(side_by_side([resized(part, stage.big) for part in row]))
    return np.stack(rows)


def _turntable(stage: _Stage, *, count: int = 72) -> Int[np.ndarray, "t h w 3"]:
    # The rest pose, once around: its colors, and which bone moves what.
    asset, size = stage.asset, (_TALL, _TALL)
    start = _typical_camera(asset.camera_from_object)
    camera, intrinsics = framed(start, asset.vertices.astype(float), size)
    looks = (asset.colors, part_colors(asset.weights))
    frames = []
    for angle in np.arange(count) * 2 * np.pi / count:
        view = turned(camera, angle, stage.center), intrinsics
        frames.append(side_by_side(stage.mesh(asset.vertices, looks, view, size)))
    return np.stack(frames)


def _reanimated(stage: _Stage) -> Int[np.ndarray, "t h w 3"]:
    # A fixed camera opposite to where the clip was filmed from, on average.
    asset, size = stage.asset, (_TALL, _TALL)
    start = turned(_typical_camera(asset.camera_from_object), np.pi, stage.center)
    everywhere = np.asarray(asset.posed_vertices, np.float64).reshape(-1, 3)
    view = framed(start, everywhere, size)
    looks = (asset.colors, np.full_like(asset.colors, _CLAY))
    frames = [stage.mesh(v, looks, view, size) for v in asset.posed_vertices]
    return np.stack([side_by_side(row) for row in frames])


def _typical_camera(camera_from_object: Float[np.ndarray, "t 4 4"]) -> np.ndarray:
    """The clip's camera that differs least from all others."""
    turn = np.asarray(camera_from_object)[:, :3, :3].reshape(-1, 9)
    apart = np.linalg.norm(turn[:, None] - turn[None], axis=-1).sum(1)
    return np.asarray(camera_from_object[int(np.argmin(apart))], np.float64)


def _pictures(stage: _Stage, side: int) -> dict[str, np.ndarray]:
    frames = _spread(len(stage.asset.posed_vertices), 5)
    titles = [f"frame {frame}" for frame in frames]
    views = [stage.view(frame, side=side) for frame in frames]
    inputs = [resized(stage.clip.images[frame], stage.big) for frame in frames]
    renders = [resized(on_white(view), stage.big) for view in views]
    normals = [resized(normal_colors(view), stage.big) for view in views]
    return {
        "input_vs_render": sheet([inputs, renders], ("input", "render"), titles),
        "normals": sheet([normals], ("normals",), titles),
        "novel_views": _novel_views(stage, frames[1::2] or frames, side),
        "bones": sheet([_bones(stage, frames, inputs)], ("bones",), titles),
        "skeleton": _skeleton(stage),
        "skinning": _skinning(stage, frames),
    }


def _novel_views(stage: _Stage, frames: list[int], side: int) -> np.ndarray:
    angles, rows = (0, 90, 180, 270), []
    for frame in frames:
        views = stage.around(frame, np.radians(angles), side=side)
        for paint in (on_white, normal_colors):
            rows.append([resized(paint(view), (_TALL, _TALL)) for view in views])
    names = [name for frame in frames for name in (f"frame {frame}", "normals")]
    titles = ["filmed side"] + [f"turned by {angle}°" for angle in angles[1:]]
    return sheet(rows, names, titles)


def _bones(stage: _Stage, frames: list[int], inputs: list[np.ndarray]) -> list:
    faded = [cv2.addWeighted(p, 0.6, np.full_like(p, 255), 0.4, 0) for p in inputs]
    return [
        draw_bones(
            picture,
            stage.asset,
            stage.skeleton,
            stage.blobs,
            np.asarray(stage.asset.camera_from_object[frame], np.float64),
            stage.intrinsics[frame] * stage.scale,
            frame,
        )
        for frame, picture in zip(frames, faded, strict=True)
    ]


def _skeleton(stage: _Stage) -> np.ndarray:
    """The skeleton in the resting body of pale clay, from four sides."""
    asset, size, row = stage.asset, (_TALL, _TALL), []
    still = np.broadcast_to(np.eye(4), (1, len(asset.rest_from_bone), 4, 4))
    resting = dataclasses.replace(asset, posed_from_rest=still)
    start = _typical_camera(asset.camera_from_object)
    camera, intrinsics = framed(start, asset.vertices.astype(float), size)
    clay, angles = np.full_like(asset.colors, 0.92), (0, 90, 180, 270)
    for angle in angles:
        matrix = turned(camera, np.radians(angle), stage.center)
        (body,) = stage.mesh(asset.vertices, [clay], (matrix, intrinsics), size)
        view = stage.skeleton, stage.blobs, matrix, intrinsics, 0
        row.append(draw_bones(body, resting, *view))
    return sheet([row], ("rest pose",), [f"turned by {angle}°" for angle in angles])


def _skinning(stage: _Stage, frames: list[int]) -> np.ndarray:
    asset, parts, rows = stage.asset, [part_colors(stage.asset.weights)], []
    for angle in (0.0, np.pi):
        row = []
        for frame in frames:
            camera = turned(asset.camera_from_object[frame], angle, stage.center)
            view = camera, stage.intrinsics[frame] * stage.scale
            row += stage.mesh(asset.posed_vertices[frame], parts, view, stage.big)
        rows.append(row)
    return sheet(rows, ("filmed side", "other side"), [f"frame {f}" for f in frames])
