"""JAX for all tests: float64 allowed, and compilation cheap."""

import os
import tempfile

import pytest

# Compiling for speed takes most of the time of tests this small. It changes neither XLA's graph passes, which decide
# what is fused and rounded where, nor its library calls. Set XLA_FLAGS to run as users do.
flags = "--xla_backend_optimization_level=0"
if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: threads of its own would wait for the others'
    flags += " --xla_cpu_multi_thread_eigen=false"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", flags)


@pytest.fixture(scope="session", autouse=True)
def jax_for_tests():
    """Twins are compared in float64 first. Compiled programs are kept for the session by their content, never by the
    function that they came from: a program changed by a planted bug is compiled anew."""
    jax = pytest.importorskip("jax")
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        yield
        jax.config.update("jax_compilation_cache_dir", None)
