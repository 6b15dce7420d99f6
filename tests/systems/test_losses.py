"""Every term of the objective alone, all together, and none."""

import jax
import numpy as np
import pytest

from adreamer_jax.systems.animatable.losses import extraction_losses
from tests.systems.tiny import tiny_clip, tiny_recipe

NAMES = sorted(set(tiny_recipe().loss) - {"csd"})  # the prior comes apart
FEATURES = 5


def weights(*on):
    return {f"loss.{name}": float(name in on) for name in NAMES}


@pytest.fixture(scope="module")
def full(builder):
    """A system with all terms on, its state with bones, and one batch."""
    changes = weights(*NAMES) | {"scene.skin.delta": True, "run.rigid": 0}
    built = builder(tiny_clip(features=FEATURES), **changes)
    state = built.system.maintain(built.start, built.frozen, 0)
    batch = built.sample(built.frozen, jax.random.key(0), state.step)
    return built, state, batch


def losses(config, built, state, batch):
    return lambda model: extraction_losses(
        config, model, state.upkeep, built.frozen, batch, state.step, jax.random.key(1)
    )


def test_all_terms_together_are_finite_and_pull(full):
    built, state, batch = full
    function = losses(built.config, built, state, batch)
    (total, metrics), gradient = jax.jit(jax.value_and_grad(function, has_aux=True))(
        state.params
    )
    terms = {name: metrics[f"loss/{name}"] for name in NAMES}
    assert all(np.isfinite(v) and v >= 0 for v in terms.values()), terms
    assert sum(terms.values()) == pytest.approx(float(total), rel=1e-4)
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(leaf))
    for part in (gradient.field.shape, gradient.field.paint, gradient.field.feature,
                 gradient.bones.motion, gradient.bones.log_scale, gradient.bones.delta,
                 gradient.pose.correction):  # fmt: skip
        assert any(np.any(leaf) for leaf in jax.tree.leaves(part))


@pytest.mark.parametrize("name", NAMES)
def test_each_term_can_stand_alone(full, name):
    built, state, batch = full
    changes = weights(name) | {"scene.skin.delta": True, "run.rigid": 0}
    alone = tiny_recipe(**changes)
    _, metrics = jax.eval_shape(losses(alone, built, state, batch), state.params)
    assert [k for k in metrics if k.startswith("loss/")] == [f"loss/{name}"]


def test_without_terms_there_is_nothing_to_learn(full):
    built, state, batch = full
    nothing = tiny_recipe(**weights())
    _, metrics = jax.eval_shape(losses(nothing, built, state, batch), state.params)
    assert not [k for k in metrics if k.startswith("loss/")]


def test_a_ramp_multiplies_its_term(full):
    built, state, batch = full
    values = []
    for knots in ((), ((0.0, 0.25),)):
        config = tiny_recipe(**weights("motion_size"))
        config.ramp.motion_size = knots
        moving = state.params.replace(
            bones=state.params.bones.replace(motion=state.params.bones.motion + 0.1)
        )
        values.append(jax.jit(losses(config, built, state, batch))(moving)[0])
    assert (
        values[1] == pytest.approx(0.25 * float(values[0]), rel=1e-5) and values[0] > 0
    )
