"""Settings of JAX for all tests: float64, fast compilation, limited memory."""

import ctypes
import gc
import os
import shutil
import sys
import tempfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.version import Version

from unet_data.memory import resident

ENOUGH = 2000 * 2**20
"""Resident bytes above which a process drops its compiled programs after a test; they stay in the cache on disk."""


def jaxlib_from(first: str, before: str = "1") -> bool:
    """Whether jaxlib is of these versions. An XLA flag that it does not know ends the process."""
    try:
        return Version(first) <= Version(version("jaxlib")) < Version(before)
    except PackageNotFoundError:
        return False


def flags_of_xla(tests: str) -> str:
    """XLA's flags for the tests that this marker expression selects.

    Compilation takes most of the time of small tests, so LLVM's optimisation is off, and a program is not split into
    parts that threads compile, which costs 40 % more processor time. Default tests also use XLA's older loop emitters,
    which compile 2.5 times as fast. With them one training (probabilistic-unet, float64) differs by 1e-8 after 20
    steps, so slow tests, whose bound is 1e-10, use the current emitters.
    """
    flags = ["--xla_backend_optimization_level=0"]
    if jaxlib_from("0.5", "0.11"):
        flags.append("--xla_cpu_parallel_codegen_split_count=1")
    without_slow = tests == "parity" or tests.count("slow") == tests.count("not slow") > 0
    if without_slow and jaxlib_from("0.7", "0.11"):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core; more threads would wait for each other
        flags.append("--xla_cpu_multi_thread_eigen=false")
    return " ".join(flags)


COMPILED = "UNET_TESTS_COMPILED"
"""Environment variable with the folder of compiled programs, which all processes of a test run share."""

TEMPORARY = "unet-tests-"
"""Beginning of the name of that folder if it is removed after the run."""

LARGEST = 500 * 2**20
"""Bytes of compiled programs above which a run begins without those of earlier runs."""

SHARE = "UNET_TESTS_SHARE"
"""Environment variable I/N: slow tests that are repeated for every network run only for the I-th of N parts of the
networks, chosen by name. Of the other slow tests, an odd part has one half of the files, an even part the other.
Without it, all slow tests run. Other tests always run."""

SINGLY = ("test_every_family.py", "test_kills.py", "test_fuzz.py", "test_mutants.py")


def pytest_collection_modifyitems(config, items):
    """Deselects tests that are not in this share."""
    share = os.environ.get(SHARE)
    if not share:
        return
    number, _, of = share.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise pytest.UsageError(f"{SHARE}={share}: give I/N with 1 ≤ I ≤ N, such as 1/4")
    at, parts = int(number) - 1, int(of)
    left_out = {item for item in items if "slow" in item.keywords and not in_share(item, at, parts)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def in_share(item, at, parts):
    """Whether a slow test belongs to the part `at`, from 0."""
    if name := network_of(item):
        return zlib.crc32(name.encode()) % parts == at
    return parts == 1 or zlib.crc32(item.nodeid.partition("::")[0].encode()) % 2 == at % 2


def network_of(item) -> str:
    """The network of a slow test, if it is one of its parameters; otherwise ""."""
    from unet_spec import FAMILIES

    from .battery.cases import CASES

    if not hasattr(item, "callspec"):
        return ""
    names = (getattr(value, "name", value) for value in item.callspec.params.values())
    return next((name for name in names if isinstance(name, str) and (name in CASES or name in FAMILIES)), "")


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Set XLA_FLAGS, even to "", to compile as users do; CI does so for the battery of one network.
    os.environ.setdefault("XLA_FLAGS", flags_of_xla(config.option.markexpr))
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[COMPILED] = str(compiled_programs(config))


def compiled_programs(config) -> Path:
    """The folder of compiled programs: in pytest's cache, so that later runs read what earlier ones compiled.

    `pytest --cache-clear` removes it. Without pytest's cache (`-p no:cacheprovider`, or a checkout that cannot be
    written), it is a temporary folder.
    """
    try:
        folder = config.cache.mkdir("compiled")
    except (AttributeError, OSError):
        return Path(tempfile.mkdtemp(prefix=TEMPORARY))
    if sum(file.stat().st_size for file in folder.iterdir()) > LARGEST:
        shutil.rmtree(folder)
        folder.mkdir()
    return folder


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = Path(os.environ.pop(COMPILED))
        if folder.name.startswith(TEMPORARY):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file run in one process, so that its fixtures are set up once. Tests of the battery are grouped by
    network. Those of SINGLY are distributed one by one: they take longest, and share nothing or what is soon made."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            if file.endswith(SINGLY):
                return nodeid
            return nodeid.rpartition("-")[0] if file.endswith("test_battery.py") else file

    config.option.loadscopereorder = False  # otherwise files with few tests, including the longest, would run last
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def jax_for_tests():
    """Twins are compared in float64 first. Compiled programs are cached by their content, not by their function, so
    that a program with a planted bug is compiled again."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def pytest_runtest_teardown():
    if "jax" in sys.modules and resident() > ENOUGH:
        if step := sys.modules.get("unet_jax.training.step"):
            step.forget_shared_steps()
        sys.modules["jax"].clear_caches()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # otherwise glibc keeps the memory, and the next test would clear again
