"""Fitting to a sampled set: drawn once, of the shape at rest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core.camera import facing, orbit, project, with_size
from adreamer_jax.core.image import resize
from adreamer_jax.prior.load import alpha_code
from adreamer_jax.prior.oracle import oracle_prior
from adreamer_jax.scene.field import mirror
from adreamer_jax.systems.animatable import generation_fit as fit
from adreamer_jax.systems.animatable.distill_views import draw_rays
from tests.systems.small import small_model, small_upkeep
from tests.systems.test_generation import second_recipe


def test_the_set_has_the_first_steps_and_every_so_manyth_of_the_rest():
    config = second_recipe(**{"fit.steps": 5, "fit.every": 3})
    due = lambda: [i for i in range(14) if bool(fit.fit_due(config, i))]
    assert due() == [0, 1, 2, 3, 4, 6, 9, 12]
    with config.unlocked():
        config.fit.every = 0
    assert due() == [0, 1, 2, 3, 4]


def test_what_is_sampled_once_depends_on_the_seed_alone():
    config, other = second_recipe(), second_recipe()
    other.run.seed = config.run.seed + 1
    draw = lambda config, purpose: np.asarray(
        jax.random.normal(fit._key(config, purpose), (8,))
    )
    np.testing.assert_array_equal(draw(config, "views"), draw(config, "views"))
    assert np.abs(draw(config, "views") - draw(config, "noise")).max() > 0.1
    assert np.abs(draw(config, "views") - draw(other, "views")).max() > 0.1


def test_the_set_is_of_the_rest_shape_and_moves_the_field_alone():
    config = second_recipe()
    before = config.csd.to_dict()
    still = fit.at_rest(config)
    assert (still.csd.space, still.csd.moves) == ("canonical", "canonical")
    assert config.csd.to_dict() == before  # the caller's recipe stays


def knowing(side=8, views=4):
    """An oracle with alpha: its weights are the codes of all views."""
    blind = oracle_prior(lambda w, c: w, image_size=side, num_views=views)

    def denoise(codes, latents, t, context, cameras):
        clean = jnp.tile(codes, (len(latents) // len(codes), 1, 1, 1))
        a = blind.schedule.alphas_cumprod[t][:, None, None, None]
        return (latents - jnp.sqrt(a) * clean) / jnp.sqrt(1.0 - a)

    return blind._replace(
        encode=lambda weights, image, mask=None: alpha_code(image, mask),
        decode=lambda weights, latents: 0.5 * latents[..., :3] + 0.5,
        decode_mask=lambda weights, latents: 0.5 * latents[..., 3] + 0.5,
        denoise=denoise,
        denoise_together=lambda count: denoise,
        latent_shape=(side, side, 4),
    )


@pytest.fixture(scope="module")
def scene():
    """A small model, and a recipe with two rings of four views."""
    config = second_recipe(**{"fit.steps": 4, "fit.rings": 2})
    return config, small_model(), small_upkeep(config)


def test_rings_stand_between_each_other_and_the_first_sees_the_front(scene):
    config, model, upkeep = scene
    upkeep = upkeep | {"front": jnp.float32(0.7)}
    views = fit.set_views(config, knowing(), model.field, upkeep)
    matrix = np.asarray(views.camera.camera_from_object, np.float64)
    away = np.linalg.inv(matrix)[:, :3, 3] - np.asarray(upkeep["aim_rest"][:3])
    away = away @ np.asarray(facing(jnp.array([0.0, 1.0, 0.0]), 0.7)).T
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    azimuth = np.degrees(np.arctan2(away[:, 0], away[:, 2])) % 360
    turned = (azimuth - [0, 90, 180, 270, 45, 135, 225, 315] + 180) % 360 - 180
    np.testing.assert_allclose(turned, 0.0, atol=1e-3)
    low, high = config.fit.elevation_deg
    elevation = np.degrees(np.arcsin(away[:, 1]))
    np.testing.assert_allclose(elevation, [low] * 4 + [high] * 4, atol=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cameras_stand_about_the_mirror_plane(sign):
    turn = facing(jnp.array([0.0, 1.0, 0.0]), 0.4)
    plane = jnp.array([0.9, 0.1, -0.55, 0.07]) * sign  # 10 degrees beside, tilted
    middle = jnp.array([0.3, -0.1, 0.05])
    own, onto = fit.upright(plane, turn, middle)
    np.testing.assert_allclose(own @ own.T, np.eye(3), atol=1e-6)
    assert float(jnp.linalg.det(own)) == pytest.approx(1.0, abs=1e-6)
    assert float(jnp.trace(own.T @ turn)) > 1.0 + 2.0 * np.cos(np.radians(20.0))
    # two cameras at mirrored places of the prior's frame are mirrored in the plane
    left, right = jnp.array([0.5, 0.2, 1.0]), jnp.array([-0.5, 0.2, 1.0])
    mirrored = mirror(plane, own.T @ left + onto)
    np.testing.assert_allclose(mirrored, own.T @ right + onto, atol=1e-6)


def test_a_plane_across_the_body_is_not_followed():
    turn, middle = facing(jnp.array([0.0, 1.0, 0.0]), 0.0), jnp.ones(3)
    own, onto = fit.upright(jnp.array([0.2, 0.0, 1.0, 0.3]), turn, middle)
    np.testing.assert_array_equal(own, turn)
    np.testing.assert_array_equal(onto, middle)


def test_a_set_is_what_the_prior_knows(scene):
    config, model, upkeep = scene
    prior, side = knowing(), config.csd.resolution
    pictures = jax.random.uniform(jax.random.key(3), (8, 8, 8, 4))
    color, mask = pictures[..., :3] * pictures[..., 3:], pictures[..., 3]
    frozen = {"prior": alpha_code(color, mask), "fit_contexts": jnp.zeros((2, 1, 1))}
    seen = fit.ring_cameras(config, prior)
    sets = jax.jit(lambda seen: fit.sample_sets(config, prior, frozen, seen))(seen)
    assert sets.shape == (config.fit.tries, 8, 8, 8, 4)
    still = second_recipe(**{"fit.rings": 2, "fit.reach": 0.0})
    found = fit.take_set(still, prior, sets, model.field, upkeep)
    assert set(found) == {"fit_pictures"}
    over = color + 0.5 * (1.0 - mask[..., None])
    wanted = jnp.concatenate([over, mask[..., None]], axis=-1)
    wanted = resize(wanted, (side, side))
    np.testing.assert_allclose(found["fit_pictures"], wanted, atol=1e-3)


def drawn_away(config, field, upkeep, scale, shift, *, side=48):
    """Masks of the body as a set shows it that stands elsewhere; shift in radii."""
    prior = knowing(side=side)
    camera = fit.set_views(config, prior, field, upkeep).camera
    camera = with_size(camera, (side, side))
    turn, middle, radius = fit.animal_frame(config, field, upkeep)
    body = fit.grid_points(96)
    body = body[fit.signed_distance(field, body, detail=1.0) < 0.0]
    moved = middle + scale * (body - middle) + radius * jnp.asarray(shift) @ turn
    count = len(camera.focal)
    place = project(camera, jnp.broadcast_to(moved, (count, *moved.shape)))[0]
    place = np.floor(np.asarray(place)).astype(int)
    masks = np.zeros((count, side, side), np.float32)
    for mask, xy in zip(masks, place, strict=True):
        mask[xy[:, 1], xy[:, 0]] = 1.0
    return prior, np.repeat(masks[..., None], 4, axis=-1)


def test_the_set_is_taken_that_suits_the_bones_and_its_cameras_follow(scene):
    config, model, upkeep = scene
    upkeep = upkeep | {"front": jnp.float32(0.3)}
    away = partial(drawn_away, config, model.field, upkeep)
    prior, wrong = away(0.5, (0.0, 0.0, 0.0))  # smaller than any scale allows
    prior, right = away(0.8, (0.0, -0.1, 0.15))
    sets = jnp.asarray(np.stack([wrong, right]))
    found = fit.take_set(config, prior, sets, model.field, upkeep)
    side = config.csd.resolution
    np.testing.assert_allclose(
        found["fit_pictures"], resize(sets[1], (side, side)), atol=1e-6
    )
    turn, _, radius = fit.animal_frame(config, model.field, upkeep)
    back = np.array([0.0, 0.1, -0.15]) / 0.8 @ np.asarray(turn) * float(radius)
    was, now = np.asarray(upkeep["aim_rest"]), np.asarray(found["aim_rest"])
    np.testing.assert_allclose(now[:3] - was[:3], back, atol=0.05 * float(radius))
    assert now[3] / was[3] == pytest.approx(1 / 0.8, rel=0.06)
    each = np.asarray(found["aim"]) - np.asarray(upkeep["aim"])
    np.testing.assert_allclose(
        each[:, :3], np.tile(now[:3] - was[:3], (3, 1)), atol=1e-6
    )
    # seen by those cameras, the pictures are of the body where it is
    views = fit.set_views(config, prior, model.field, upkeep | found)
    hull = fit.visual_hull(views.camera, sets[1, ..., 3])[0]
    body = (
        fit.signed_distance(model.field, fit.grid_points(fit.HULL_CELLS), detail=1.0)
        < 0.0
    )
    both = np.sum(np.asarray(hull) & np.asarray(body))
    assert both / np.sum(np.asarray(hull) | np.asarray(body)) > 0.6


def test_one_view_of_twelve_may_miss_a_limb(outlines):
    camera, masks = outlines
    torn = masks.copy()
    torn[2] = 0.0
    whole = np.asarray(fit.visual_hull(camera, jnp.asarray(masks))[0])
    held = np.asarray(fit.visual_hull(camera, jnp.asarray(torn), missing=1)[0])
    assert not fit.visual_hull(camera, jnp.asarray(torn))[0].any()
    assert (held | ~whole).all() and whole.any()


def test_the_gradient_of_the_fit_by_a_slow_twin(scene):
    _, model, upkeep = scene
    config = second_recipe(**{"fit.steps": 4, "fit.rings": 1, "csd.thinning": 1})
    prior, step = knowing(), jnp.array(2)
    side = config.csd.resolution
    wanted = jax.random.uniform(jax.random.key(4), (4, side, side, 4))
    full = upkeep | {"fit_pictures": wanted}
    grads, seen = fit.fit_gradient(config, prior, model, full, {}, step)
    views = fit.set_views(config, prior, model.field, upkeep)
    key, still = fit._key(config, "rays", step), fit.at_rest(config)

    def whole(field):
        rays = jnp.arange(4 * side**2)
        moved = model.replace(field=field)
        color, mask, _ = draw_rays(still, moved, upkeep, step, views, key, rays)
        flat = wanted.reshape(-1, 4)
        over = color + 0.5 * (1.0 - mask[:, None])
        far = jnp.mean((over - flat[:, :3]) ** 2, axis=1) * flat[:, 3]
        p = jnp.clip(mask, 1e-4, 1 - 1e-4)
        vague = -p * jnp.log(p) - (1 - p) * jnp.log(1 - p)
        far = config.fit.color * far + (mask - flat[:, 3]) ** 2
        return jnp.mean(0.5 * far + config.csd.entropy * vague)

    value, twin = jax.value_and_grad(whole)(model.field)
    assert float(seen["loss/csd"]) == pytest.approx(float(value), rel=1e-4)
    for name in ("sdf", "color"):
        for ours, theirs in zip(
            jax.tree.leaves(getattr(grads.field, name)),
            jax.tree.leaves(getattr(twin, name)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=2e-3)
    assert not any(np.any(x) for x in jax.tree.leaves((grads.bones, grads.pose)))


@pytest.fixture(scope="module")
def outlines():
    """Four cameras around a slanted ellipsoid, and what they see of it."""
    turn = jnp.asarray(0.3 + np.arange(4) * np.pi / 2, jnp.float32)
    one = jnp.ones(4)
    camera = orbit(turn, 0.3 * one, 3.2 * one, 0.7 * one, size=(32, 32))
    random = np.random.default_rng(0)
    points = random.standard_normal((60_000, 3))
    points *= random.random((60_000, 1)) ** (1 / 3) / np.linalg.norm(
        points, axis=1, keepdims=True
    )
    points = points * [0.8, 0.25, 0.4] @ np.linalg.qr(random.standard_normal((3, 3)))[0]
    points = jnp.broadcast_to(jnp.asarray(points, jnp.float32), (4, *points.shape))
    place = np.floor(np.asarray(project(camera, points)[0])).astype(int)
    masks = np.zeros((4, 32, 32), np.float32)
    for mask, xy in zip(masks, place, strict=True):
        mask[xy[:, 1], xy[:, 0]] = 1.0
    return camera, masks


def test_outlines_of_one_object_agree_and_others_do_not(outlines):
    camera, masks = outlines
    whole = float(fit.hull_agreement(camera, jnp.asarray(masks)))
    assert whole > 0.9
    torn = masks.copy()
    torn[2, :, 16:] = 0.0  # half of one view is missing
    mixed = masks[[1, 0, 2, 3]]  # two views change places
    moved = np.roll(masks, 5, axis=2)
    for wrong in (torn, mixed, moved):
        assert float(fit.hull_agreement(camera, jnp.asarray(wrong))) < whole - 0.1
    assert float(fit.hull_agreement(camera, jnp.zeros((4, 32, 32)))) == 0.0


def test_agreement_by_a_slow_twin(outlines):
    camera, masks = outlines
    random = np.random.default_rng(1)
    masks = np.maximum(masks, (random.random(masks.shape) < 0.02).astype(np.float32))
    cells = 14
    axis = (np.arange(cells) + 0.5) / cells * 2 - 1
    points = np.array([[x, y, z] for x in axis for y in axis for z in axis], np.float32)
    every = jnp.broadcast_to(jnp.asarray(points), (4, *points.shape))
    place = np.floor(np.asarray(project(camera, every)[0])).astype(int)
    seen = lambda v, p: (
        all(0 <= c < 32 for c in place[v, p]) and masks[v][tuple(place[v, p][::-1])] > 0
    )
    held = [p for p in range(len(points)) if all(seen(v, p) for v in range(4))]
    scores = []
    for v in range(4):
        outline = {tuple(place[v, p][::-1]) for p in held}
        mask = set(zip(*np.nonzero(masks[v]), strict=True))
        scores.append(len(outline & mask) / len(outline | mask))
    found = fit.hull_agreement(camera, jnp.asarray(masks), cells=cells)
    assert float(found) == pytest.approx(np.mean(scores), abs=1e-6)
