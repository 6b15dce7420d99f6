"""rig.json holds the rig that it was made from."""

import json

import numpy as np
from scipy.spatial.transform import Rotation

from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.rig_json import write_rig
from tests.run.capsule import make_asset


def test_numbers_come_back(tmp_path):
    asset = make_asset()
    skeleton = asset_skeleton(asset)
    error = {"mean_percent": 0.1, "max_percent": 0.2}
    data = json.loads(
        write_rig(asset, skeleton, error, tmp_path / "rig.json").read_text()
    )
    assert data["skinning_error"] == error and data["fps"] == 10
    names = [bone["name"] for bone in data["bones"]]
    assert (
        names[0] == "bone_00" and [b["parent"] for b in data["bones"]].count(None) == 1
    )
    rest = np.array([bone["rest_from_bone"] for bone in data["bones"]])
    assert np.allclose(rest, asset.rest_from_bone, atol=1e-5)
    motion = data["posed_from_rest"]
    turn = np.array(motion["rotation"])[..., [1, 2, 3, 0]].reshape(-1, 4)
    matrix = Rotation.from_quat(turn).as_matrix().reshape(5, 6, 3, 3)
    assert np.allclose(matrix, asset.posed_from_rest[..., :3, :3], atol=1e-5)
    assert np.allclose(
        motion["translation"], asset.posed_from_rest[..., :3, 3], atol=1e-5
    )


def test_connections_say_whether_the_tree_has_them():
    asset = make_asset()
    from adreamer_jax.run.rig_json import rig

    data = rig(asset, asset_skeleton(asset), {})
    assert sum(row["in_tree"] for row in data["connections"]) == 5
    assert all(0 <= row["strength"] <= 1 for row in data["connections"])
    assert np.allclose(data["strength"], np.transpose(data["strength"]))
