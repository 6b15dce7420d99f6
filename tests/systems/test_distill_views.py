"""Views around the posed object, and the rays through their pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import orbit, project
from adreamer_jax.scene.pose import clip_cameras
from adreamer_jax.systems.animatable import distill_views
from tests.systems.small import FRAMES, small_recipe, small_scene

KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def scene():
    return small_scene()


def test_views_aim_at_the_posed_ball_and_see_all_of_it(scene):
    low, high = np.array([-0.2, -0.1, 0.0]), np.array([0.6, 0.3, 0.9])
    ball = np.append((low + high) / 2, np.linalg.norm(high - low) / 2)
    upkeep = scene.upkeep | {
        "box": jnp.tile(jnp.array([low, high]), (FRAMES, 1, 1)),
        "aim": jnp.tile(jnp.asarray(ball, jnp.float32), (FRAMES, 1)),
    }
    corners = jnp.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners = corners * (high - low) + low
    for seed in range(5):
        views = distill_views.sample_views(
            scene.config, scene.prior, upkeep, jax.random.key(seed)
        )
        middle, _ = project(views.camera, jnp.tile((low + high) / 2, (2, 1, 1)))
        np.testing.assert_allclose(middle, 4.0, atol=1e-3)
        pixels, depth = project(views.camera, jnp.tile(corners, (2, 1, 1)))
        assert np.all(depth > 0) and np.all((pixels > -1.2) & (pixels < 9.2))
        rays = distill_views.rays_of(views, jnp.arange(128), jnp.full((128, 2), 0.5))
        hit = rays.far > rays.near
        assert 0.2 < np.mean(hit)
        ends = rays.origins + rays.far[..., None] * rays.directions
        inside = (ends > low - 1e-3) & (ends < high + 1e-3)
        assert np.all(inside[np.asarray(hit)])


@pytest.mark.parametrize(
    ("elevation", "shown"),
    [(-25.0, False), (-15.0, True), (20.0, True), (45.0, True), (55.0, False)],
)
def test_a_clip_that_is_filmed_from_above_has_nothing_to_show(
    scene, capsys, elevation, shown
):
    config = scene.config.copy_and_resolve_references()
    config.csd.shown_deg = 8.0
    config.data.views.elevation_deg = (-10.0, 40.0)
    ones = jnp.ones(4)
    camera = orbit(
        jnp.arange(4.0), jnp.radians(elevation) * ones, 3.0 * ones, 0.7 * ones,
        size=(8, 8),
    ).camera_from_object  # fmt: skip
    assert distill_views.showable(config, camera).tolist() == [shown] * 4
    distill_views.warn_of_views(config, camera)
    said = capsys.readouterr().err
    assert ("of 100 % of the frames" in said) != shown
    config.csd.shown_deg = 0.0  # nothing is to be shown
    distill_views.warn_of_views(config, camera)
    assert not capsys.readouterr().err


def test_the_front_is_turned_by_the_recipe(scene):
    config = scene.config.copy_and_resolve_references()
    turned = []
    for offset in (0.0, 90.0):
        config.data.views.azimuth_offset_deg = offset
        views = distill_views.sample_views(config, scene.prior, scene.upkeep, KEY)
        turned.append(views)
    np.testing.assert_allclose(
        turned[0].seen.camera_from_object, turned[1].seen.camera_from_object
    )
    # a quarter: what stood at +z for the prior stands at +x of the object
    quarter = jnp.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    plain, other = (v.camera.camera_from_object[:, :3, :3] for v in turned)
    np.testing.assert_allclose(other, plain @ quarter, atol=1e-5)


def test_the_box_of_a_grid():
    grid = jnp.zeros((4, 4, 4), bool).at[1:3, 0, 3].set(True)
    np.testing.assert_allclose(
        distill_views.occupied_box(grid), [[-0.5, -1.0, 0.5], [0.5, -0.5, 1.0]]
    )
    nothing = distill_views.occupied_box(jnp.zeros((4, 4, 4), bool))
    np.testing.assert_allclose(nothing, [[-1.0] * 3, [1.0] * 3])


def test_a_chunk_follows_the_memory_and_divides_evenly():
    config = small_recipe()
    each = distill_views.ray_bytes(config)
    pictures = 128 * distill_views.PIXEL_BYTES
    config.csd.memory_mb = (100 * each + pictures) / 2**20
    assert distill_views.chunk_rays(config, 128) == 64  # two of 64, not 100 and 28
    assert distill_views.chunk_rays(config, 90) == 90
    config.csd.memory_mb = 1e-9
    assert distill_views.chunk_rays(config, 90) == 1


def test_rays_go_through_their_own_pixels(scene):
    views = distill_views.sample_views(scene.config, scene.prior, scene.upkeep, KEY)
    index = jnp.array([0, 9, 77, 127])
    for place in (0.0, 0.25, 0.9):
        rays = distill_views.rays_of(views, index, jnp.full((4, 2), place))
        points = (rays.origins + 2.0 * rays.directions)[0]
        pixels = [
            project(jax.tree.map(lambda x, v=v: x[v], views.camera), p[None])[0][0]
            for v, p in zip(index // 64, points, strict=True)
        ]
        pixel = np.asarray(index) % 64
        expected = np.stack([pixel % 8, pixel // 8], axis=-1) + place
        np.testing.assert_allclose(pixels, expected, atol=1e-3)


def test_a_step_sees_other_places_of_a_pixel_than_the_next(scene):
    """On average an outline is as soft as the part of the pixel that it covers."""
    config, step = scene.config, jnp.array(0)
    views = distill_views.sample_views(config, scene.prior, scene.upkeep, KEY)
    look = jax.jit(
        lambda key: distill_views.draw_rays(
            config, scene.model, scene.upkeep, step, views, key, jnp.arange(128)
        )[1]
    )
    masks = np.stack([look(jax.random.key(i)) for i in range(6)])
    np.testing.assert_array_equal(masks[3], look(jax.random.key(3)))
    assert np.max(np.ptp(masks, axis=0)) > 0.1


def test_seen_views_are_those_beside_the_clips_cameras(scene):
    """Cameras at the clip's own place, the origin, are seen; those across are not."""
    config = scene.config.copy_and_resolve_references()
    assert distill_views.seen_views(config, scene.model, None, count=FRAMES) is None
    config.csd.shown_deg = 20.0
    clip = clip_cameras(scene.model.pose, jnp.arange(FRAMES), size=(8, 8))
    camera = jax.tree.map(lambda x: x[:2], clip)
    across = np.diag([-1.0, 1.0, -1.0, 1.0])  # at (0, 0, 4), and looks back
    across[2, 3] = 4.0
    own = np.asarray(camera.camera_from_object[1])
    camera = camera.replace(camera_from_object=jnp.array([across, own]))
    box = jnp.array([[-0.5, -0.5, 1.5], [0.5, 0.5, 2.5]])
    views = distill_views.Views(camera, camera, jnp.zeros(1), box)
    found = distill_views.seen_views(config, scene.model, views, count=FRAMES)
    np.testing.assert_array_equal(found, [False, True])


def test_the_first_view_stands_where_the_clip_looked(scene):
    """The clip's camera is the origin: moved off the ball, it is seen again."""
    config = scene.config.copy_and_resolve_references()
    config.csd.shown_deg = 8.0
    config.data.views.elevation_deg = (-40.0, 40.0)
    upkeep = scene.upkeep | {
        "aim": jnp.tile(jnp.array([0.3, -0.4, 2.0, 1.0]), (FRAMES, 1)),
        "box": scene.upkeep["box"] + jnp.array([0.3, -0.4, 2.0]),
    }
    for i in range(3):
        key = jax.random.key(i)
        views = distill_views.sample_views(
            config, scene.prior, upkeep, key, scene.model
        )
        shown = distill_views.seen_views(config, scene.model, views, count=FRAMES)
        np.testing.assert_array_equal(shown, [True, False])
