"""Measure how well a generated model shows its prompt: evaluation.json, "generate".

The model is drawn in its whole motion from four sides, and its exported mesh at rest
from all around. A CLIP judges the pictures: the embedded one, which knows the zoo's
words only, or the one that ``generate.judge.name`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import trimesh

from adreamer_jax.core.camera import orbit
from adreamer_jax.core.rigid import from_matrix
from adreamer_jax.core.shape import mesh_edges
from adreamer_jax.core.zbuffer import face_map
from adreamer_jax.run.evaluate import write_evaluation
from adreamer_jax.run.mesh_picture import carried, mesh_pictures
from adreamer_jax.run.progress import say
from adreamer_jax.run.score import mask_iou
from adreamer_jax.run.text_score import embedded_judge, load_judge, scores
from adreamer_jax.scene.skeleton import Skeleton, strain
from adreamer_jax.types import (
    Asset,
    Bool,
    Camera,
    Float,
    Int,
    Params,
    System,
    TrainState,
)

__all__ = [
    "cameras_of",
    "evaluate_text",
    "frames_of",
    "joint_strain",
    "pictures_of",
    "pitted_percent",
    "rest_pictures",
    "torn_percent",
]

_FOV, _ELEVATION = 0.7, 0.25  # radians
_FILL = 0.97  # of the picture's height
_GRAY = 0.5  # behind the object, as in all pictures that the embedded judge has seen


def cameras_of(
    vertices: Float[np.ndarray, "n 3"], azimuths: Iterable[float], *, side: int
) -> list[Camera]:
    """Cameras around all vertices, which fill the picture, at the given azimuths.

    The ball about the middle of their box fills it: so large the judge knows animals.
    """
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    radius = float(np.linalg.norm(vertices - middle, axis=1).max())
    distance = radius / np.sin(0.5 * _FOV) / _FILL
    target = jnp.asarray(middle, jnp.float32)
    values = [
        tuple(map(jnp.float32, (azimuth, _ELEVATION, distance, _FOV)))
        for azimuth in azimuths
    ]
    return [orbit(*value, size=(side, side), target=target) for value in values]


def frames_of(count: int, most: int) -> list[int]:
    """At most so many frames, spread over the whole motion."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def pictures_of(
    system: System,
    state: TrainState,
    frozen: Params,
    asset: Asset,
    *,
    side: int,
    most: int,
) -> tuple[dict[str, Float[np.ndarray, "t h w 3"]], float]:
    """The motion from four sides, one video each, over gray; the moved mesh's mask IoU.

    The mesh that is exported ought to have the outlines that the renders have.
    """
    videos, agreement = {}, []
    frames = frames_of(len(asset.posed_vertices), most)
    around = np.pi * (0.25 + 0.5 * np.arange(4))
    everywhere = np.asarray(asset.posed_vertices).reshape(-1, 3)
    for i, camera in enumerate(cameras_of(everywhere, around, side=side)):
        row = [system.render(state, frozen, camera, float(f)) for f in frames]
        filled = [p.color + _GRAY * (1.0 - np.asarray(p.mask)[..., None]) for p in row]
        videos[f"side {i}"] = np.clip(np.stack(filled), 0.0, 1.0).astype(np.float32)
        for frame, picture in zip(frames, row, strict=True):
            outline = outline_of(asset.posed_vertices[frame], asset.faces, camera)
            agreement.append(mask_iou(outline, np.asarray(picture.mask) > 0.5))
    return videos, float(np.mean(agreement))


def outline_of(
    vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"], camera: Camera
) -> Bool[np.ndarray, "h w"]:
    """The pixels that a mesh in object space covers."""
    local, values = _seen_by(camera, vertices)
    return face_map(local, faces, values, camera.size).face >= 0


def _seen_by(
    camera: Camera, vertices: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "4"]]:
    """Vertices in the camera's space, and its intrinsics."""
    turn = np.asarray(camera.camera_from_object, np.float64)
    values = np.concatenate([camera.focal, camera.center]).astype(float)
    return carried(turn, np.asarray(vertices, np.float64)), values


def rest_pictures(
    asset: Asset, *, side: int, count: int = 8
) -> Float[np.ndarray, "count h w 3"]:
    """The rest mesh in its colors from all around, over gray."""
    around = 2.0 * np.pi * np.arange(count) / count
    pictures = []
    for camera in cameras_of(asset.vertices, around, side=side):
        local, values = _seen_by(camera, asset.vertices)
        size, colors = (side, side), [asset.colors]
        pictures += mesh_pictures(
            local, asset.faces, colors, values, size, background=_GRAY
        )
    return np.stack(pictures).astype(np.float32) / 255.0


def joint_strain(asset: Asset, skeleton: Skeleton) -> dict[str, float]:
    """How far the asset's motion goes beyond the joints' limits (`strain`)."""
    rest, motion = (
        from_matrix(jnp.asarray(matrix, jnp.float32))
        for matrix in (asset.rest_from_bone, asset.posed_from_rest)
    )
    return strain(skeleton, rest, motion)


def torn_percent(asset: Asset, *, most: float = 1.5) -> float:
    """How much of the mesh, by length of edges, is pulled beyond ``most`` times itself.

    Mean over all moments. Skin over a knee comes to some; more of it are bridges
    between limbs that part.
    """
    a, b = mesh_edges(asset.faces).T
    length = lambda v: np.linalg.norm(v[a] - v[b], axis=-1)
    rest = length(asset.vertices)
    torn = [np.sum(rest[length(v) > most * rest]) for v in asset.posed_vertices]
    return float(100.0 * np.mean(torn) / np.maximum(np.sum(rest), 1e-12))


def pitted_percent(asset: Asset, *, least: float = 20.0) -> float:
    """How much of the rest mesh, by length of edges, folds inward by ``least`` degrees.

    Where a leg meets the body it ought to; more of it are pits and rags, which cameras
    that look from the side do not see.
    """
    mesh = trimesh.Trimesh(asset.vertices, asset.faces, process=False)
    ends = mesh.vertices[mesh.face_adjacency_edges]
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1)
    inward = ~mesh.face_adjacency_convex
    folded = inward & (mesh.face_adjacency_angles > np.radians(least))
    return float(100.0 * np.sum(length[folded]) / np.maximum(np.sum(length), 1e-12))


def evaluate_text(
    system: System,
    state: TrainState,
    frozen: Params,
    workdir: str | Path,
    *,
    prompt: str,
    among: Sequence[str] = (),
    judge: str = "",
    skeleton: Skeleton | None = None,
    side: int = 64,
    most: int = 12,
) -> dict[str, Any] | None:
    """The figures of a prompt's model, also written to evaluation.json.

    ``skeleton`` is the extracted one, whose limits the motion is held against. None
    where no judge is at hand: nothing is written then.
    """
    if not judge and not (embedded_judge() / "config.json").is_file():
        say("no judge is at hand: generate.judge names the folder of a CLIP")
        return None
    asset = system.asset(state, frozen)
    videos, agreement = pictures_of(system, state, frozen, asset, side=side, most=most)
    clip = load_judge(judge, pins=Path(workdir) / "prior.json", tell=say)
    figures = [scores(clip, {prompt: video}, among=among) for video in videos.values()]
    numbers = [k for k, v in figures[0].items() if isinstance(v, float)]
    out = figures[0] | {k: float(np.mean([f[k] for f in figures])) for k in numbers}
    rest = scores(clip, {prompt: rest_pictures(asset, side=side)}, among=among)
    del rest["clip_t"]  # of frames of a video alone
    shown = len(next(iter(videos.values())))
    out = {"prompt": prompt, "sides": len(videos), "frames": shown} | out
    out |= {"mesh_iou": agreement, "torn_percent": torn_percent(asset)}
    out["pitted_percent"] = pitted_percent(asset)
    if skeleton is not None:
        out |= {"joints": joint_strain(asset, skeleton)}
    out |= {"rest": {k: v for k, v in rest.items() if isinstance(v, float)}}
    write_evaluation(Path(workdir), out, stage="generate")
    say(", ".join(f"{k} {out[k]:.1f}" for k in numbers))
    return out
