"""A motion carried to another skeleton: the own one stays, a moved copy comes back."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adreamer_jax.scene.pose import root_poses
from adreamer_jax.systems.animatable.generation_retarget import align, retargeted
from tests.systems.small import small_model

ORDER = np.array([2, 0, 1])  # the copy's bones: number i is our ORDER[i]


def uneven(model):
    """The small model with centers that no turn can confuse, and cameras that move."""
    centers = jnp.array([[0.0, 0.1, -0.5], [0.2, 0.0, 0.1], [-0.1, -0.2, 0.45]])
    initial = np.tile(np.eye(4), (3, 1, 1))
    turns = Rotation.from_rotvec(np.radians([[0, 0, 0], [0, 20, 0], [0, 40, 0]]))
    initial[:, :3, :3] = turns.as_matrix()
    initial[:, :3, 3] = [0.1, -0.2, 3.0]
    pose = model.pose.replace(initial=jnp.asarray(initial, jnp.float32))
    return model.replace(bones=model.bones.replace(center=centers), pose=pose)


def moved(model, *, degrees, scale, shift):
    """The model somewhere else, larger, turned, with its bones in another order."""
    turn = Rotation.from_rotvec([0.0, np.radians(degrees), 0.0]).as_matrix()
    centers = scale * np.asarray(model.bones.center) @ turn.T + shift
    motion = np.asarray(model.bones.motion)
    motion = np.concatenate(
        [motion[..., :3] @ turn.T, scale * motion[..., 3:] @ turn.T], -1
    )
    initial = np.array(model.pose.initial)
    rotation = initial[:, :3, :3] @ turn.T
    initial[:, :3, 3] = scale * initial[:, :3, 3] - rotation @ shift
    initial[:, :3, :3] = rotation
    bones = model.bones.replace(
        center=jnp.asarray(centers[ORDER], jnp.float32),
        motion=jnp.asarray(motion[:, ORDER], jnp.float32),
    )
    pose = model.pose.replace(initial=jnp.asarray(initial, jnp.float32))
    return model.replace(bones=bones, pose=pose)


def test_the_own_motion_stays_as_it_is():
    model = uneven(small_model())
    again = retargeted(model, model)
    np.testing.assert_array_equal(again.bones.motion, model.bones.motion)
    np.testing.assert_array_equal(again.bones.center, model.bones.center)
    cameras = root_poses(again.pose), root_poses(model.pose)
    np.testing.assert_allclose(*cameras, atol=1e-6)


def test_the_motion_of_a_moved_copy_is_the_own_one():
    model = uneven(small_model())
    other = moved(model, degrees=90.0, scale=2.0, shift=np.array([0.3, -0.1, 0.5]))
    again = retargeted(model, other)
    np.testing.assert_allclose(again.bones.motion, model.bones.motion, atol=1e-5)
    cameras = root_poses(again.pose), root_poses(model.pose)
    np.testing.assert_allclose(*cameras, atol=1e-4)


def test_alignment_finds_turn_scale_and_order():
    model = uneven(small_model())
    other = moved(model, degrees=-35.0, scale=0.5, shift=np.array([1.0, 0.0, 0.0]))
    places = (np.asarray(m.bones.center, float) for m in (model, other))
    fit = align(*places)
    assert fit.error < 1e-5 and np.isclose(fit.scale, 2.0, atol=1e-5)
    np.testing.assert_array_equal(ORDER[fit.match], np.arange(3))
    angle = np.degrees(Rotation.from_matrix(fit.turn).as_rotvec()[1])
    assert np.isclose(angle, 35.0, atol=1e-4)


def test_a_longer_motion_brings_its_number_of_frames_and_terms():
    model = uneven(small_model())
    spec = dataclasses.replace(model.bones.spec, terms=5, falloff=3.0)
    bones = model.bones.replace(motion=jnp.ones((5, 3, 6)), spec=spec)
    pose = model.pose.replace(initial=jnp.tile(jnp.eye(4), (7, 1, 1)))
    again = retargeted(model, model.replace(bones=bones, pose=pose))
    assert again.bones.motion.shape == (5, 3, 6) and again.bones.spec.falloff == 3.0
    assert root_poses(again.pose).shape == (7, 4, 4)


def test_another_number_of_bones_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match=r"as many bones, 3, got one with 4; extract"):
        align(np.zeros((3, 3)), np.zeros((4, 3)))
