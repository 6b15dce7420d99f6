"""Volume rendering: against loops, compaction that changes nothing, closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from adreamer_jax.core.camera import camera_rays, clip_to_box, orbit, pixel_centers
from adreamer_jax.render import volume
from adreamer_jax.types import Rays

FRAMES, RAYS, COUNT = 2, 9, 16
BALL = jnp.array([0.1, 0.0, -0.1])


def density(points):
    """A soft ball."""
    gap = jnp.linalg.norm(points - BALL, axis=-1) - 0.6
    return 20.0 * jax.nn.sigmoid(-gap / 0.03)


def sample(points):
    extra = {"place": points}
    return density(points), jnp.concatenate([points, points**2], axis=-1), extra


def inside(points):
    return jnp.linalg.norm(points - BALL, axis=-1) < 0.95


def everywhere(points):
    return jnp.ones(points.shape[:-1], bool)


@pytest.fixture(scope="module")
def rays():
    azimuth = jnp.array([0.0, 1.0])
    view = orbit(azimuth, 0.3 * azimuth, 3 + azimuth, 0.6 + 0 * azimuth, size=(3, 3))
    pixels = jnp.broadcast_to(pixel_centers((3, 3)), (FRAMES, RAYS, 2))
    box = jnp.array([[-1.0] * 3, [1.0] * 3])
    return clip_to_box(camera_rays(view, pixels), box)


@pytest.fixture(scope="module")
def drawn():
    """Compiled renders: of everything, and only of what is near the ball."""

    @jax.jit
    def both(rays, key):
        full = volume.render(
            everywhere, sample, rays, count=COUNT, capacity=RAYS * COUNT, key=key
        )
        packed = volume.render(
            inside, sample, rays, count=COUNT, capacity=RAYS * COUNT * 3 // 4, key=key
        )
        return full, packed

    return both


def twin(rays, depth, width):
    """Front to back along one ray after the other, float64."""
    shape = (FRAMES, RAYS)
    mask, far, channels = np.zeros(shape), np.zeros(shape), np.zeros((*shape, 6))
    lights = np.zeros((*shape, COUNT))
    for f, r in np.ndindex(shape):
        light = 1.0
        direction = np.asarray(rays.directions[f, r], np.float64)
        for s in range(COUNT):
            t = float(depth[f, r, s])
            point = np.asarray(rays.origins[f, r], np.float64) + t * direction
            gap = np.linalg.norm(point - np.asarray(BALL)) - 0.6
            thick = 20.0 / (1.0 + np.exp(gap / 0.03))
            thick *= float(width[f, r, s]) * np.linalg.norm(direction)
            weight = light * (1.0 - np.exp(-thick))
            lights[f, r, s] = light
            mask[f, r] += weight
            far[f, r] += weight * t
            channels[f, r] += weight * np.concatenate([point, point**2])
            light *= np.exp(-thick)
    return mask, far, channels, lights


def test_rendering_is_the_slow_loop(rays, drawn, key):
    full, _ = drawn(rays, key)
    depth, width = volume.stratified(rays, count=COUNT, key=key)
    mask, far, channels, lights = twin(rays, depth, width)
    assert 0.2 < mask.mean() < 0.95
    np.testing.assert_allclose(full.mask, mask, atol=1e-4)
    np.testing.assert_allclose(full.depth, far, atol=5e-4)
    np.testing.assert_allclose(full.channels, channels, atol=5e-4)
    light = np.asarray(full.light).reshape(lights.shape)
    hit = np.asarray(full.slots.valid).reshape(lights.shape)
    np.testing.assert_allclose(light[hit], lights[hit], atol=1e-4)


def test_leaving_out_empty_space_changes_nothing(rays, drawn, key):
    full, packed = drawn(rays, key)
    for name in ("mask", "depth", "channels"):
        np.testing.assert_allclose(
            getattr(packed, name), getattr(full, name), atol=2e-3
        )
    assert packed.slots.overflow == 0 and 0.3 < packed.slots.use < 1.0


def test_slots_say_which_sample_they_hold(rays, drawn, key):
    _, packed = drawn(rays, key)
    depth, _ = volume.stratified(rays, count=COUNT, key=key)
    points = rays.origins[:, :, None] + depth[..., None] * rays.directions[:, :, None]
    flat = np.asarray(points).reshape(FRAMES, -1, 3)
    for f in range(FRAMES):
        valid = np.asarray(packed.slots.valid[f])
        index = np.asarray(packed.slots.place[f])[valid]
        assert np.array_equal(np.sort(index), index)
        np.testing.assert_allclose(
            packed.extra["place"][f][valid], flat[f, index], atol=1e-6
        )
        assert np.array_equal(np.asarray(packed.slots.ray[f])[valid], index // COUNT)
        assert not np.any(np.asarray(packed.weights[f])[~valid])
        assert not np.any(np.asarray(packed.light[f])[~valid])


@pytest.mark.parametrize("capacity", [5, 12, 40])
def test_compaction_is_the_list_of_true_places(capacity):
    keep = np.random.default_rng(0).uniform(size=(3, 30)) < 0.4
    slots = volume.compact(jnp.asarray(keep), capacity=capacity, samples=10)
    overflow = 0
    for f in range(3):
        (true,) = np.nonzero(keep[f])
        kept = true[:capacity]
        overflow += len(true) - len(kept)
        expected = np.full(capacity, 30)
        expected[: len(kept)] = kept
        np.testing.assert_array_equal(slots.place[f], expected)
        np.testing.assert_array_equal(slots.valid[f], np.arange(capacity) < len(kept))
        np.testing.assert_array_equal(slots.ray[f][: len(kept)], kept // 10)
    assert slots.overflow == overflow
    assert slots.use == pytest.approx(keep.sum(1).max() / capacity)


def test_weights_and_what_is_left_sum_to_one(key):
    thickness = 3.0 * jax.random.uniform(key, (4, 5, 20)) ** 4
    weights, rest = volume.ray_weights(thickness)
    np.testing.assert_allclose(weights.sum(-1) + rest, 1.0, atol=1e-6)
    assert np.all(weights >= 0)
    light = volume.light_before(thickness)
    np.testing.assert_array_equal(light[..., 0], 1.0)
    np.testing.assert_allclose(light - weights, light * np.exp(-thickness), atol=1e-6)


def test_even_fog_follows_beer_and_lambert():
    thickness = jnp.full((10,), 0.3)
    weights, rest = volume.ray_weights(thickness)
    assert rest == pytest.approx(np.exp(-3.0), rel=1e-5)
    i = np.arange(10)
    expected = np.exp(-0.3 * i) * (1 - np.exp(-0.3))
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_a_wall_takes_all_light_and_has_finite_gradients():
    wall = jnp.array([0.0, 1e4, 1e4, 0.0])
    weights, rest = volume.ray_weights(wall)
    np.testing.assert_allclose(weights, [0, 1, 0, 0], atol=1e-6)
    assert rest == 0
    gradient = jax.jacobian(lambda t: volume.ray_weights(t)[0])(wall)
    assert np.all(np.isfinite(gradient))


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        thickness = jnp.asarray(draw.uniform(0, 2, (3, 8)))
        check_grads(jax.jit(volume.ray_weights), (thickness,), 1, modes=["rev"])


def test_samples_lie_one_in_each_bin(rays, key):
    for k in (None, key):
        depth, width = volume.stratified(rays, count=COUNT, key=k)
        place = (depth - rays.near[..., None]) / width
        np.testing.assert_array_equal(
            np.floor(np.asarray(place) + 1e-4 * (k is None)),
            np.broadcast_to(np.arange(COUNT), place.shape),
        )
        total = np.asarray(width).sum(-1)
        np.testing.assert_allclose(total, rays.far - rays.near, rtol=1e-5)


def test_a_ray_that_misses_the_box_draws_nothing():
    line = jnp.ones((1, 1))
    rays = Rays(jnp.zeros((1, 1, 3)), jnp.full((1, 1, 3), 0.5), line, line)
    out = volume.render(everywhere, sample, rays, count=4, capacity=4)
    assert out.mask == 0 and not np.any(out.channels) and not np.any(out.slots.valid)
    gradient = jax.grad(
        lambda r: volume.render(everywhere, sample, r, count=4, capacity=4).mask.sum()
    )(rays)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))


def test_what_finds_no_slot_is_counted_and_left_out(rays):
    out = volume.render(everywhere, sample, rays, count=COUNT, capacity=20)
    assert out.slots.overflow == FRAMES * (RAYS * COUNT - 20)
    assert not np.any(out.mask[:, 2:])  # only the first rays had room


def test_importance_samples_follow_the_weights(key):
    depth = jnp.broadcast_to((jnp.arange(10) + 0.5) / 10, (3, 10))
    weights = jnp.zeros((3, 10)).at[0, 2].set(1).at[1, 7].set(1).at[2].set(1)
    for k in (None, key):
        at = np.asarray(volume.importance(depth, weights, count=100, key=k))
        assert np.all(np.diff(at, axis=-1) >= -1e-6)  # stratified: already in order
        assert np.mean((at[0] >= 0.2) & (at[0] <= 0.3)) > 0.97
        assert np.mean((at[1] >= 0.7) & (at[1] <= 0.8)) > 0.97
        np.testing.assert_allclose(at[2], (np.arange(100) + 0.5) / 100, atol=0.011)
