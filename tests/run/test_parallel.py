import math
import os
import re
import socket
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adreamer_jax.run import parallel
from adreamer_jax.run.log import read_metrics
from adreamer_jax.run.train import restore, train
from adreamer_jax.systems.animatable import make, train_step
from tests.run.common import read_end
from tests.run.toy import frozen_toy, run_section, toy
from tests.systems.small import fixed_prior
from tests.systems.tiny import tiny_clip, tiny_recipe


def advanced(count, steps=2):
    """Parameters and metrics of the toy after some steps on so many devices."""
    system, mesh = toy(), parallel.make_mesh(count)
    frozen = parallel.place(frozen_toy(), mesh)
    fresh = parallel.own(system.init(jax.random.key(1), frozen))
    state = parallel.place(fresh, mesh)
    key = parallel.hand_out(jax.random.key(2), mesh)
    advance = parallel.make_advance(system, mesh)
    for _ in range(steps):
        state, metrics = advance(state, frozen, key)
    return state, metrics


@pytest.fixture(scope="module")
def one():
    return advanced(1)


@pytest.mark.parametrize("count", [2, 8])
def test_many_devices_do_what_one_does(one, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        state, metrics = advanced(count)
    np.testing.assert_allclose(
        state.params["vector"], one[0].params["vector"], atol=1e-6
    )
    np.testing.assert_allclose(metrics["loss"], one[1]["loss"], rtol=1e-6)
    assert state.params["vector"].shape == one[0].params["vector"].shape
    assert len(state.params["vector"].devices()) == count


def test_the_state_is_taken_over_by_the_step():
    system, mesh = toy(), parallel.make_mesh(1)
    frozen = parallel.place(frozen_toy(), mesh)
    state = parallel.place(parallel.own(system.init(jax.random.key(1), frozen)), mesh)
    new, _ = parallel.make_advance(system, mesh)(state, frozen, jax.random.key(2))
    assert state.params["vector"].is_deleted()
    assert not new.params["vector"].is_deleted()


def test_own_copies_shared_buffers_and_hardens_types():
    array = jnp.ones(3)
    tree = parallel.own({"a": array, "b": array, "c": jnp.asarray(1.0) * 2})
    pointers = [leaf.unsafe_buffer_pointer() for leaf in tree.values()]
    assert len({*pointers, array.unsafe_buffer_pointer()}) == 4
    assert not tree["c"].weak_type


def test_too_many_devices_are_refused():
    with pytest.raises(ValueError, match=r"--config\.run\.devices=0"):
        parallel.make_mesh(len(jax.devices()) + 1)
    assert parallel.make_mesh(0).size == len(jax.devices())


def test_frames_that_do_not_divide_are_refused():
    system, mesh = toy(), parallel.make_mesh(3)
    frozen = parallel.place(frozen_toy(), mesh)
    state = parallel.place(parallel.own(system.init(jax.random.key(1), frozen)), mesh)
    key = parallel.hand_out(jax.random.key(2), mesh)
    with pytest.raises(
        ValueError, match=r"multiple of the 3 devices.*frames_per_step=9"
    ):
        parallel.make_advance(system, mesh)(state, frozen, key)


def test_a_run_that_began_on_eight_devices_goes_on_on_one(tmp_path):
    """Its checkpoint opens on one device, and on two of them after that."""
    for steps, devices in ((8, 8), (14, 1), (20, 2)):
        run = run_section(devices=devices)
        state = train(toy(steps), frozen_toy(), run, tmp_path / "moved", stage="toy")
        assert int(state.step) == steps
    alone = train(toy(20), frozen_toy(), run_section(), tmp_path / "one", stage="toy")
    np.testing.assert_allclose(
        state.params["vector"], alone.params["vector"], atol=1e-5
    )
    lines = read_metrics(tmp_path / "moved" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(2, 21, 2))


def test_what_says_the_processes_is_checked(monkeypatch):
    monkeypatch.delenv(parallel.PROCESSES, raising=False)
    parallel.join()
    assert parallel.is_first() and parallel.own_folder() == ""
    for words in ("localhost:1", "localhost:1,2", "localhost:1,two,0"):
        monkeypatch.setenv(parallel.PROCESSES, words)
        with pytest.raises(ValueError, match="must be address:port,count,number"):
            parallel.join()


def gradients_kept():
    """An optimizer that changes nothing and keeps the gradients as its state."""
    still = lambda g: jax.tree.map(jnp.zeros_like, g)
    return optax.GradientTransformation(still, lambda g, state, params: (still(g), g))


ALL_TERMS = {
    "data.frames_per_step": 8,
    "loss.feature": 0.1,
    "loss.match": 0.1,
    "loss.visibility": 0.1,
    "loss.hidden_visibility": 0.1,
    "loss.symmetry": 0.1,
    "loss.opacity_entropy": 0.1,
    "loss.skin_entropy": 0.1,
    "loss.bone_skin": 0.1,
    "loss.bone_mask": 0.1,
    "loss.bone": 0.1,
    "loss.bone_smooth": 0.1,
    "loss.csd": 1.0,
    "csd.groups": 3,  # on eight devices: five have nothing to do
    "csd.every": 1,
    "csd.resolution": 8,
    "csd.samples": 8,
    "run.rigid": 0,
}


ONLY_CSD = {
    **{f"loss.{name}": 0.0 for name in tiny_recipe().loss},
    "data.frames_per_step": 8,
    "loss.csd": 1.0,
    "csd.groups": 8,
    "csd.every": 1,
    "csd.resolution": 8,
    "csd.samples": 8,
    "run.rigid": 0,
}


def gradients(changes, folder, *, double=False):
    """Gradient and metrics of a step on one device and on eight; the latter's program.

    ``double`` has all numbers and sums in 64 bits.
    """
    with jax.enable_x64(double):
        config = tiny_recipe(**changes)
        prior = fixed_prior()
        wanted = jax.random.uniform(jax.random.key(8), (2, 8, 8, 3))
        clip = tiny_clip(features=5)
        system, frozen = make(config, clip, folder, prior=(prior, wanted))
        keep = gradients_kept()
        system = system._replace(step=partial(train_step, config, keep, prior))
        fresh = jax.jit(system.init)(jax.random.key(0), frozen)
        state = system.maintain(fresh, frozen, 0)
        if double:
            state, frozen = jax.tree.map(doubled, (state, frozen))
        state = state.replace(opt_state=keep.init(state.params))
        results, program = [], ""
        for count in (1, 8):
            mesh = parallel.make_mesh(count)
            arguments = (
                parallel.place(parallel.own(state), mesh),
                parallel.place(frozen, mesh),
                parallel.hand_out(jax.random.key(5), mesh),
            )
            advance = parallel.make_advance(system, mesh)
            if count > 1:
                program = advance.lower(*arguments).compile().as_text()
            after, metrics = advance(*arguments)
            leaves = map(np.ravel, jax.tree.leaves(after.opt_state))
            flat = np.concatenate([*leaves])
            results.append((flat, jax.tree.map(np.asarray, metrics)))
    return results, program


def doubled(leaf):
    """A leaf in 64 bits; what is no float as it was."""
    single = getattr(leaf, "dtype", None) == jnp.float32
    return leaf.astype(jnp.float64) if single else leaf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "limit"), [(ALL_TERMS, 5e-6), (ONLY_CSD, 3e-6)], ids=["all", "csd"]
)
def test_eight_devices_have_loss_and_gradient_of_one(tmp_path, changes, limit):
    """Every term or the prior alone, and one reduction of gradients.

    The prior's groups are summed in another order. So are the second derivatives and
    the large sums of the other terms, at a few times float32's own precision.
    """
    ((one, a), (eight, b)), program = gradients(changes, tmp_path)
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=2e-5, atol=1e-7, err_msg=name)
    assert float(b["loss"]) == pytest.approx(float(a["loss"]), rel=1e-6)
    error = np.linalg.norm(eight - one) / np.linalg.norm(one)
    assert error < limit, error
    sizes = reduced(program)
    assert sum(size >= len(one) for size in sizes) == 1, sizes
    assert sum(sizes) < 2.2 * len(one) + 10_000  # both gradients, and few numbers


@pytest.mark.slow
def test_only_rounding_tells_the_prior_on_eight_devices_from_one(tmp_path):
    """In 64 bits nothing is left of the difference: keys and shares are the same."""
    ((one, a), (eight, b)), _ = gradients(ONLY_CSD, tmp_path, double=True)
    assert one.dtype == np.float64
    for name in a:  # some are said in 32 bits
        np.testing.assert_allclose(b[name], a[name], rtol=1e-6, atol=1e-7, err_msg=name)
    assert np.linalg.norm(eight - one) < 1e-9 * np.linalg.norm(one)


def reduced(program):
    """How many numbers every all-reduce of a compiled program has."""
    sizes = []
    for line in program.splitlines():
        if re.search(r"= .* all-reduce(-start)?\(", line):
            shapes = re.findall(r"f32\[([0-9,]*)\]", line.split("all-reduce")[0])
            sizes.append(
                sum(math.prod(int(n) for n in s.split(",") if n) for s in shapes)
            )
    return sizes


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """Two programs on two devices each, their checkpoints, and a restart."""
    here = Path(__file__).parent
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {
        "PYTHONPATH": str(here.parents[1]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    for steps in (8, 20):
        started = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(here / "one_of_two.py"),
                    str(tmp_path),
                    str(steps),
                ],
                env=environment | {parallel.PROCESSES: f"{address},2,{number}"},
            )
            for number in range(2)
        ]
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    alone = train(toy(20), frozen_toy(), run_section(), tmp_path / "one", stage="toy")
    for ours, other in zip(read_end(tmp_path), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-5)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(2, 21, 2))
    second = read_metrics(tmp_path / "processes" / "1" / "metrics.jsonl")
    assert [line["loss"] for line in second] == [line["loss"] for line in lines]
    reread = restore(toy(20), frozen_toy(), run_section(), tmp_path, stage="toy")
    np.testing.assert_allclose(
        reread.params["vector"], alone.params["vector"], atol=1e-5
    )
