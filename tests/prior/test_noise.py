"""Schedules and samplers against diffusers' numbers, and the laws between the forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from adreamer_jax.prior import noise
from tests.prior.golden_unets import FOLDER

SD = noise.make_schedule()


@pytest.fixture(scope="module")
def golden():
    return load_file(FOLDER / "schedulers" / "io.safetensors")


def network(x, t):
    """The fixed function that the reference trajectories took as a network."""
    return 0.7 * x * jnp.cos(t / 1000) + 0.1 * jnp.sin(3 * x)


def trajectory(schedule, start, *, eta=0.0, fresh=None):
    steps = noise.timesteps(schedule, 10)
    before = [*(steps - 100)[:-1], -1]
    states = [start]
    for i, (t, t_before) in enumerate(zip(steps, before, strict=True)):
        extra = None if fresh is None else fresh[i]
        out = network(states[-1], t)
        states.append(
            noise.ddim_step(
                schedule, out, states[-1], t, t_before, eta=eta, noise=extra
            )
        )
    return np.stack(states)


def test_three_forms_of_a_prediction_are_one_thing():
    keys = jax.random.split(jax.random.key(0), 2)
    clean, e = (jax.random.normal(k, (3, 4, 4, 2)) for k in keys)
    t = jnp.array([3, 400, 950])
    z = noise.add_noise(SD, clean, e, t)
    outputs = {
        "epsilon": e,
        "v_prediction": noise.velocity(SD, clean, e, t),
        "sample": clean,
    }
    for prediction, output in outputs.items():
        schedule = SD.replace(prediction=prediction)
        np.testing.assert_allclose(
            noise.clean_of(schedule, output, z, t), clean, atol=2e-5
        )
        np.testing.assert_allclose(
            noise.epsilon_of(schedule, output, z, t), e, atol=2e-5
        )


def test_alphas_are_those_of_diffusers_and_of_ldm(golden):
    np.testing.assert_allclose(SD.alphas_cumprod, golden["alphas_cumprod"], rtol=2e-6)
    np.testing.assert_array_equal(SD.alphas_cumprod, golden["alphas_cumprod_ldm"])
    betas = noise.betas("scaled_linear", start=0.00085, end=0.012, steps=1000)
    np.testing.assert_allclose(betas, golden["betas"], rtol=1e-6)


def test_noised_samples_and_velocities(golden):
    t = golden["t"].astype(np.int32)
    args = (SD, golden["x0"], golden["noise"], t)
    np.testing.assert_allclose(noise.add_noise(*args), golden["add_noise"], atol=2e-5)
    np.testing.assert_allclose(noise.velocity(*args), golden["velocity"], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "settings", "eta"),
    [
        ("eps", {}, 0.0),
        ("v", {"prediction": "v_prediction"}, 0.0),
        ("eps_eta1", {}, 1.0),
        ("eps_offset0_one", {"steps_offset": 0, "alpha_one": True}, 0.0),
    ],
)
def test_ddim_walks_as_diffusers_does(golden, name, settings, eta):
    schedule = noise.make_schedule(**settings)
    expected = golden[f"ddim_{name}_traj"]
    fresh = golden["eta1_noise"] if eta else None
    steps = noise.timesteps(schedule, 10)
    np.testing.assert_array_equal(steps, golden[f"ddim_{name}_timesteps"])
    found = trajectory(schedule, expected[0], eta=eta, fresh=fresh)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_ddpm_posterior(golden):
    schedule = noise.make_schedule(steps_offset=0)
    steps = noise.timesteps(schedule, 10)
    np.testing.assert_array_equal(steps, golden["ddpm_timesteps"])
    start = golden["ddim_eps_traj"][0]
    for i, t in enumerate(steps):
        mean, variance = noise.ddpm_posterior(
            schedule, network(start, t), start, t, t - 100
        )
        np.testing.assert_allclose(mean, golden["ddpm_posterior_mean"][i], atol=2e-5)
        np.testing.assert_allclose(variance, golden["ddpm_variance"][i], atol=2e-5)


def test_a_full_ddim_chain_of_the_perfect_network_ends_in_the_clean_sample():
    clean = jax.random.normal(jax.random.key(1), (2, 3, 3, 4))
    z = jax.random.normal(jax.random.key(2), clean.shape)
    schedule = noise.make_schedule(prediction="sample", alpha_one=True)
    steps = noise.timesteps(schedule, 7)
    for t, t_before in zip(steps, [*steps[1:], -1], strict=True):
        z = noise.ddim_step(schedule, clean, z, t, t_before)
    np.testing.assert_allclose(z, clean, atol=1e-5)


def test_the_cosine_keeps_a_finite_share_everywhere():
    schedule = noise.make_schedule(kind="squaredcos_cap_v2")
    time = (np.arange(1, 900) / 1000 + 0.008) / 1.008
    cosine = np.cos(time * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(schedule.alphas_cumprod[:899], cosine, atol=1e-6)
    assert float(schedule.alphas_cumprod[-1]) > 0


@pytest.mark.parametrize(
    "settings", [{"kind": "quadratic"}, {"prediction": "score"}], ids=str
)
def test_unknown_settings_are_named(settings):
    with pytest.raises(ValueError, match=r"must be .* got"):
        noise.make_schedule(**settings)


def test_an_offset_leaves_no_step_behind_the_last():
    shifted = noise.make_schedule(steps_offset=1)
    assert noise.timesteps(shifted, 500)[0] == 999
    with pytest.raises(ValueError, match="room for the schedule's offset of 1"):
        noise.timesteps(shifted, 1000)


@pytest.mark.parametrize("count", [0, 1001])
def test_impossible_numbers_of_steps_are_refused(count):
    with pytest.raises(ValueError, match=f"must be in 1 ... 1000, got {count}"):
        noise.timesteps(SD, count)
