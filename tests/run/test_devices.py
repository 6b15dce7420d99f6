import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from adreamer_jax.run import devices

ROOT = Path(__file__).parents[2]


def test_only_the_affected_versions_need_the_flag():
    assert devices.slow_scatter(["0.10.2"])
    assert devices.slow_scatter(["0.10.1", "0.11.0"])
    assert devices.slow_scatter(["0.10.2.dev3"])
    assert not devices.slow_scatter([])
    assert not devices.slow_scatter(["0.10.1", "0.11.1", "0.12.0.1"])


def test_the_flag_is_set_beside_the_users_own_flags(monkeypatch):
    monkeypatch.setattr(devices, "cuda_versions", lambda: ["0.10.2"])
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    devices.set_backend(cache=None)
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=x {devices.SCATTER_FLAG}"
    devices.set_backend(cache=None)  # once is enough
    assert os.environ["XLA_FLAGS"].count(devices.SCATTER_FLAG) == 1


def test_without_a_plugin_nothing_is_set(monkeypatch):
    monkeypatch.setattr(devices, "cuda_versions", list)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    devices.set_backend(cache=None)
    assert "XLA_FLAGS" not in os.environ


def test_a_cache_that_cannot_be_made_is_no_error(monkeypatch, tmp_path):
    import jax

    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    devices.set_backend(cache=str(tmp_path / "file" / "cache"))
    assert jax.config.jax_compilation_cache_dir == before
    devices.set_backend(cache="~nobody-of-this-name/cache")  # a home nobody knows
    assert jax.config.jax_compilation_cache_dir == before


def test_importing_the_program_starts_no_backend():
    """A flag of XLA counts only before the first array is made."""
    lines = (
        "import adreamer_jax.run.pipeline, adreamer_jax.run.cli",
        "from jax._src import xla_bridge",
        "assert not xla_bridge.backends_are_initialized()",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=ROOT)


def test_memory_is_handed_back_where_that_can_be_done(monkeypatch):
    asked = []
    libraries = (
        SimpleNamespace(malloc_trim=asked.append),
        SimpleNamespace(),  # another C library
    )
    for library in libraries:
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name, c=library: c)
        devices.hand_back_memory()
    assert asked == [0]
