"""Which tests run a line: measured once for a tree, by coverage contexts, and kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from .. import ROOT

TESTS = {
    "unet_spec": "spec", "unet_data": "data", "unet_jax": "jax", "unet_torch": "torch", "unet_export": "export",
    "unet_tools": "tools",
}  # fmt: skip
"""Rooms and the folders of parity_tests that test them."""
FOLDERS = {"unet_export": "export/unet_export", "unet_tools": "tools/unet_tools"}


def modules(room: str) -> list[Path]:
    """The modules of a room, from the root."""
    folder = ROOT / FOLDERS.get(room, room)
    return sorted(p.relative_to(ROOT) for p in folder.rglob("*.py") if p.name != "__init__.py")


def environment(root: Path) -> dict[str, str]:
    paths = os.pathsep.join(map(str, (root, root / "export", root / "tools")))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def tests_by_line(room: str, tests: list[str], cache: Path) -> dict[str, dict[int, list[str]]]:
    """By module and line: the tests that run it. `tests`: paths to measure; `cache`: keeps one file for each tree."""
    import coverage

    digest = hashlib.sha256("\0".join([room, *tests]).encode())
    for file in [*modules(room), *(p for t in tests for p in sorted((ROOT / t).rglob("*.py")))]:
        digest.update((ROOT / file).read_bytes())
    store = cache / f"{room}-{digest.hexdigest()[:16]}.coverage"
    if not store.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = store.with_suffix(".part")
        source = FOLDERS.get(room, room)
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--cov-report="]
        command += [f"--cov={source}", "--cov-context=test", *tests]
        subprocess.run(command, cwd=ROOT, env=environment(ROOT) | {"COVERAGE_FILE": str(part)}, check=False)
        part.rename(store)
    data = coverage.CoverageData(str(store))
    data.read()
    return {
        Path(file).relative_to(ROOT).as_posix(): {
            line: sorted({name.split("|")[0] for name in names if name})
            for line, names in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
