"""JAX for all tests: float64 allowed, compilation cheap, and no more memory than one module needs."""

import ctypes
import gc
import os
import shutil
import sys
import tempfile

import pytest

from unet_data.memory import resident

ENOUGH = 1600 * 2**20
"""Resident bytes above which a process drops its compiled programs after a test; the disk still has them."""

# Compiling for speed takes most of the time of tests this small. It changes neither XLA's graph passes, which decide
# what is fused and rounded where, nor its library calls. Set XLA_FLAGS to run as users do.
flags = "--xla_backend_optimization_level=0"
if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: threads of its own would wait for the others'
    flags += " --xla_cpu_multi_thread_eigen=false"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", flags)


COMPILED = "UNET_TESTS_COMPILED"
"""The environment variable with the folder of compiled programs, which all processes of a run of the tests share."""


SINGLY = ("test_every_family.py", "test_kills.py", "test_fuzz.py")


def pytest_configure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[COMPILED] = tempfile.mkdtemp(prefix="unet-tests-")


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop(COMPILED), ignore_errors=True)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file go to one process: its fixtures are set up once. Those of the battery go by network, and
    those of SINGLY each for itself, since they take longest and share nothing."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            if file.endswith(SINGLY):
                return nodeid
            return nodeid.rpartition("-")[0] if file.endswith("test_battery.py") else file

    config.option.loadscopereorder = False  # else files of few tests, the longest among them, come last
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def jax_for_tests():
    """Twins are compared in float64 first. Compiled programs are kept for the session by their content, never by the
    function that they came from: a program changed by a planted bug is compiled anew."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def pytest_runtest_teardown():
    if "jax" in sys.modules and resident() > ENOUGH:
        sys.modules["jax"].clear_caches()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # which glibc keeps otherwise: the next test would clear again
