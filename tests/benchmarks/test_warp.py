"""The contestants of the warp move points alike; the matrix form is exact enough."""

import jax
import jax.numpy as jnp
import numpy as np

from adreamer_jax.core import rotation
from adreamer_jax.types import Rigid
from benchmarks import warp


def test_linear_forms_are_the_same_function():
    a, b, c = jax.random.split(jax.random.key(0), 3)
    pose = Rigid(
        rotation.normalize(jax.random.normal(a, (4, 4))),
        0.3 * jax.random.normal(b, (4, 3)),
    )
    motion = Rigid(pose.rotation, pose.translation + 0.1)
    points = jax.random.uniform(c, (30, 3))
    log_scale = jnp.full((4, 3), -1.5)
    fast, slow = (
        warp.warp(*warp.FORMS[name], pose, log_scale, motion, points)
        for name in ("matrix products, linear", "direct, linear")
    )
    np.testing.assert_allclose(fast, slow, atol=1e-4)
    assert warp.logit_error(pose, log_scale, points) < 0.01


def test_it_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["warp.py", "--points=64", "--bones=3", "--repeats=1"]
    )
    warp.main()
    assert "direct, linear" in capsys.readouterr().out
