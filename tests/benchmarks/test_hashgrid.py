"""The contestants of the hash grid compute the same thing."""

import jax
import numpy as np

from adreamer_jax.core.hashgrid import encode, init_grid
from benchmarks import hashgrid


def test_the_plain_form_is_the_same_function():
    spec, _ = hashgrid.SIZES["tiny"]
    tables = init_grid(jax.random.key(0), spec, scale=1.0)
    points = jax.random.uniform(jax.random.key(1), (50, 3))
    ours = encode(tables, points, spec)
    np.testing.assert_allclose(hashgrid.plain(tables, points, spec), ours, atol=1e-5)


def test_it_prints_a_table(monkeypatch, capsys):
    words = ["hashgrid.py", "--size=tiny", "--repeats=1"]
    monkeypatch.setattr("sys.argv", words)
    hashgrid.main()
    out = capsys.readouterr().out
    assert "eikonal" in out and "plain / ours" in out
