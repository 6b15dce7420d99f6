"""Poses set by hand: none is the rest pose, and what hangs on a bone goes with it."""

import json

import numpy as np
import pytest

from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.hand_pose import (
    hand_pose,
    pose_asset,
    pose_of,
    posed_from_rest,
    read_pose,
    write_pose,
)
from tests.run.capsule import make_asset


@pytest.fixture(scope="module")
def body():
    asset = make_asset()
    return asset, asset_skeleton(asset)


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def below(parent, bone):
    """The bone and all that hang on it."""
    out = {bone}
    for _ in parent:
        out |= {i for i, above in enumerate(parent) if above in out}
    return sorted(out)


def test_no_change_is_the_rest_pose(body):
    asset, skeleton = body
    posed = pose_asset(asset, skeleton, np.zeros((6, 6)))
    np.testing.assert_array_equal(
        posed.posed_from_rest[0], np.tile(np.eye(4), (6, 1, 1))
    )
    np.testing.assert_allclose(posed.posed_vertices[0], asset.vertices, atol=1e-6)


def test_a_turn_moves_a_bone_and_what_hangs_on_it_about_its_joint(body):
    _, skeleton = body
    parent = np.asarray(skeleton.parent)
    bone = next(b for b in range(6) if parent[b] >= 0 and b in parent)
    pose = np.zeros((6, 6))
    pose[bone, 2] = 0.7
    motion = posed_from_rest(skeleton, pose)
    moving = below(parent, bone)
    for b in range(6):
        assert np.allclose(motion[b], np.eye(4)) == (b not in moving)
        if b in moving:
            np.testing.assert_allclose(motion[b], motion[bone])
    pivot = np.append(skeleton.pivot[bone], 1.0)
    np.testing.assert_allclose(motion[bone] @ pivot, pivot, atol=1e-12)


def test_turns_add_up_down_the_chain(body):
    _, skeleton = body
    pose = np.zeros((6, 6))
    root = int(np.flatnonzero(skeleton.parent < 0)[0])
    child = int(np.flatnonzero(skeleton.parent == root)[0])
    pose[root, 1], pose[child, 1] = 0.2, 0.3
    motion = posed_from_rest(skeleton, pose)
    cos = (np.trace(motion[child][:3, :3]) - 1) / 2
    assert np.isclose(np.arccos(cos), 0.5)
    pose[root, 3:] = [1.0, 2.0, 3.0]
    lifted = posed_from_rest(skeleton, pose)
    np.testing.assert_allclose(
        lifted[:, :3, 3] - motion[:, :3, 3], np.tile([1.0, 2.0, 3.0], (6, 1))
    )


def test_files_name_bones_and_degrees(tmp_path):
    path = write(tmp_path / "p.json", {"bone_02": {"rotation": [0, 0, 180]}})
    pose = read_pose(path, bones=6)
    assert np.isclose(pose[2, 2], np.pi) and np.count_nonzero(pose) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"leg": {}}, "must be one of bone_00 to bone_05, got leg"),
        ({"bone_01": {"rotation": [1, 2]}}, "three numbers"),
        ({"bone_01": {"turn": [1, 2, 3]}}, "rotation and translation"),
        ({"bone_01": [1, 2, 3]}, "rotation and translation"),
        ([1], "must hold an object of bones, got list"),
    ],
)
def test_wrong_files_are_answered_with_what_to_write(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_pose(write(tmp_path / "p.json", content), bones=6)


def test_the_posed_model_is_exported_with_a_picture(body, tmp_path):
    asset, _ = body
    path = write(tmp_path / "wave.json", {"bone_01": {"rotation": [0, 40, 0]}})
    folder = hand_pose(asset, path, tmp_path, "extract")
    assert folder == tmp_path / "export" / "extract" / "pose_wave"
    names = {p.name for p in folder.iterdir()}
    assert {"model.glb", "posed.ply", "posed.png", "rig.json"} <= names


def test_a_motion_is_a_pose_again_and_its_file_is_read_as_it_was_meant(body, tmp_path):
    asset, skeleton = body
    # a clip's own motion is no pose of the tree alone: joints open, so shifts remain
    pose = pose_of(skeleton, asset.posed_from_rest[3])
    np.testing.assert_allclose(
        posed_from_rest(skeleton, pose), asset.posed_from_rest[3], atol=1e-12
    )
    write_pose(tmp_path / "p.json", pose)
    np.testing.assert_allclose(read_pose(tmp_path / "p.json", bones=6), pose, atol=1e-7)
    write_pose(tmp_path / "rest.json", pose_of(skeleton, np.tile(np.eye(4), (6, 1, 1))))
    assert json.loads((tmp_path / "rest.json").read_text()) == {}
