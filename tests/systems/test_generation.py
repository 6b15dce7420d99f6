"""The second stage: what it leaves alone, what it moves, and where it starts."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adreamer_jax.core import rigid
from adreamer_jax.core.optimizer import path_name
from adreamer_jax.run.export import asset_skeleton
from adreamer_jax.run.recipe import load_recipe
from adreamer_jax.systems.animatable import generation, generation_losses
from adreamer_jax.systems.animatable.model import moment
from tests.systems.small import fixed_prior
from tests.systems.tiny import tiny_recipe

STEPS = 5


def second_recipe(**changes):
    """The tiny recipe with a second stage; changes are dotted keys below generate."""
    config = tiny_recipe()

    config.generate = load_recipe("generate.py:smoke").generate
    config.generate.csd.update(dict(resolution=8, samples=8, share=1.0))
    config.generate.run.update(dict(steps=STEPS, refresh_every=2))
    config.generate.fit.update(dict(steps=0, rings=1, tries=2))
    for key, value in changes.items():
        *path, last = key.split(".")
        place = config.generate
        for word in path:
            place = place[word]
        place[last] = value
    return generation.stage_config(config)


@pytest.fixture(scope="module")
def extracted(tiny):
    state = tiny.start
    motion = 0.2 * jax.random.normal(jax.random.key(5), state.params.bones.motion.shape)
    bones = state.params.bones.replace(motion=motion)
    state = state.replace(params=state.params.replace(bones=bones))
    asset = tiny.system.asset(state, tiny.frozen)
    return SimpleNamespace(model=state.params, skeleton=asset_skeleton(asset))


@pytest.fixture(scope="module")
def second(tiny, extracted, tmp_path_factory):
    wanted = jax.random.uniform(jax.random.key(8), (2, 8, 8, 3))

    def build(front=None, **changes):
        config = second_recipe(**changes)
        system, frozen = generation.make_generation(
            config, tiny.clip, tmp_path_factory.mktemp("cache"), extracted.model,
            extracted.skeleton, prior=(fixed_prior(), wanted), front=front,
        )  # fmt: skip
        return SimpleNamespace(config=config, system=system, frozen=frozen)

    return build


@pytest.fixture(scope="module")
def made(second):
    made = second()
    step = jax.jit(made.system.step)

    def walk(state, count):
        for i in range(int(state.step), int(state.step) + count):
            state = made.system.maintain(state, made.frozen, i)
            key = jax.random.fold_in(jax.random.key(1), i)
            batch = made.system.sample(made.frozen, key, state.step)
            state, metrics = step(state, made.frozen, batch, key)
        return state, metrics

    made.walk = walk
    made.start = jax.jit(made.system.init)(jax.random.key(3), made.frozen)
    return made


@pytest.fixture(scope="module")
def after(made, extracted):
    before = [np.asarray(x).tobytes() for x in jax.tree.leaves(extracted.model)]
    state, metrics = made.walk(made.start, 3)
    return state, metrics, before


def by_name(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_name(path): np.asarray(leaf) for path, leaf in leaves}


def test_the_extracted_model_stays_bit_for_bit(after, extracted):
    now = [np.asarray(x).tobytes() for x in jax.tree.leaves(extracted.model)]
    assert now == after[2]


def test_shape_color_and_bones_move_while_motion_and_cameras_stay(made, after):
    old, new = by_name(made.start.params), by_name(after[0].params)
    moved = {name for name in old if not np.array_equal(old[name], new[name])}
    for start in ("field/shape", "field/paint", "field/sdf", "field/color",
                  "bones/center", "bones/log_scale"):  # fmt: skip
        assert any(name.startswith(start) for name in moved), start
    for start in ("pose/", "bones/motion", "field/plane", "field/center"):
        assert not any(name.startswith(start) for name in moved), start


def test_a_bridge_between_bones_that_part_is_carved_and_nothing_is_taught(made):
    model, upkeep = made.start.params, made.start.upkeep

    def tear(model, motion):
        model = model.replace(bones=model.bones.replace(motion=motion))
        key, now = jax.random.key(3), moment(made.config, model, made.start.step)
        return generation_losses.tear(made.config, model, upkeep, now, 12, key)

    still = jnp.zeros_like(model.bones.motion)
    assert tear(model, still) == 0.0
    apart = still.at[0, :, 3].set(jnp.sign(model.bones.center[:, 0]))
    value, (slope, motion) = jax.value_and_grad(tear, argnums=(0, 1))(model, apart)
    assert value > 1e-4
    assert not np.any(motion)
    assert all(not np.any(x) for x in jax.tree.leaves(slope.bones))
    assert any(np.any(x) for x in jax.tree.leaves(slope.field.shape))
    assert not any(np.any(x) for x in jax.tree.leaves(slope.field.color))


def test_metrics_are_finite_and_name_the_terms(after):
    metrics = after[1]
    assert {
        "loss",
        "loss/csd",
        "loss/skeleton",
        "loss/bone",
        "loss/tear",
        "grad/csd",
    } <= set(metrics)
    assert all(np.isfinite(np.asarray(value)).all() for value in metrics.values())
    assert metrics["skipped"] == 0


def test_going_on_from_a_saved_state_gives_the_same_bits(made, after):
    half, _ = made.walk(made.start, 2)
    copy = jax.tree.map(lambda x: jnp.asarray(np.array(x)), half)
    state, _ = made.walk(copy, 1)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(after[0]), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_color_begins_anew_and_shape_is_kept(made, extracted):
    old, new = by_name(extracted.model), by_name(made.start.params)
    fresh = {name for name in old if not np.array_equal(old[name], new[name])}
    assert fresh and all(
        name.startswith(("field/paint", "field/color")) for name in fresh
    )


def test_the_front_that_the_extraction_found_is_kept(second):
    made = second(front=jnp.float32(1.5))
    start = jax.jit(made.system.init)(jax.random.key(3), made.frozen)
    assert float(start.upkeep["front"]) == 1.5


def test_shape_begins_anew_where_asked(second, extracted):
    made = second(**{"start.shape": "fresh", "start.color": "keep", "loss.csd": 0.0})
    assert "prior" not in made.frozen
    old = by_name(extracted.model)
    start = jax.jit(made.system.init)(jax.random.key(3), made.frozen)
    new = by_name(start.params)
    fresh = {name for name in old if not np.array_equal(old[name], new[name])}
    assert fresh and all(
        name.startswith(("field/shape", "field/sdf")) for name in fresh
    )


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"fit.steps": 2}, {"loss/csd", "csd/time"}),
        ({"loss.rgb": 1.0, "loss.mask": 1.0, "loss.cycle": 1.0}, {"loss/rgb"}),
        ({"csd.space": "canonical", "loss.skeleton": 0.0}, {"loss/csd"}),
        ({"csd.moves": "canonical", "csd.groups": 2}, {"loss/csd"}),
        ({"loss.neighbor": 1.0, "loss.gauge": 1.0, "loss.color_smooth": 1.0,
          "loss.bone_smooth": 1.0}, {"loss/neighbor", "loss/color_smooth"}),
    ],
    ids=lambda value: min(value),
)  # fmt: skip
def test_every_option_gives_a_step_that_keeps_the_shapes(second, changes, terms):
    made, key = second(**changes), jax.random.key(0)
    state = jax.eval_shape(made.system.init, key, made.frozen)
    batch = jax.eval_shape(made.system.sample, made.frozen, key, state.step)
    new, metrics = jax.eval_shape(made.system.step, state, made.frozen, batch, key)
    assert terms <= set(metrics)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_boxes_follow_the_shape_and_not_the_masks(made):
    state = made.system.maintain(made.start, made.frozen, 0)
    field = state.params.field
    smaller = field.replace(radii=0.4 * field.radii)
    shrunk = state.replace(params=state.params.replace(field=smaller))
    shrunk = made.system.maintain(shrunk, made.frozen, 0)
    size = lambda s: np.prod(np.diff(s.upkeep["box"], axis=1)[:, 0], axis=-1)
    assert np.all(size(shrunk) < 0.9 * size(state))
    assert shrunk.upkeep["occupancy"].sum() < state.upkeep["occupancy"].sum()
    np.testing.assert_array_equal(shrunk.upkeep["aim"], state.upkeep["aim"])


def test_a_torn_joint_costs(extracted):
    from adreamer_jax.scene.skeleton import skeleton_loss

    rest = np.tile(np.eye(4), (4, 1, 1))
    centers = np.random.default_rng(0).normal(size=(4, 3))
    rest[:, :3, 3] = centers
    skeleton = extracted.skeleton._replace(
        gap_limit=np.zeros(len(extracted.skeleton.edges))
    )
    costs = []
    still = rigid.from_matrix(jnp.tile(jnp.eye(4), (4, 1, 1)))
    for tear in (0.0, 0.5, 1.0, 2.0):
        torn = rest.copy()
        torn[int(skeleton.edges[0, 0]), :3, 3] += tear * float(skeleton.diagonal) * 10
        pose = rigid.from_matrix(jnp.asarray(torn, jnp.float32))
        costs.append(float(skeleton_loss(skeleton, pose, still)))
    assert costs[1] < costs[2] < costs[3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": " "}, "generate.prompt must say what to make"),
        ({"start.shape": "new"}, "generate.start.shape must be one of keep, fresh"),
        ({"fit.rings": 0}, "generate.fit.rings must be at least 1, got 0"),
        ({"fit.tries": 0}, "generate.fit.tries must be at least 1, got 0"),
        ({"fit.every": -1}, "generate.fit.every must be at least 0, got -1"),
        ({"fit.reach": -0.1}, r"generate.fit.reach must be at least 0, got -0\.1"),
        ({"fit.scale": (1.1, 1.6)}, "generate.fit.scale must be a range about 1"),
        ({"loss.opacity_entropy": 0.1}, "generate.loss.opacity_entropy must be 0"),
        ({"csd.every": 2}, "generate.csd.every must be 1, got 2"),
        ({"scene.bones.motion": "mlp"}, "skeleton must be 0 where nothing moves"),
    ],
)
def test_wrong_settings_are_answered_with_what_to_write(second, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        second(**changes)


def test_every_weight_that_is_read_adds_a_term(extracted, tiny):
    config = second_recipe()
    config = config.copy_and_resolve_references().unlock()
    for name in generation_losses.OWN_TERMS:
        config.loss[name] = 1.0
    state = tiny.start
    _, metrics = generation_losses.generation_losses(
        config, extracted.model, state.upkeep, extracted.skeleton, scale=1.0, count=8,
        step=jnp.array(0), key=jax.random.key(0),
    )  # fmt: skip
    found = {name.removeprefix("loss/") for name in metrics if "/" in name}
    assert set(generation_losses.OWN_TERMS) <= found


def test_the_published_size_lets_the_skeletons_terms_move_something():
    """There the network of time holds the bones: held still, nothing would follow."""
    whole = load_recipe("csd.py:paper").unlock()
    whole.generate.prompt = "a tiger"
    config = generation.stage_config(whole)
    generation.check(config)
    moving = generation.begun(config, jnp.array(0.0))
    assert config.scene.bones.motion == "mlp"
    assert moving["motion"] * config.optimizer.rates["motion"] > 0


def test_the_balls_lie_along_the_front_that_was_found(extracted, second):
    front = jnp.radians(60.0)
    plain, turned = second(), second(front=front)
    balls = [
        jax.jit(made.system.init)(jax.random.key(3), made.frozen).upkeep["aim"]
        for made in (plain, turned)
    ]
    expected = generation.aims(
        plain.config, extracted.model, jnp.asarray(STEPS), len(balls[1]), front
    )["aim"]
    np.testing.assert_allclose(balls[1], expected, atol=1e-5)
    assert np.abs(balls[0] - balls[1]).max() > 1e-4


def test_the_stage_recipe_is_the_first_one_with_its_own_sections_over_it():
    config = second_recipe(**{"run.steps": 9})
    assert config.run.steps == 9 and config.run.rigid == 0
    assert config.run.mesh_cells == tiny_recipe().run.mesh_cells
    assert config.prompt and config.optimizer.rates.camera == 0.0
