"""Laws, twins and closed forms of the skeleton."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from adreamer_jax.core import rigid
from adreamer_jax.scene import skeleton as sk
from adreamer_jax.types import Rigid
from tests.scene.bodies import strip, wiggle


@pytest.fixture(scope="module")
def built():
    vertices, faces, weights, rest = strip()
    motion = wiggle(len(rest))
    return sk.build_skeleton(vertices, faces, weights, None, rest, motion), rest, motion


def pose(matrix):
    return rigid.from_matrix(jnp.asarray(matrix, jnp.float32))


def still(bones):
    """The motion of bones that stay where they are."""
    return pose(np.tile(np.eye(4), (bones, 1, 1)))


def test_strength_is_symmetric_and_spans_zero_to_one(built):
    strength = built[0].strength
    assert np.allclose(strength, strength.T)
    assert strength.min() == 0 and np.isclose(strength.max(), 1)
    assert (np.diag(strength) == 0).all()


def test_bones_that_touch_at_rest_but_part_are_not_linked():
    # one strip that tears in the middle while it moves
    vertices, faces, weights, rest = strip(bones=4)
    motion = np.tile(np.eye(4), (3, 4, 1, 1))
    motion[1, 2:, 1, 3], motion[2, 2:, 1, 3] = 1.0, -1.0
    arguments = vertices, faces, weights, None, rest, motion
    apart = sk.build_skeleton(*arguments).strength
    paper = sk.build_skeleton(*arguments, slack=0.0).strength
    assert paper[1, 2] > 0.5 and apart[1, 2] < 1e-3
    assert apart[0, 1] > 0.9 and apart[2, 3] > 0.9


def test_feet_that_share_weights_hang_on_their_legs_and_not_on_each_other():
    # a bridge on two legs, whose feet are skinned to one another
    places = [[-0.5, -0.1, 0.0], [0.5, -0.1, 0.0], [0.0, 0.5, 0.0]]
    parts = [trimesh.creation.box((0.2, 1.0, 0.2)) for _ in range(2)]
    parts.append(trimesh.creation.box((1.2, 0.2, 0.2)))
    for part, place in zip(parts, places, strict=True):
        part.apply_translation(place)
    mesh = trimesh.util.concatenate([p.subdivide().subdivide() for p in parts])
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    side, low = vertices[:, 0] > 0, np.clip(0.45 - vertices[:, 1], 0.0, 0.6)
    legs = np.stack([low * np.where(side, 0.8, 0.2), low * np.where(side, 0.2, 0.8)], 1)
    weights = np.concatenate([legs, 1 - legs.sum(1, keepdims=True)], 1)
    rest = np.tile(np.eye(4), (3, 1, 1))
    rest[:, :3, 3] = [[0.5, -0.4, 0.0], [-0.5, -0.4, 0.0], [0.0, 0.5, 0.0]]
    arguments = vertices, faces, weights, None, rest, np.tile(np.eye(4), (2, 3, 1, 1))
    linked = lambda s: {tuple(sorted((b, p))) for b, p in enumerate(s.parent) if p >= 0}
    assert (0, 1) in linked(sk.build_skeleton(*arguments, outside=0.0))
    assert linked(sk.build_skeleton(*arguments)) == {(0, 2), (1, 2)}


def test_kept_edges_are_the_chain(built):
    assert np.array_equal(built[0].edges, [[0, 1], [1, 2], [2, 3], [3, 4]])


def test_threshold_is_a_share_of_the_median_contact():
    contact = np.eye(4)
    for (j, k), value in zip([(0, 1), (1, 2), (2, 3)], (0.4, 0.4, 0.09), strict=True):
        contact[j, k] = contact[k, j] = value
    assert len(sk.kept_edges(contact, np.ones(4, bool))) == 2
    assert len(sk.kept_edges(contact, np.ones(4, bool), threshold=0.2)) == 3
    assert len(sk.kept_edges(np.eye(4), np.ones(4, bool))) == 0


def test_spanning_tree_is_the_heaviest_of_all_trees():
    rng = np.random.default_rng(1)
    for _ in range(5):
        weight = rng.random((5, 5))
        weight = weight + weight.T
        parent = sk.spanning_tree(weight, root=2)
        assert (parent == -1).sum() == 1 and parent[2] == -1
        found = sum(weight[b, p] for b, p in enumerate(parent) if p >= 0)
        assert np.isclose(found, _heaviest(weight))


def _heaviest(weight):
    pairs, best = list(itertools.combinations(range(len(weight)), 2)), 0.0
    for tree in itertools.combinations(pairs, len(weight) - 1):
        group = list(range(len(weight)))
        for j, k in tree:
            group = [group[j] if g == group[k] else g for g in group]
        if len(set(group)) == 1:
            best = max(best, sum(weight[pair] for pair in tree))
    return best


def test_tree_follows_the_chain_and_joints_lie_between_bones(built):
    skeleton, rest, _ = built
    links = {tuple(sorted((b, p))) for b, p in enumerate(skeleton.parent) if p >= 0}
    assert links == {(0, 1), (1, 2), (2, 3), (3, 4)}
    x = rest[:, 0, 3]
    middle = (x[:-1] + x[1:]) / 2
    assert np.allclose(skeleton.joints[range(4), range(1, 5), 0], middle, atol=0.05)
    root = int(np.flatnonzero(skeleton.parent < 0)[0])
    assert np.allclose(skeleton.pivot[root], rest[root, :3, 3])


def test_a_bone_without_surface_is_dead_and_hangs_as_a_leaf():
    vertices, faces, weights, rest = strip()
    far = rest[:1].copy()
    far[0, :3, 3] = [4.2, 0.1, 0.0]
    weights = np.concatenate([weights * 0.9999, np.full((len(weights), 1), 0.0001)], 1)
    rest = np.concatenate([rest, far])
    skeleton = sk.build_skeleton(vertices, faces, weights, None, rest, wiggle(6))
    assert not skeleton.alive[5] and skeleton.alive[:5].all()
    assert skeleton.parent[5] >= 0 and 5 not in skeleton.parent
    assert not (skeleton.edges == 5).any()


def test_bones_that_touch_nothing_still_join_the_tree():
    vertices = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0.0]]
    )
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    weights = np.repeat(np.eye(2), 3, axis=0)
    rest = np.tile(np.eye(4), (2, 1, 1))
    rest[1, 0, 3] = 5.0
    skeleton = sk.build_skeleton(vertices, faces, weights, None, rest, wiggle(2))
    assert sorted(skeleton.parent) in ([-1, 0], [-1, 1]) and len(skeleton.edges) == 0
    assert np.allclose(skeleton.joints[0, 1], [2.5, 0, 0])
    assert float(sk.skeleton_loss(skeleton, pose(rest), still(2))) == 0.0


def test_at_rest_joints_are_closed_and_unturned(built):
    skeleton, rest, _ = built
    motion = still(len(rest))
    assert np.allclose(sk.joint_gaps(skeleton, pose(rest), motion), 0, atol=1e-5)
    assert np.allclose(sk.joint_angles(skeleton, motion), 0, atol=1e-3)


def test_gaps_and_angles_match_plain_matrices(built):
    skeleton, rest, motion = built
    gap, angle = (
        sk.joint_gaps(skeleton, pose(rest), pose(motion)),
        sk.joint_angles(skeleton, pose(motion)),
    )
    for t, (e, (j, k)) in itertools.product(range(4), enumerate(skeleton.edges)):
        point = np.append(skeleton.joints[j, k], 1.0)
        apart = np.linalg.norm((motion[t, j] @ point - motion[t, k] @ point)[:3])
        turn = motion[t, j, :3, :3].T @ motion[t, k, :3, :3]
        expected = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
        assert np.isclose(gap[t, e], apart, atol=1e-5)
        assert np.isclose(angle[t, e], expected, atol=1e-4)


def test_moving_everything_alike_changes_nothing(built):
    skeleton, rest, motion = built
    whole = wiggle(1, frames=1, seed=9)[0, 0]
    plain, carried = pose(motion), pose(whole @ motion)
    gap = lambda motion: sk.joint_gaps(skeleton, pose(rest), motion)
    assert np.allclose(gap(plain), gap(carried), atol=1e-4)
    angle = lambda motion: sk.joint_angles(skeleton, motion)
    assert np.allclose(angle(plain), angle(carried), atol=1e-4)


def test_seen_motion_costs_nothing_and_more_than_seen_costs(built):
    skeleton, rest, motion = built
    assert float(sk.skeleton_loss(skeleton, pose(rest), pose(motion))) == 0.0
    beyond = motion.copy()
    beyond[:, 1, 1, 3] += 5.0
    assert float(sk.skeleton_loss(skeleton, pose(rest), pose(beyond))) > 1e-3
    moved = rest.copy()
    moved[1, 1, 3] += 5.0
    assert float(sk.skeleton_loss(skeleton, pose(moved), pose(motion))) > 1e-3


def test_a_body_of_other_proportions_is_no_strain_of_its_motion(built):
    skeleton, rest, motion = built
    moved = rest.copy()
    moved[1, 1, 3] += 2.0
    # what the motion does is seen about the joints of the new body
    motion = motion.copy()
    motion[:] = motion[:, :1]
    free = skeleton._replace(angle_range=np.tile([0.0, 0.1], (len(skeleton.edges), 1)))
    motion = pose(motion)
    found = sk.strain(free, pose(moved), motion)
    assert found["open_percent"] == 0.0 and found["turn_deg"] == 0.0
    assert found["rest_open_percent"] > 1.0
    assert np.isclose(found["rest_turn_deg"], 0.0, atol=1e-3)
    # so the loss asks the bones to go back, and nothing of the motion
    loss = jax.grad(lambda r, m: sk.skeleton_loss(free, r, m), argnums=(0, 1))
    of_rest, of_motion = loss(pose(moved), motion)
    assert np.abs(of_rest.translation).max() > 1e-4
    assert all(np.abs(x).max() == 0.0 for x in jax.tree.leaves(of_motion))


def test_bones_turned_at_rest_turn_joints_there_alone(built):
    skeleton, rest, motion = built
    turned = rest.copy()
    turned[1, :3, :3] = Rotation.from_rotvec([0, 1.5, 0]).as_matrix() @ rest[1, :3, :3]
    found = sk.strain(skeleton, pose(turned), pose(motion))
    assert found["turn_deg"] == 0.0 and found["rest_turn_deg"] > 1.0


def test_strain_says_how_far_joints_go_beyond_what_was_seen(built):
    skeleton, rest, motion = built
    assert sk.strain(skeleton, pose(rest), pose(motion)) == dict.fromkeys(
        ("open_percent", "turn_deg", "rest_open_percent", "rest_turn_deg"), 0.0
    )
    moved = motion.copy()
    moved[0, 1, 1, 3] += 5.0  # bone 1 leaves its place in one frame of four
    gap = np.asarray(sk.joint_gaps(skeleton, pose(rest), pose(moved)))[0]
    share = skeleton.edge_strength / skeleton.edge_strength.sum()
    beyond = np.maximum(gap - skeleton.gap_limit, 0.0) / skeleton.diagonal
    found = sk.strain(skeleton, pose(rest), pose(moved))
    assert np.isclose(found["open_percent"], 100.0 * share @ beyond / 4.0, rtol=1e-4)
    assert found["open_percent"] > 1.0 and found["turn_deg"] == 0.0
    assert found["rest_open_percent"] == 0.0


def test_loss_of_one_opened_joint_is_its_closed_form():
    vertices, faces, weights, rest = strip(bones=2)
    motion = np.tile(np.eye(4), (3, 2, 1, 1))
    skeleton = sk.build_skeleton(vertices, faces, weights, None, rest, motion)
    opened = motion.copy()
    opened[:, 1, 2, 3] += 0.5
    diagonal = np.hypot(4.0, 0.3)
    expected = 2.0 * (0.5 / diagonal) ** 2
    loss = sk.skeleton_loss(skeleton, pose(rest), pose(opened), translation=2.0)
    assert np.isclose(float(loss), expected, rtol=1e-4)
    moved = opened[0] @ rest  # the same bone as far away, at rest
    loss = sk.skeleton_loss(skeleton, pose(moved), pose(motion), translation=2.0)
    assert np.isclose(float(loss), expected, rtol=1e-4)
    pivot, spin = skeleton.joints[0, 1], np.eye(4)
    spin[:3, :3] = Rotation.from_rotvec([0, 0, 0.7]).as_matrix()
    spin[:3, 3] = pivot - spin[:3, :3] @ pivot
    turned = motion.copy()
    turned[:, 1] = spin
    loss = sk.skeleton_loss(skeleton, pose(rest), pose(turned), angle=0.3)
    assert np.isclose(float(loss), 0.3 * 0.7**2, rtol=1e-3)


def test_gradient_is_finite_at_rest_and_pulls_joints_together(built):
    skeleton, rest, _ = built
    loss = jax.jit(lambda r, m: sk.skeleton_loss(skeleton, r, m))
    slope = jax.grad(loss, argnums=(0, 1))
    unmoved = still(len(rest))
    found = slope(pose(rest), unmoved)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    apart = rest.copy()
    apart[2, 1, 3] += 1.0
    (at_rest, _) = slope(pose(apart), unmoved)
    assert isinstance(at_rest, Rigid) and at_rest.translation[2, 1] > 0
    opened = np.tile(np.eye(4), (len(rest), 1, 1))
    opened[2, 1, 3] += 1.0
    (_, in_motion) = slope(pose(rest), pose(opened))
    assert in_motion.translation[2, 1] > 0


def test_unknown_morphology_is_refused():
    vertices, faces, weights, rest = strip()
    with pytest.raises(ValueError, match="morphology must be"):
        sk.build_skeleton(
            vertices, faces, weights, None, rest, wiggle(5), morphology="voxels"
        )


def test_edge_count_builds_the_same_tree(built):
    vertices, faces, weights, rest = strip()
    skeleton = sk.build_skeleton(
        vertices, faces, weights, None, rest, wiggle(5), morphology="edge_count"
    )
    assert np.array_equal(skeleton.edges, built[0].edges)


def test_the_same_body_carries_the_same_skeleton(built):
    vertices, faces, weights, rest = strip()
    again = sk.carried_over(built[0], vertices, faces, weights, rest)
    for name in sk.Skeleton._fields:
        np.testing.assert_allclose(
            getattr(again, name), getattr(built[0], name), atol=1e-12, err_msg=name
        )


def test_another_body_moves_the_joints_and_keeps_tree_and_limits(built):
    vertices, faces, weights, rest = strip()
    fat = vertices * [1.0, 3.0, 1.0]
    again = sk.carried_over(built[0], fat, faces, weights, rest)
    np.testing.assert_array_equal(again.parent, built[0].parent)
    np.testing.assert_array_equal(again.gap_limit, built[0].gap_limit)
    touching = built[0].contact > 0.01
    np.testing.assert_allclose(
        again.joints[touching], built[0].joints[touching] * [1.0, 3.0, 1.0], atol=1e-9
    )
