"""Distillation through the warp: who is moved, by how much, and toward what."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adreamer_jax.core.camera import orbit
from adreamer_jax.core.encoding import frame_time
from adreamer_jax.core.optimizer import path_name
from adreamer_jax.systems.animatable import distill, distill_views, group_of
from tests.systems.small import (
    FRAMES,
    fixed_prior,
    knowing_prior,
    pictures_of,
    small_model,
    small_recipe,
    small_scene,
    small_upkeep,
    vivid,
)

KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def scene():
    """The small scene, its chunks smaller than its pictures, and the gradient."""
    config = small_recipe(**{"scene.skin.delta": True})
    memory = 40 * distill_views.ray_bytes(config) / 2**20
    scene = small_scene(**{"csd.memory_mb": memory})

    @jax.jit
    def gradient(model, frozen):
        return distill.group_gradient(
            scene.config, scene.prior, model, scene.upkeep, frozen, jnp.array(0), KEY
        )

    scene.gradient = gradient
    return scene


@pytest.fixture(scope="module")
def grads(scene):
    return scene.gradient(scene.model, scene.frozen)[0]


def by_name(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_name(path): np.asarray(leaf) for path, leaf in leaves}


def test_shape_color_bones_and_motion_are_moved_and_nothing_else(grads):
    moved = {name for name, leaf in by_name(grads).items() if np.any(leaf)}
    for start in ("field/shape", "field/paint", "field/sdf", "field/color",
                  "bones/motion", "bones/center", "bones/log_scale"):  # fmt: skip
        assert any(name.startswith(start) for name in moved), start
    for start in ("pose/", "field/feature", "field/visibility", "field/log_temp"):
        assert not any(name.startswith(start) for name in moved), start
    assert all(np.isfinite(leaf).all() for leaf in by_name(grads).values())


def test_without_the_warp_the_same_field_gradient_and_none_of_the_bones(scene, grads):
    """Distillation without gradient through the warp is `moves` = canonical."""
    config = scene.config.copy_and_resolve_references()
    config.csd.moves = "canonical"
    only, _ = jax.jit(
        lambda model: distill.group_gradient(
            config, scene.prior, model, scene.upkeep, scene.frozen, jnp.array(0), KEY
        )
    )(scene.model)
    for name, leaf in by_name(only).items():
        if name.startswith("field/"):
            np.testing.assert_allclose(leaf, by_name(grads)[name], atol=1e-7, rtol=1e-4)
        else:
            assert not np.any(leaf), name


def test_chunk_by_chunk_is_the_direct_gradient(scene, grads):
    """Plain differentiation of the whole picture against the fixed one."""
    config, prior = scene.config, scene.prior
    assert distill_views.chunk_rays(config, 128) < 45
    view_key, ray_key, _ = jax.random.split(KEY, 3)
    views = distill_views.sample_views(config, prior, scene.upkeep, view_key)

    def loss(model):
        color, mask, _ = distill_views.draw_rays(
            config, model, scene.upkeep, jnp.array(0), views, ray_key, jnp.arange(128)
        )
        pictures = (color.reshape(2, 8, 8, 3), mask.reshape(2, 8, 8))
        gap = prior.encode(None, *pictures) - prior.encode(None, scene.frozen["prior"])
        return 0.5 * jnp.mean(gap**2)

    value, direct = jax.jit(jax.value_and_grad(loss))(scene.model)
    _, metrics = scene.gradient(scene.model, scene.frozen)
    assert metrics["loss/csd"] == pytest.approx(float(value), rel=1e-5)
    direct = by_name(direct)
    largest = max(np.abs(leaf).max() for leaf in direct.values())
    for name, leaf in by_name(grads).items():
        np.testing.assert_allclose(leaf, direct[name], atol=1e-5 * largest)


def test_one_pixel_in_so_many_counts_for_all(scene):
    """Where every pixel is a parameter of its own, its gradient is what was pulled."""
    config = scene.config.copy_and_resolve_references()
    pull = jax.random.normal(KEY, (2, 6, 6, 3)), jax.random.normal(KEY, (2, 6, 6))
    pixels = [jnp.zeros((72, 3)), jnp.zeros(72)]
    draw = lambda pixels, index: tuple(x[index] for x in pixels)
    whole = distill.pulled(config, draw, pixels, pull, KEY)
    for found, wanted in zip(whole, pull, strict=True):
        np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-6)
    config.csd.thinning = 4
    keys = jax.random.split(KEY, 64)
    thin = jax.vmap(lambda key: distill.pulled(config, draw, pixels, pull, key)[1])(
        keys
    )
    assert np.all((np.asarray(thin) != 0).reshape(64, 18, 4).sum(-1) == 1)
    chosen = np.where(thin != 0, 4 * pull[1].reshape(-1), 0.0)
    np.testing.assert_allclose(thin, chosen, rtol=1e-6)
    places = (np.asarray(thin) != 0).mean(0)
    assert abs(places - 0.25).max() < 0.25  # 64 draws: every place has its turn


PARTS = ("field/sdf", "field/color", "bones/center", "bones/log_scale", "bones/motion")


@pytest.mark.parametrize("part", PARTS)
def test_the_gradient_is_the_slope_of_the_loss(scene, grads, part):
    """Central differences along a random direction of each part of the model."""
    draw = np.random.default_rng(0)
    slopes = by_name(grads)

    def direction(path, leaf):
        name = path_name(path)
        if not name.startswith(part):
            return jnp.zeros_like(leaf)
        # mostly uphill, so that the difference stands out of float's noise
        size = np.linalg.norm(slopes[name]) + 1e-12
        random = draw.normal(size=leaf.shape) / np.sqrt(leaf.size)
        return jnp.asarray(slopes[name] / size + 0.3 * random, jnp.float32)

    way = jax.tree_util.tree_map_with_path(direction, scene.model)
    expected = sum(
        np.sum(slope * step)
        for slope, step in zip(slopes.values(), by_name(way).values(), strict=True)
    )

    def value(length):
        model = jax.tree.map(lambda x, d: x + length * d, scene.model, way)
        return float(scene.gradient(model, scene.frozen)[1]["loss/csd"])

    # wide enough that samples which enter or leave their cells do not matter
    step = 0.05 if part == "bones/log_scale" else 0.02
    slope = (value(step) - value(-step)) / (2 * step)
    assert slope == pytest.approx(expected, rel=0.03)


def shrinking_prior():
    """Like the real ones it takes pictures of any size."""
    shrink = lambda x: jax.image.resize(x, (4, 32, 32, *x.shape[3:]), "linear")
    return fixed_prior(side=32, views=4)._replace(
        encode=lambda weights, image, mask=None: shrink(image),
        denoise=lambda weights, latents, t, context, cameras: latents - weights,
    )


def test_memory_does_not_grow_with_the_resolution():
    """Sixteen times the pixels in a tenth more, by the compiler's own account."""
    prior, held = shrinking_prior(), {}
    frozen = {"prior": jnp.zeros((8, 32, 32, 3)), "contexts": jnp.zeros((2, 1, 1))}
    for side in (128, 512):
        config = small_recipe(**{
            "csd.resolution": side, "csd.samples": 40, "csd.share": 0.35,
            "csd.memory_mb": 256.0,
        })  # fmt: skip
        step = partial(distill.group_gradient, config, prior)
        lowered = jax.jit(step).lower(
            small_model(), small_upkeep(config), frozen, jnp.array(0), KEY
        )
        held[side] = lowered.compile().memory_analysis().temp_size_in_bytes
    assert held[128] > 50e6  # a chunk of the size that the recipe allows
    assert held[512] < 1.1 * held[128]


def halves():
    """Two gradients of a model whose norms are known: ones, and twos on the field."""
    model = small_model()
    ones = jax.tree.map(jnp.ones_like, model)
    twos = jax.tree.map(jnp.zeros_like, model)
    return ones, twos.replace(field=jax.tree.map(lambda x: 2 * x, ones.field))


def test_gradients_are_joined_by_weight_or_by_ratio():
    ones, twos = halves()
    config = small_recipe()
    total, norms = distill.joined(config, group_of, jnp.float32(0.25), ones, twos)
    np.testing.assert_allclose(total.field.plane, 1.5)
    np.testing.assert_allclose(total.bones.center, 1.0)
    # what stands still, as the focal length here, has no say in the norms
    rates = config.optimizer.rates
    assert rates.focal == 0.0
    sizes = lambda tree: {
        name: float(norm) ** 2
        for name, norm in distill.group_norms(group_of, tree).items()
        if rates.get(name, 0.0) > 0 or name == "focal"
    }
    count, part = sizes(ones), sizes(twos)
    assert count.pop("focal") > 0 == part.pop("focal")
    count, part = sum(count.values()), sum(part.values()) / 4
    assert norms["grad/rest"] == pytest.approx(count**0.5, rel=1e-5)
    assert norms["grad/csd_ratio"] == pytest.approx(0.5 * (part / count) ** 0.5, 1e-4)
    config.csd.ratio = 0.2
    total, _ = distill.joined(config, group_of, jnp.float32(1.0), ones, twos)
    np.testing.assert_allclose(total.field.plane, 1.2, rtol=1e-5)
    np.testing.assert_allclose(total.bones.center, 1.0)


def test_it_comes_every_so_manyth_step_and_follows_its_ramp(monkeypatch):
    ones, twos = halves()
    config = small_recipe(**{"csd.every": 3, "loss.csd": 1.0})
    config.ramp.csd = ((0.0, 0.0), (0.05, 0.0), (0.06, 1.0))
    monkeypatch.setattr(
        distill, "csd_gradient", lambda *a, axis: (twos, {"loss/csd": jnp.ones(())})
    )
    seen = []
    for step in range(12):
        grads, metrics = distill.with_csd(
            config, None, group_of, None, None, None, jnp.array(step), KEY, ones, {}
        )
        seen.append(float(metrics["loss/csd"]))
        np.testing.assert_allclose(grads.field.plane, 1.0 + 2.0 * seen[-1])
    assert seen == [0.0] * 8 + [1.0] + [0.0] * 2 + [1.0]


SIDE, STEPS = 18, 60


def finder(space, steps=STEPS):
    """A compiled search: a small gray body learns from a prior that knows the truth."""
    config = small_recipe(
        **{
            "csd.resolution": SIDE,
            "csd.samples": 14,
            "csd.guidance": 1.0,
            "csd.time_low": ((0.0, 0.02),),
            "csd.time_high": ((0.0, 0.5),),
            "csd.moves": "canonical",
            "csd.space": space,
            "run.steps": steps,
        }
    )
    upkeep = small_upkeep(config)
    prior = knowing_prior(small_recipe(), side=SIDE)  # it knows posed objects alone
    optimizer = optax.adam(1e-2)

    @jax.jit
    def find(model, truth, turned, sign):
        frozen = {"prior": (truth, turned), "contexts": jnp.zeros((2, 1, 1))}

        def step(carry, i):
            model, state = carry
            key = jax.random.fold_in(KEY, i)
            grads, _ = distill.group_gradient(
                config, prior, model, upkeep, frozen, i, key
            )
            grads = jax.tree.map(lambda g: sign * g, grads)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(model, updates), state), None

        start = (model, optimizer.init(model))
        return jax.lax.scan(step, start, jnp.arange(steps))[0][0]

    @jax.jit
    def seen(model):
        """One side, bent one way and the other."""
        turn = jnp.radians(jnp.array([-90.0, -50.0, -130.0]))
        full = jnp.ones(3)
        camera = orbit(turn, 0 * full, 2.7 * full, 0.77 * full, size=(SIDE, SIDE))
        times = frame_time(jnp.arange(2.0), FRAMES)
        parts = [pictures_of(config, model, upkeep, camera, time) for time in times]
        return [jnp.concatenate([c, m[..., None]], -1) for c, m in parts]

    def error(model, truth):
        pairs = zip(seen(model), seen(truth), strict=True)
        return float(np.mean([np.mean((a - b) ** 2) for a, b in pairs]))

    return find, error


@pytest.fixture(scope="module")
def posed():
    return finder("posed")


@pytest.fixture(scope="module")
def start_and_truth():
    truth = vivid(small_model(seed=5))
    return small_model(backbone="hash", radii=(0.2, 0.2, 0.45), seed=1), truth


@pytest.mark.slow
@pytest.mark.parametrize(
    ("turned", "sign", "share"), [(0, 1.0, (0.0, 0.1)), (1, 1.0, (0.2, 1e9)),
                                  (0, -1.0, (0.9, 1e9))]
)  # fmt: skip
def test_the_prior_brings_the_side_that_nobody_saw(
    posed, start_and_truth, turned, sign, share
):
    """With permuted cameras or a flipped sign it does not."""
    find, error = posed
    start, truth = start_and_truth
    found = find(start, truth, turned, sign)
    part = error(found, truth) / error(start, truth)
    assert share[0] <= part < share[1]


def always_bent(**options):
    """A body whose ends bend more and less to the same sides, and never not at all."""
    model = small_model(bend=0.5, **options)
    motion = model.bones.motion.at[0].set(2.0 * model.bones.motion[1])
    return model.replace(bones=model.bones.replace(motion=motion))


@pytest.mark.slow
def test_without_the_warp_the_pose_is_baked_into_the_shape():
    """The same search on the rest shape, which the prior takes for a posed one.

    Colors are found first, either way; the shape bends slowly, hence the many steps.
    """
    start = always_bent(backbone="hash", radii=(0.2, 0.2, 0.45), seed=1)
    truth, left = vivid(always_bent(seed=5)), {}
    error = finder("posed")[1]
    for space in ("posed", "canonical"):
        found = finder(space, steps=240)[0](start, truth, 0, 1.0)
        left[space] = error(found, truth)
    assert left["posed"] < 0.03 * error(start, truth)
    assert left["canonical"] > 1.5 * left["posed"], left
