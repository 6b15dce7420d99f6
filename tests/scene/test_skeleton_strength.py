"""Every witness of a connection is its formula, and they agree where they ought to."""

import itertools

import numpy as np
import trimesh

from adreamer_jax.core.shape import vertex_areas
from adreamer_jax.scene import skeleton_strength as st
from tests.scene.bodies import strip, wiggle


def test_soft_contact_is_the_formula_written_with_loops():
    vertices, faces, weights, _ = strip(columns=9)
    areas = vertex_areas(vertices, faces)
    contact = st.soft_contact(areas, weights)
    for j, k in itertools.product(range(weights.shape[1]), repeat=2):
        shared = sum(a * w[j] * w[k] for a, w in zip(areas, weights, strict=True))
        own = [
            sum(a * w[i] ** 2 for a, w in zip(areas, weights, strict=True))
            for i in (j, k)
        ]
        assert np.isclose(contact[j, k], shared / np.sqrt(own[0] * own[1]))


def test_edge_contact_counts_each_mesh_edge_once():
    _, faces, weights, _ = strip()
    owner, seen = weights.argmax(1), set()
    count = np.zeros((5, 5))
    for face in faces:
        for u, v in itertools.combinations(face, 2):
            if (min(u, v), max(u, v)) not in seen and owner[u] != owner[v]:
                count[owner[u], owner[v]] += 1
                count[owner[v], owner[u]] += 1
            seen.add((min(u, v), max(u, v)))
    contact = st.edge_contact(faces, weights) - np.eye(5)
    assert np.allclose(contact, count / count.max())
    assert set(map(tuple, np.argwhere(np.triu(contact)))) == {
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
    }


def test_features_cut_what_touches_but_means_something_else():
    vertices, faces, weights, _ = strip()
    meaning = np.where(vertices[:, :1] < 2.0, [[1.0, 0.0]], [[0.0, 1.0]])
    areas = vertex_areas(vertices, faces)
    contact = st.soft_contact(areas, weights)
    alive = np.ones(5, bool)
    plain = st.strengths(contact, None, np.ones((5, 5)), alive)
    pooled = st.bone_features(areas, weights, meaning)
    informed = st.strengths(contact, pooled, np.ones((5, 5)), alive)
    assert np.allclose(np.linalg.norm(pooled, axis=1), 1)
    assert plain[1, 2] > 0.8 and informed[1, 2] < plain[1, 2] - 0.1
    assert np.isclose(informed[0, 1], 1, atol=0.05)


def test_opposite_meaning_never_connects():
    contact, opposite = np.full((2, 2), 0.5), np.array([[1.0, 0.0], [-1.0, 0.0]])
    strength = st.strengths(contact, opposite, np.ones((2, 2)), np.ones(2, bool))
    assert (strength == 0).all()


def test_coherence_is_the_formula_written_with_loops():
    joints, motion = np.random.default_rng(4).normal(size=(3, 3, 3)), wiggle(3)
    joints = (joints + joints.swapaxes(0, 1)) / 2
    together = st.coherence(joints, motion, slack=0.4)
    for j, k in itertools.product(range(3), repeat=2):
        point = np.append(joints[j, k], 1.0)
        gaps = [np.linalg.norm((m[j] @ point - m[k] @ point)[:3]) for m in motion]
        assert np.isclose(together[j, k], np.exp(-np.mean(np.square(gaps)) / 0.16))
    assert (st.coherence(joints, motion, slack=0.0) == 1).all()


def test_the_middle_of_a_bone_is_the_formula_written_with_loops():
    vertices, faces, weights, _ = strip(columns=9)
    areas = vertex_areas(vertices, faces)
    middle = st.bone_middles(areas, weights, vertices)
    for bone in range(weights.shape[1]):
        share = [a * w[bone] ** 2 for a, w in zip(areas, weights, strict=True)]
        total = sum(a * v for a, v in zip(share, vertices, strict=True))
        assert np.allclose(middle[bone], total / sum(share))


def test_how_far_the_way_between_two_bones_leaves_a_ball():
    ball = trimesh.creation.icosphere(subdivisions=4)
    right = (ball.vertices[:, :1] > 0).astype(float)
    middles = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.3, 0.0]])
    joints = np.zeros((3, 3, 3))
    joints[0, 1] = joints[1, 0] = [0.0, 1.8, 0.0]
    weights = np.concatenate([right, 1 - right, 0 * right], 1)
    motion = np.tile(np.eye(4), (5, 3, 1, 1))
    motion[..., 1, 3] = np.arange(5)[:, None]  # carried along: nothing changes
    body = ball.vertices, ball.faces, weights, middles, joints, motion
    found, out = st.way_outside(*body), []
    for u in (np.arange(5) + 0.5) / 5:
        way = middles[0] + u * (joints[0, 1] - middles[0])
        out.append(max(np.linalg.norm(way) - 1, 0.0))
    expected = np.sqrt(np.mean(np.square(out)))
    assert np.isclose(found[0, 1], expected, rtol=0.02) and found[0, 1] == found[1, 0]
    assert (found[2] == 0).all() and (found[:, 2] == 0).all()
    assert np.allclose(st.enclosure(found, slack=expected)[0, 1], np.exp(-1), rtol=0.05)
    assert (st.enclosure(found, slack=0.0) == 1).all()


def test_equal_colors_are_one_meaning_and_opposite_ones_less():
    features = st.color_features(
        np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.9] * 3])
    )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert np.isclose(alike[0, 1], 1.0) and alike[0, 2] < 0.6
