"""The joint tree carries the bones' motion exactly; the cost of four weights."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.run import joints
from adreamer_jax.run.export import asset_skeleton
from tests.run.capsule import make_asset


@pytest.fixture(scope="module")
def made():
    asset = make_asset()
    skeleton = asset_skeleton(asset)
    return asset, skeleton, joints.joint_tree(asset, skeleton)


def chain(tree):
    """posed_from_joint by walking down the tree, as a player does."""
    turn = Rotation.from_quat(tree.rotation[..., [1, 2, 3, 0]].reshape(-1, 4))
    local = np.tile(np.eye(4), (*tree.rotation.shape[:2], 1, 1))
    local[..., :3, :3] = turn.as_matrix().reshape(*local.shape[:2], 3, 3)
    local[..., :3, 3] = tree.translation
    world = local.copy()
    for joint, above in enumerate(tree.parent):
        if above >= 0:
            world[:, joint] = world[:, above] @ local[:, joint]
    return world


def test_tree_reproduces_every_bone(made):
    asset, _, tree = made
    bind = np.tile(np.eye(4), (len(tree.bones), 1, 1))
    bind[:, :3, 3] = -tree.place
    assert np.allclose(
        chain(tree) @ bind, asset.posed_from_rest[:, tree.bones], atol=1e-9
    )


def test_parents_come_first_and_offsets_add_up(made):
    _, _, tree = made
    assert tree.parent[0] == -1 and (tree.parent[1:] >= 0).all()
    place = tree.offset.copy()
    for joint, above in enumerate(tree.parent):
        assert above < joint
        place[joint] += 0 if above < 0 else place[above]
    assert np.allclose(place, tree.place)


def test_neighbors_of_the_capsule_are_linked(made):
    _, _, tree = made
    links = {
        tuple(sorted((tree.bones[j], tree.bones[p])))
        for j, p in enumerate(tree.parent)
        if p >= 0
    }
    assert links == {(i, i + 1) for i in range(5)}


def test_bones_that_move_no_vertex_are_left_out(made):
    asset, _, _ = made
    idle = dataclasses.replace(
        asset,
        weights=np.concatenate([asset.weights, np.zeros((len(asset.weights), 1))], 1),
        rest_from_bone=np.concatenate([asset.rest_from_bone, np.eye(4)[None]]),
        posed_from_rest=np.concatenate(
            [asset.posed_from_rest, np.tile(np.eye(4), (5, 1, 1, 1))], 1
        ),
    )
    tree = joints.joint_tree(idle, asset_skeleton(idle))
    assert sorted(tree.bones) == list(range(6))


def test_quaternions_never_jump_sign():
    turn = Rotation.from_rotvec(np.linspace(0, 12, 50)[:, None] * [0, 0, 1.0])
    wxyz = turn.as_quat(canonical=True)[:, None, [3, 0, 1, 2]]
    smooth = joints.continuous(wxyz)
    assert (np.sum(wxyz[1:] * wxyz[:-1], -1) < 0).any()
    assert (np.sum(smooth[1:] * smooth[:-1], -1) > 0).all()
    assert np.allclose(np.abs(smooth), np.abs(wxyz))


def test_top_weights_keep_the_strongest_and_sum_to_one():
    weights = np.random.default_rng(0).dirichlet(np.ones(7), 20)
    index, value = joints.top_weights(weights)
    assert np.allclose(value.sum(1), 1)
    for row, kept, w in zip(weights, index, value, strict=True):
        assert set(kept) == set(np.argsort(row)[-4:])
        assert np.allclose(w, row[kept] / row[kept].sum())


def test_unused_places_name_joint_zero():
    index, value = joints.top_weights(np.array([[0.0, 0.25, 0.75], [0, 0, 1]]))
    assert np.array_equal(index, [[2, 1, 0, 0], [2, 0, 0, 0]])
    assert np.array_equal(value, [[0.75, 0.25, 0, 0], [1, 0, 0, 0]])


def test_error_is_zero_when_four_bones_are_enough(made):
    asset, skeleton, tree = made
    assert 0 < joints.skinning_error(asset, tree)["max_percent"] < 0.5
    index, value = joints.top_weights(asset.weights)
    sparse = np.zeros_like(asset.weights, float)
    np.add.at(sparse, (np.arange(len(sparse))[:, None], index), value)
    full = np.arange(6)[None].repeat(len(sparse), 0)
    posed = np.stack(
        [
            joints.linear_blend(asset.vertices, full, sparse, m)
            for m in asset.posed_from_rest
        ]
    )
    asset = dataclasses.replace(asset, weights=sparse, posed_vertices=posed)
    assert (
        joints.skinning_error(asset, joints.joint_tree(asset, skeleton))["max_percent"]
        < 1e-4
    )
