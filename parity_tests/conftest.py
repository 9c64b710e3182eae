"""JAX for all tests: float64 allowed, compilation cheap, and no more memory than one module needs."""

import ctypes
import gc
import os
import shutil
import sys
import tempfile
import zlib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.version import Version

from unet_data.memory import resident

ENOUGH = 1600 * 2**20
"""Resident bytes above which a process drops its compiled programs after a test; the disk still has them."""


def knows_fusion_emitters() -> bool:
    """Whether XLA has the flag: it ends the process at one that it lacks."""
    try:
        return Version("0.7") <= Version(version("jaxlib")) < Version("0.11")
    except PackageNotFoundError:
        return False


def flags_of_xla(tests: str) -> str:
    """The flags for tests that are chosen by this expression of markers.

    Compiling takes most of the time of tests this small, so LLVM does not optimise. Default tests take XLA's older
    emitters of loops, too, which compile 2.5 times as fast. With them one training (probabilistic-unet, float64) is
    1e-8 off after 20 steps, so that slow tests, which hold trainings to 1e-10, take those of today.
    """
    flags = ["--xla_backend_optimization_level=0"]
    without_slow = tests.count("slow") == tests.count("not slow") > 0
    if without_slow and knows_fusion_emitters():
        flags.append("--xla_cpu_use_fusion_emitters=false")
    if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: threads of its own would wait for the others'
        flags.append("--xla_cpu_multi_thread_eigen=false")
    return " ".join(flags)


COMPILED = "UNET_TESTS_COMPILED"
"""The environment variable with the folder of compiled programs, which all processes of a run of the tests share."""

SHARE = "UNET_TESTS_SHARE"
"""The environment variable with I/N: slow tests that are repeated for every network run only for the I-th of N parts of
the networks, chosen by their names. Without it, for all; tests of any other kind always run."""

SINGLY = ("test_every_family.py", "test_kills.py", "test_fuzz.py")


def pytest_collection_modifyitems(config, items):
    """Leaves out what is not in the share."""
    share = os.environ.get(SHARE)
    if not share:
        return
    number, _, of = share.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise pytest.UsageError(f"{SHARE}={share}: give I/N with 1 ≤ I ≤ N, such as 1/4")
    at, parts = int(number) - 1, int(of)
    left_out = {item for item in items if (name := network_of(item)) and zlib.crc32(name.encode()) % parts != at}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def network_of(item) -> str:
    """The network that a slow test is run on, where it is one of its parameters; else ""."""
    from unet_spec import FAMILIES

    from .battery.cases import CASES

    if "slow" not in item.keywords or not hasattr(item, "callspec"):
        return ""
    names = (getattr(value, "name", value) for value in item.callspec.params.values())
    return next((name for name in names if isinstance(name, str) and (name in CASES or name in FAMILIES)), "")


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Set XLA_FLAGS, even to nothing, to compile as users do; CI does so with the battery of one network.
    os.environ.setdefault("XLA_FLAGS", flags_of_xla(config.option.markexpr))
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
