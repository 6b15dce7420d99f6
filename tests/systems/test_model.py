"""The model at a moment: occupancy, sharpness, and warps there and back."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core import rigid
from adreamer_jax.scene.bones import posed_from_rest
from adreamer_jax.scene.field import signed_distance
from adreamer_jax.systems.animatable import model as models
from tests.systems.tiny import tiny_recipe


def test_occupancy_is_asked_cell_by_cell():
    grid = np.zeros((4, 4, 4), bool)
    grid[0, 2, 3] = True
    upkeep = {"occupancy": jnp.asarray(grid)}
    points = jnp.array(
        [[[-0.9, 0.1, 0.9], [-0.51, 0.49, 0.51], [-0.49, 0.1, 0.9], [-1.1, 0.1, 0.9]]]
    )
    np.testing.assert_array_equal(
        models.occupied(upkeep, points)[0], [True, True, False, False]
    )


def test_sharpness_and_detail_follow_their_knots(tiny):
    knots = ((0.0, 0.08), (0.5, 0.02))
    config = tiny_recipe(**{"scene.field.beta": knots})
    at = lambda step: models.moment(config, tiny.start.params, jnp.asarray(step))
    np.testing.assert_allclose(at(0).beta, 0.08, rtol=1e-5)
    np.testing.assert_allclose(at(5).beta, 0.04, rtol=1e-5)  # geometric
    np.testing.assert_allclose(at(20).beta, 0.02, rtol=1e-5)
    assert at(0).detail < at(20).detail == 1.0


def test_learned_sharpness_is_a_parameter(tiny):
    config = tiny_recipe(**{"scene.field.beta_learned": True})
    model = tiny.start.params
    model = model.replace(field=model.field.replace(log_beta=jnp.log(0.033)))
    np.testing.assert_allclose(
        models.moment(config, model, jnp.asarray(9)).beta, 0.033, rtol=1e-5
    )


def test_resting_points_have_the_fields_density_and_none_outside(tiny):
    model, config = tiny.start.params, tiny.config
    now = models.moment(config, model, jnp.asarray(0))
    still = rigid.identity((2, config.scene.bones.count))
    points = jnp.array([[[0.0, 0, 0], [0.9, 0.9, 0.9], [3.0, 0, 0]]] * 2)
    density, channels, extra = models.sample_posed(
        config, model, now, still, jnp.zeros(2), points,
        with_feature=False, with_visibility=False,
    )  # fmt: skip
    assert density[0, 0] > 0.8 / now.beta and np.all(density[:, 2] == 0)
    np.testing.assert_allclose(channels[..., 3:6], points, atol=1e-5)
    np.testing.assert_allclose(extra.rest, points, atol=1e-5)
    carried = models.carry(config, model, still, points)
    np.testing.assert_allclose(carried, points, atol=1e-5)


def test_posed_points_are_where_the_forward_warp_brought_them(tiny):
    """The backward warp, taught with no clip, leads elsewhere; the inverse does not."""
    model = tiny.start.params
    bones, keys = model.bones, jax.random.split(jax.random.key(5), 2)
    bones = bones.replace(
        motion=0.1 * jax.random.normal(keys[0], bones.motion.shape),
        log_scale=jnp.full_like(bones.log_scale, jnp.log(0.5)),
    )
    model, time = model.replace(bones=bones), jnp.array([0.2, 0.7])
    motion = posed_from_rest(bones, time)
    rest = jax.random.uniform(keys[1], (2, 40, 3), minval=-0.8, maxval=0.8)
    there = models.carry(tiny.config, model, motion, rest)

    def back(**changes):
        config = tiny_recipe(**{f"render.{k}": v for k, v in changes.items()})
        found, held, _, _ = models.carry_back(config, model, motion, time, there)
        now = models.moment(config, model, jnp.asarray(0))
        sdf = models.posed_distance(config, model, now, time, there)
        density, _, _ = models.sample_posed(
            config, model, now, motion, time, there,
            with_feature=False, with_visibility=False,
        )  # fmt: skip
        off = np.linalg.norm(found - rest, axis=-1).max()
        return off, np.asarray(held), np.asarray(sdf), np.asarray(density)

    off, held, _, plain = back(inverse_steps=0)
    assert off > 0.03 and np.all(held) and np.any(plain > 0)
    off, held, sdf, law = back(inverse_steps=4)
    assert off < 1e-3 and np.all(held)
    now = models.moment(tiny.config, model, jnp.asarray(0))
    expected = signed_distance(model.field, rest.reshape(-1, 3), detail=now.detail)
    np.testing.assert_allclose(sdf.reshape(-1), expected, atol=5e-3)
    assert np.any(law > 0)
    _, held, sdf, law = back(inverse_steps=4, inverse_gap=0.0)
    assert not np.any(held) and np.all(sdf == 0.5) and np.all(law == 0.0)


def test_bones_belong_together_by_matter_or_by_their_side(tiny):
    model, config = tiny.start.params, tiny.config
    now = models.moment(config, model, jnp.asarray(0))
    plane = model.field.plane
    across = plane[:3] / jnp.linalg.norm(plane[:3])
    down = jnp.cross(across, jnp.roll(across, 1) + 0.1)
    down = down / jnp.linalg.norm(down)
    foot = 0.95 * down + plane[3] * across  # far from all matter, as all pairs' middles
    places = jnp.stack([foot + 0.3 * across, foot + 0.2 * across, foot - 0.3 * across])
    centers = jnp.concatenate([places, foot[None]])
    model = model.replace(bones=model.bones.replace(center=centers))
    loose = models.joined_bones(model, now)
    assert np.all(loose < 0.3)
    tied = models.joined_bones(model, now, tie=0.7)
    left, right, middle = [0, 1], [2], [3]
    for group in (left, right, middle):
        np.testing.assert_allclose(tied[np.ix_(group, group)], 0.7)
        np.testing.assert_allclose(tied[np.ix_(group, middle)], 0.7)
    np.testing.assert_array_equal(tied[:2, 2], loose[:2, 2])
    inside = model.bones.replace(center=jnp.zeros_like(centers))
    whole = models.joined_bones(model.replace(bones=inside), now)
    assert np.all(whole > 0.5)


def test_stopped_trees_have_no_gradient():
    tree = {"a": jnp.ones(3)}
    assert not np.any(jax.grad(lambda t: jnp.sum(models.stop(t)["a"] ** 2))(tree)["a"])
