"""Kept arrays: the same back, whole or not at all, and never in the way."""

import numpy as np
import pytest

from adreamer_jax.data import cache
from adreamer_jax.data.cache import cached, content_hash


def test_the_name_depends_on_content_kind_and_shape():
    a = np.arange(6, dtype=np.int32)
    names = [
        content_hash(a, 1),
        content_hash(a, 2),
        content_hash(a.reshape(2, 3), 1),
        content_hash(a.view(np.float32), 1),
        content_hash(a + 1, 1),
        content_hash(a, None, 1),
    ]
    assert len(set(names)) == len(names)
    assert content_hash(a.copy(), 1) == names[0]
    assert content_hash(a.reshape(2, 3).T.copy().T, 1) == names[2]


def test_arrays_come_back_from_the_file(tmp_path):
    arrays = {"a": np.arange(3), "b": np.ones((2, 2), np.float16)}
    path = tmp_path / "deep" / "x.npz"
    cached(path, lambda: arrays)
    back = cached(path, lambda: pytest.fail("computed twice"))
    assert set(back) == {"a", "b"} and back["b"].dtype == np.float16
    np.testing.assert_array_equal(back["a"], arrays["a"])
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_file_is_computed_anew(tmp_path, keep):
    path = tmp_path / "x.npz"
    cached(path, lambda: {"a": np.arange(100)})
    path.write_bytes(path.read_bytes()[:keep])
    assert cached(path, lambda: {"a": np.ones(2)})["a"].sum() == 2
    assert cached(path, lambda: pytest.fail("not mended"))["a"].sum() == 2


def test_a_full_disk_costs_the_file_and_not_the_arrays(tmp_path, monkeypatch):
    def full(*args, **kw):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full)
    assert cached(tmp_path / "x.npz", lambda: {"a": np.ones(2)})["a"].sum() == 2
    assert list(tmp_path.iterdir()) == []


def test_a_break_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args, **kw):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.np, "savez", stop)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "x.npz", lambda: {"a": np.ones(2)})
    assert list(tmp_path.iterdir()) == []
