"""An asset as one binary glTF file: skinned, animated and colored.

One skin whose joints form a tree; joints move by translation and unit quaternion only;
four weights a vertex; colors linear as glTF wants them; the clip's motion as one
animation with a key per frame. Nothing but struct and json is needed to write it.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from adreamer_jax.core.shape import vertex_normals
from adreamer_jax.run.files import write_bytes
from adreamer_jax.run.joints import (
    JointTree,
    bone_name,
    joint_tree,
    skinning_error,
    top_weights,
)
from adreamer_jax.scene.skeleton import Skeleton
from adreamer_jax.types import Asset, Float

__all__ = ["linear_from_srgb", "pack_glb", "write_gltf"]

_FLOAT, _BYTE, _SHORT, _INT = 5126, 5121, 5123, 5125  # glTF's names for number types
_ATTRIBUTE, _INDEX = 34962, 34963  # and for what a buffer holds


def linear_from_srgb(color: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3"]:
    """Linear light of sRGB values (IEC 61966-2-1)."""
    color = np.clip(color, 0.0, 1.0)
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


class _Document:
    """The JSON part and the bytes of a file while they grow together."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add(self, array: np.ndarray, kind: int, shape: str, **extra: Any) -> int:
        """Index of a new accessor that holds the array."""
        target, bounds = extra.pop("target", None), extra.pop("bounds", False)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += array.tobytes() + b"\0" * (-array.nbytes % 4)
        accessor = {
            "bufferView": len(self.views) - 1,
            "componentType": kind,
            "count": len(array),
            "type": shape,
        } | extra
        if bounds:
            flat = array.reshape(len(array), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _primitive(asset: Asset, tree: JointTree, out: _Document) -> dict:
    index, weights = top_weights(asset.weights[:, tree.bones])
    faces = np.asarray(asset.faces)
    whole = (faces != np.roll(faces, 1, axis=1)).all(1)  # a triangle has three corners
    floats = {"kind": _FLOAT, "shape": "VEC3", "target": _ATTRIBUTE}
    normals = vertex_normals(asset.vertices, faces)
    color = np.ones((len(asset.vertices), 4))
    color[:, :3] = linear_from_srgb(asset.colors)
    attributes = {
        "POSITION": out.add(asset.vertices.astype("<f4"), bounds=True, **floats),
        "NORMAL": out.add(normals.astype("<f4"), **floats),
        # sixteen bits: linear light in eight would band in the shadows
        "COLOR_0": out.add(
            np.round(65535 * color).astype("<u2"),
            _SHORT,
            "VEC4",
            target=_ATTRIBUTE,
            normalized=True,
        ),
        "JOINTS_0": out.add(index.astype("u1"), _BYTE, "VEC4", target=_ATTRIBUTE),
        "WEIGHTS_0": out.add(weights.astype("<f4"), _FLOAT, "VEC4", target=_ATTRIBUTE),
    }
    corners = faces[whole].reshape(-1).astype("<u4")
    return {
        "attributes": attributes,
        "indices": out.add(corners, _INT, "SCALAR", target=_INDEX),
        "material": 0,
    }


def _animation(asset: Asset, tree: JointTree, first: int, out: _Document) -> dict:
    times = np.arange(len(tree.rotation)) / asset.fps
    clock = out.add(times.astype("<f4"), _FLOAT, "SCALAR", bounds=True)
    channels, samplers = [], []
    for joint in range(len(tree.bones)):
        turn = tree.rotation[:, joint][:, [1, 2, 3, 0]].astype("<f4")
        shift = tree.translation[:, joint].astype("<f4")
        for path, values in (("rotation", turn), ("translation", shift)):
            keys = out.add(values, _FLOAT, f"VEC{values.shape[1]}")
            target = {"node": first + joint, "path": path}
            channels.append({"sampler": len(samplers), "target": target})
            samplers.append({"input": clock, "output": keys, "interpolation": "LINEAR"})
    return {"name": "clip", "channels": channels, "samplers": samplers}


def _nodes(asset: Asset, tree: JointTree) -> list[dict]:
    # Node 0 is the root without transform, node 1 the mesh, then the joints.
    top = [2 + i for i in np.flatnonzero(tree.parent < 0).tolist()]
    nodes: list[dict] = [
        {"name": asset.name, "children": top},
        {"name": f"{asset.name} surface", "mesh": 0, "skin": 0},
    ]
    for joint, bone in enumerate(tree.bones):
        below = [2 + i for i in np.flatnonzero(tree.parent == joint).tolist()]
        node = {"name": bone_name(bone), "translation": tree.offset[joint].tolist()}
        nodes.append(node | ({"children": below} if below else {}))
    return nodes


def pack_glb(asset: Asset, tree: JointTree) -> bytes:
    """The bytes of a .glb file of an asset whose bones move as a joint tree."""
    if len(tree.bones) > 256:
        raise ValueError(
            f"bones must be at most 256, got {len(tree.bones)}; lower scene.bones.count"
        )
    out = _Document()
    primitive = _primitive(asset, tree, out)
    inverse = np.tile(np.eye(4), (len(tree.bones), 1, 1))
    inverse[:, :3, 3] = -tree.place
    bind = out.add(inverse.transpose(0, 2, 1).astype("<f4"), _FLOAT, "MAT4")
    joints = [2 + i for i in range(len(tree.bones))]
    animation = _animation(asset, tree, 2, out)
    matte = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    document = {
        "asset": {"version": "2.0", "generator": "adreamer_jax"},
        "scene": 0,
        "scenes": [{"name": asset.name, "nodes": [0, 1]}],
        "nodes": _nodes(asset, tree),
        "meshes": [{"name": asset.name, "primitives": [primitive]}],
        "materials": [{"name": "vertex colors", "pbrMetallicRoughness": matte}],
        "skins": [{"inverseBindMatrices": bind, "joints": joints, "skeleton": 0}],
        "animations": [animation],
        "accessors": out.accessors,
        "bufferViews": out.views,
        "buffers": [{"byteLength": len(out.data)}],
    }
    return _chunks(
        json.dumps(document, separators=(",", ":")).encode(), bytes(out.data)
    )


def _chunks(text: bytes, data: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(data))
    first = struct.pack("<I4s", len(text), b"JSON") + text
    return head + first + struct.pack("<I4s", len(data), b"BIN\0") + data


def write_gltf(asset: Asset, skeleton: Skeleton, path: Path) -> dict[str, float]:
    """Skinning error of the .glb file now at ``path``, in % of the rest box's side.

    Players use four weights and blend linearly; the error (mean_percent, max_percent)
    is against the model's own posed vertices over all frames.
    """
    tree = joint_tree(asset, skeleton)
    write_bytes(Path(path), pack_glb(asset, tree))
    return skinning_error(asset, tree)
