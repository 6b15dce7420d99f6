"""The .glb read back by an independent reader, posed, and held against the rules."""

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.run import gltf
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.joints import linear_blend, top_weights
from tests.run.capsule import make_asset

ROOT = Path(__file__).parents[2]
VALIDATOR = Path(os.environ.get("GLTF_VALIDATOR", ROOT / "node_modules/gltf-validator"))
DTYPES = {5126: "<f4", 5121: "u1", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    asset = make_asset()
    path = tmp_path_factory.mktemp("glb") / "model.glb"
    error = gltf.write_gltf(asset, asset_skeleton(asset), path)
    return asset, path, error, *read_glb(path)


def read_glb(path):
    raw = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", raw)
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    size, kind = struct.unpack_from("<I4s", raw, 12)
    assert kind == b"JSON" and size % 4 == 0
    document = json.loads(raw[20 : 20 + size])
    data_size, kind = struct.unpack_from("<I4s", raw, 20 + size)
    assert kind == b"BIN\0" and data_size == document["buffers"][0]["byteLength"]
    return document, raw[28 + size :]


def values(document, data, index):
    accessor = document["accessors"][index]
    start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    width = WIDTHS[accessor["type"]]
    kind = DTYPES[accessor["componentType"]]
    flat = np.frombuffer(data, kind, accessor["count"] * width, start)
    return flat.reshape(accessor["count"], width) if width > 1 else flat


def played(document, data, key):
    """World matrices of all nodes at one key of the animation."""
    local = [np.eye(4) for _ in document["nodes"]]
    for matrix, node in zip(local, document["nodes"], strict=True):
        matrix[:3, 3] = node.get("translation", [0, 0, 0])
    animation = document["animations"][0]
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        value = values(document, data, sampler["output"])[key]
        matrix = local[channel["target"]["node"]]
        if channel["target"]["path"] == "translation":
            matrix[:3, 3] = value
        else:
            matrix[:3, :3] = Rotation.from_quat(value).as_matrix()
    world = [None] * len(local)

    def visit(index, above):
        world[index] = above @ local[index]
        for child in document["nodes"][index].get("children", []):
            visit(child, world[index])

    for top in document["scenes"][0]["nodes"]:
        visit(top, np.eye(4))
    return np.stack(world)


def posed(document, data, key):
    """Vertices at one key by linear blend skinning, from the file alone."""
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    skin = document["skins"][0]
    bind = values(document, data, skin["inverseBindMatrices"]).reshape(-1, 4, 4)
    motion = played(document, data, key)[skin["joints"]] @ bind.transpose(0, 2, 1)
    return linear_blend(
        values(document, data, attributes["POSITION"]).astype(float),
        values(document, data, attributes["JOINTS_0"]).astype(int),
        values(document, data, attributes["WEIGHTS_0"]).astype(float),
        motion,
    )


def test_file_plays_the_bones_motion(written):
    asset, _, error, document, data = written
    index, weights = top_weights(asset.weights)
    side = np.ptp(asset.vertices, axis=0).max()
    worst = 0.0
    for key, motion in enumerate(asset.posed_from_rest):
        moved = posed(document, data, key)
        expected = linear_blend(asset.vertices, index, weights, motion)
        assert np.abs(moved - expected).max() < 1e-6
        worst = max(
            worst, np.linalg.norm(moved - asset.posed_vertices[key], axis=1).max()
        )
    assert np.isclose(100 * worst / side, error["max_percent"], atol=1e-4)
    assert error["mean_percent"] < error["max_percent"] < 0.5


def test_rest_pose_without_animation_is_the_rest_mesh(written):
    asset, _, _, document, data = written
    still = {**document, "animations": [{"channels": [], "samplers": []}]}
    assert np.abs(posed(still, data, 0) - asset.vertices).max() < 1e-6


def test_structure_follows_the_rules(written):
    _, _, _, document, data = written
    nodes, skin = document["nodes"], document["skins"][0]
    root, mesh = document["scenes"][0]["nodes"]
    assert skin["skeleton"] == root and nodes[mesh]["skin"] == 0
    for index in (root, mesh):
        assert not {"translation", "rotation", "scale", "matrix"} & set(nodes[index])
    assert not any({"scale", "matrix"} & set(node) for node in nodes)
    parents = [child for node in nodes for child in node.get("children", [])]
    assert sorted(parents) == sorted(skin["joints"])  # one parent each: a tree
    assert len(nodes[root]["children"]) == 1
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(data)
    position = document["accessors"][0]
    vertices = values(document, data, 0)
    assert np.array_equal(position["min"], vertices.min(0))
    assert np.array_equal(position["max"], vertices.max(0))


def test_attributes_follow_the_rules(written):
    asset, _, _, document, data = written
    primitive = document["meshes"][0]["primitives"][0]
    named = {k: values(document, data, v) for k, v in primitive["attributes"].items()}
    joints, weights = named["JOINTS_0"], named["WEIGHTS_0"]
    assert np.abs(weights.astype(float).sum(1) - 1).max() < 2e-7 * 4
    assert (joints[weights == 0] == 0).all() and joints.max() < len(
        document["skins"][0]["joints"]
    )
    assert np.abs(np.linalg.norm(named["NORMAL"], axis=1) - 1).max() < 1e-5
    linear = named["COLOR_0"][:, :3] / 65535
    srgb = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    assert (
        np.abs(srgb - asset.colors).max() < 1e-3
        and (named["COLOR_0"][:, 3] == 65535).all()
    )
    triangles = values(document, data, primitive["indices"]).reshape(-1, 3)
    assert np.array_equal(triangles, asset.faces)
    a, b, c = (named["POSITION"][triangles[:, i]].astype(float) for i in range(3))
    assert np.sum(np.cross(a, b) * c) > 0  # encloses a positive volume: faces outward
    outward = np.sum(np.cross(b - a, c - a) * named["NORMAL"][triangles].mean(1), -1)
    assert (outward > 0).all()


def test_animation_runs_at_the_clips_speed(written):
    asset, _, _, document, data = written
    animation = document["animations"][0]
    times = values(document, data, animation["samplers"][0]["input"])
    assert np.allclose(times, np.arange(5) / asset.fps)
    assert len(animation["channels"]) == 2 * len(document["skins"][0]["joints"])
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        keys = values(document, data, sampler["output"]).astype(float)
        if channel["target"]["path"] == "rotation":
            assert np.abs(np.linalg.norm(keys, axis=1) - 1).max() < 1e-6
            assert (np.sum(keys[1:] * keys[:-1], 1) > 0).all()


def test_too_many_bones_are_refused(written):
    asset = written[0]
    tree = gltf.joint_tree(asset, asset_skeleton(asset))
    with pytest.raises(ValueError, match="at most 256"):
        gltf.pack_glb(asset, tree._replace(bones=np.zeros(300, int)))


@pytest.mark.skipif(
    not (shutil.which("node") and VALIDATOR.is_dir()), reason="needs gltf-validator"
)
def test_khronos_validator_has_no_complaint(written):
    """The official validator, where it is installed (tools/validate_gltf.sh)."""
    done = subprocess.run(
        ["bash", ROOT / "tools/validate_gltf.sh", written[1]],
        env={**os.environ, "GLTF_VALIDATOR": str(VALIDATOR)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
