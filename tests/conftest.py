"""Settings of all tests: eight host devices, one compilation cache, a key."""

import gc
import os
import resource
import tempfile
from pathlib import Path

# Both are read when the first array is made, so they come before anything of jax.
_flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in _flags:
    os.environ["XLA_FLAGS"] = f"{_flags} --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_cache = Path(tempfile.gettempdir()) / f"adreamer_jax_tests_{os.getuid()}"

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import logging  # noqa: E402

LARGE_KIB = 1_500_000  # of a test process; two of them must fit into a small machine
logging.set_verbosity(logging.WARNING)
jax.config.update("jax_compilation_cache_dir", str(_cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def key():
    """One key for everybody; tests fold in what they need."""
    return jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs go after a file of tests once there are many of them."""
    yield
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE_KIB:
        jax.clear_caches()
        gc.collect()
