"""A bent capsule with six bones that wags: the smallest animal with a rig."""

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.core import zbuffer
from adreamer_jax.types import Asset, Clip, Picture, System

SIZE = (48, 57)


def capsule(rings: int = 24, sides: int = 16):
    along = np.linspace(-1, 1, rings)
    radius = 0.22 * np.sqrt(np.maximum(1 - along**6, 0.0))
    around = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    spine = np.stack([0.8 * along, 0.25 * along**2 - 0.1, np.zeros(rings)], -1)
    circle = np.stack([np.zeros(sides), np.cos(around), np.sin(around)], -1)
    vertices = spine[1:-1, None] + radius[1:-1, None, None] * circle
    vertices = np.concatenate([vertices.reshape(-1, 3), spine[[0, -1]]])
    ring = np.arange(rings - 2)[:-1, None] * sides
    here, there = np.arange(sides), np.roll(np.arange(sides), -1)
    a, b = ring + here, ring + there
    quads = np.stack([a, b, b + sides, a, b + sides, a + sides], -1).reshape(-1, 3)
    tail, head, last = len(vertices) - 2, len(vertices) - 1, (rings - 3) * sides
    caps = [
        np.stack([np.full(sides, tail), there, here], -1),
        np.stack([np.full(sides, head), last + here, last + there], -1),
    ]
    return vertices, np.concatenate([quads, *caps])


def make_asset(frames: int = 5, bones: int = 6, rings: int = 24) -> Asset:
    vertices, faces = capsule(rings)
    place = np.linspace(-0.8, 0.8, bones)
    centers = np.stack([place, 0.25 * (place / 0.8) ** 2 - 0.1, 0 * place], -1)
    rest_from_bone = np.tile(np.eye(4), (bones, 1, 1))
    rest_from_bone[:, :3, 3] = centers
    turn = Rotation.from_rotvec(np.random.default_rng(3).normal(size=(bones, 3)))
    rest_from_bone[:, :3, :3] = turn.as_matrix()
    square = ((vertices[:, None] - centers) ** 2).sum(-1)
    weights = np.exp(-square / 0.06)
    weights /= weights.sum(1, keepdims=True)
    posed_from_rest = np.stack([_wag(centers, t / frames) for t in range(frames)])
    moved = np.einsum("tbij,nj->tnbi", posed_from_rest[..., :3, :3], vertices)
    moved += posed_from_rest[:, None, :, :3, 3]
    colors = 0.5 + 0.45 * np.sin(np.stack([9 * vertices[:, 0], 5 * vertices[:, 1]], -1))
    camera = np.diag([1.0, -1.0, -1.0, 1.0])
    camera[2, 3] = 3.0
    return Asset(
        name="capsule",
        vertices=vertices.astype(np.float32),
        faces=faces,
        colors=np.concatenate([colors, 0.2 + 0 * colors[:, :1]], 1).astype(np.float32),
        weights=weights.astype(np.float32),
        features=None,
        rest_from_bone=rest_from_bone,
        posed_from_rest=posed_from_rest,
        posed_vertices=np.einsum("nb,tnbi->tni", weights, moved).astype(np.float32),
        camera_from_object=np.tile(camera, (frames, 1, 1)),
        intrinsics=np.tile([90.0, 90.0, SIZE[1] / 2, SIZE[0] / 2], (frames, 1)),
        size=SIZE,
        fps=10.0,
    )


def _wag(centers, time):
    # Each bone turns about the previous joint: a chain, so joints stay together.
    motion, chain = np.tile(np.eye(4), (len(centers), 1, 1)), np.eye(4)
    for bone in range(1, len(centers)):
        angle = 0.25 * np.sin(2 * np.pi * time + 0.5 * bone)
        pivot = (centers[bone] + centers[bone - 1]) / 2
        step = np.eye(4)
        step[:3, :3] = Rotation.from_rotvec([0.3 * angle, angle, 0.2]).as_matrix()
        step[:3, 3] = pivot - step[:3, :3] @ pivot
        chain = chain @ step
        motion[bone] = chain
    return motion


def make_clip(asset: Asset) -> Clip:
    frames = len(asset.posed_vertices)
    color = np.zeros((frames, *asset.size, 3), np.uint8)
    masks = np.zeros((frames, *asset.size), bool)
    for frame in range(frames):
        picture = look(asset, asset.camera_from_object[frame], frame)
        color[frame] = np.round(255 * (picture.color + 1 - picture.mask[..., None]))
        masks[frame] = picture.mask > 0.5
    return Clip(
        name="capsule",
        fps=asset.fps,
        prompt="a capsule",
        images=color,
        masks=masks,
        camera_from_object=asset.camera_from_object,
        intrinsics=asset.intrinsics[0],
        cameras="exact",
    )


def look(asset: Asset, camera_from_object, frame: int, size=None) -> Picture:
    size = size or asset.size
    local = asset.posed_vertices[frame] @ camera_from_object[:3, :3].T
    local = local + camera_from_object[:3, 3]
    intrinsics = (
        asset.intrinsics[0]
        * np.array([size[1], size[0]] * 2)
        / (np.array([asset.size[1], asset.size[0]] * 2))
    )
    seen = zbuffer.face_map(local, asset.faces, intrinsics, size)
    mask = (seen.face >= 0).astype(np.float32)
    color = asset.colors[asset.faces[seen.face, 0]] * mask[..., None]
    depth = np.where(mask > 0, zbuffer.depth_map(seen), 0.0).astype(np.float32)
    normal = np.zeros((*size, 3), np.float32) - [0, 0, 1.0]
    return Picture(color=color, mask=mask, depth=depth, normal=normal * mask[..., None])


def make_system(asset: Asset) -> System:
    def render(state, frozen, camera, frame):
        matrix = np.asarray(camera.camera_from_object)
        return look(asset, matrix, round(float(frame)), camera.size)

    def surface(state, frozen, frame):
        camera = asset.camera_from_object[frame]
        local = asset.posed_vertices[frame] @ camera[:3, :3].T + camera[:3, 3]
        return local, asset.faces

    return System(
        init=None,
        sample=None,
        step=None,
        maintain=None,
        render=render,
        preview=None,
        asset=lambda state, frozen: asset,
        surface=surface,
        num_steps=1,
    )
