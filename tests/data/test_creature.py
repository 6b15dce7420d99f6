"""Laws of the creature: its distance against loops, its normals, its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import camera as cameras
from adreamer_jax.data import creature as creatures
from adreamer_jax.data import zoo
from adreamer_jax.data.creature import Lights


@pytest.fixture(scope="module")
def cat():
    random = np.random.default_rng(0)
    animal = zoo.sample_individual(
        random, species="cat", pose="walking", color="red", grains=4
    )
    posed = zoo.posed(animal, np.array([0.7]))[0]
    return jax.tree.map(lambda x: jnp.asarray(x[0]), posed)


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(1).uniform(-0.9, 0.9, (300, 3)).astype(np.float32)


def _slow_sdf(creature, point):
    c = jax.tree.map(lambda x: np.asarray(x, np.float64), creature)
    total = 0.0
    for k in range(len(c.start)):
        along = c.end[k] - c.start[k]
        t = np.dot(point - c.start[k], along) / max(np.dot(along, along), 1e-10)
        t = min(max(t, 0.0), 1.0)
        q = point - c.start[k] - t * along
        m, e = np.dot(q, c.flat_axis[k]), c.stretch[k]
        length = np.sqrt(np.dot(q, q) + e * m * m)
        slope = np.linalg.norm(q + e * m * c.flat_axis[k]) / length
        radius = (1 - t) * c.start_radius[k] + t * c.end_radius[k]
        total += np.exp(-c.sharpness * (length - radius) / slope)
    return -np.log(total) / c.sharpness


def test_sdf_equals_loops(cat, points):
    ours = np.asarray(jax.jit(creatures.sdf)(cat, jnp.asarray(points[:40])))
    slow = [_slow_sdf(cat, p.astype(np.float64)) for p in points[:40]]
    np.testing.assert_allclose(ours, slow, atol=2e-5)


def test_normals_are_the_gradient_on_the_surface(cat, points):
    def pull(p, _):
        return p - creatures.sdf(cat, p)[:, None] * creatures.normal(cat, p), None

    on = jax.jit(lambda p: jax.lax.scan(pull, p, None, length=12)[0])(points)
    assert np.percentile(np.abs(creatures.sdf(cat, on)), 95) < 1e-4
    total = lambda p: creatures.sdf(cat, p).sum()
    gradient = np.asarray(jax.jit(jax.grad(total))(on))
    gradient = gradient / np.linalg.norm(gradient, axis=-1, keepdims=True)
    cosine = (gradient * np.asarray(creatures.normal(cat, on))).sum(-1)
    assert np.median(cosine) > 0.999
    assert np.percentile(cosine, 5) > 0.97


def test_weights_sum_to_one(cat, points):
    weights = creatures.capsule_weights(cat, jnp.asarray(points))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)


def test_padding_changes_nothing(cat, points):
    more = jax.tree.map(jnp.asarray, zoo.pad(cat, cat.start.shape[0] + 5))
    np.testing.assert_allclose(
        creatures.sdf(more, jnp.asarray(points)),
        creatures.sdf(cat, jnp.asarray(points)),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="capsules must be"):
        zoo.pad(cat, 3)


@pytest.fixture(scope="module")
def view():
    numbers = (jnp.asarray(x) for x in (0.8, 0.2, 3.0, 0.7))
    return cameras.orbit(*numbers, size=(48, 48))


@pytest.fixture(scope="module")
def lights():
    directions = jnp.asarray([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    return Lights(directions, jnp.asarray([0.6, 0.2]), jnp.asarray(0.4))


@pytest.fixture(scope="module")
def shot(cat, lights, view):
    draw = jax.jit(
        creatures.draw, static_argnames=("budget", "block", "samples", "steps")
    )
    return lambda **options: draw(cat, lights, view, **options)


def test_picture_agrees_with_the_distance(cat, view, shot):
    """Depth lies on the surface, and a ray through an empty pixel meets nothing."""
    picture = shot(budget=144, block=4, samples=1, steps=16)
    mask = np.asarray(picture.mask).ravel()
    rays = cameras.camera_rays(view, cameras.pixel_centers(view.size))
    full = mask == 1.0
    depth = np.asarray(picture.depth).ravel()[:, None]
    gap = creatures.sdf(cat, rays.origins + rays.directions * depth)
    assert full.sum() > 150
    assert np.percentile(np.abs(np.asarray(gap)[full]), 97) < 3e-3
    at = lambda depth: creatures.sdf(cat, rays.origins + rays.directions * depth)
    least = jax.jit(lambda d: jax.lax.map(at, d).min(0))(jnp.linspace(2.0, 4.0, 160))
    wrong = (np.asarray(least) < 0) != (mask > 0.5)
    assert np.mean(wrong & (np.abs(least) > 0.01)) < 1e-3  # a third of a pixel
    assert wrong.mean() < 0.01


def test_budget_and_blocks_leave_the_picture(cat, view, shot):
    whole = shot(budget=144, block=4, samples=2, steps=16)
    culled = shot(budget=80, block=4, samples=2, steps=16)
    single = shot(budget=1200, block=1, samples=2, steps=16)
    assert int(creatures.active_blocks(cat, view, block=4)) <= 80
    off = np.abs(np.asarray(whole.color - culled.color)).max(-1)
    assert (off > 2e-3).mean() < 5e-3  # a few rays that graze
    assert np.abs(np.asarray(whole.mask - single.mask)).mean() < 2e-3
    assert np.all(np.asarray(whole.color).max(-1) <= np.asarray(whole.mask) + 1e-6)
