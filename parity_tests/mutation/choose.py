"""Which tests run a line: measured by one run of the default tests (coverage contexts), and kept for a tree."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from .. import ROOT
from ..coverage_by_room import LEFT_OUT

ROOMS = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "unet_export", "unet_tools")
FOLDERS = {"unet_export": "export/unet_export", "unet_tools": "tools/unet_tools"}
DEAREST = 60.0
"""Seconds of tests that are tried on a mutant, besides those of its module's own file."""
MOST = 40
"""Number of tests that are tried on a mutant, likewise."""


@dataclass(frozen=True)
class Measured:
    """What a run of the tests showed.

    Attributes:
        lines: by module and line, the names of the tests that run it.
        seconds: by test, how long it took.
    """

    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests_of(self, path: str, first: int, last: int) -> list[str]:
        """The tests that run these lines: those of the module's own test file, then the shortest others.

        Lines that run when their module is imported belong to no test; all tests of the module are taken for them."""
        ran = self.lines.get(path, {})
        found = [ran[line] for line in range(first, last + 1) if line in ran]
        if found and not any(found):
            found = list(ran.values())
        own = f"/test_{Path(path).name}::"
        every = sorted({t for tests in found for t in tests}, key=lambda t: (own not in t, self.seconds.get(t, 1.0), t))
        chosen, spent = [], 0.0
        for test in every:
            spent += 0.0 if own in test else self.seconds.get(test, 1.0)
            if own not in test and (spent > DEAREST or len(chosen) >= MOST):
                break
            chosen.append(test)
        return chosen


def modules(room: str) -> list[Path]:
    """The modules of a room, from the root, without those that other stages of CI run (`coverage_by_room.LEFT_OUT`)."""
    every = (ROOT / FOLDERS.get(room, room)).rglob("*.py")
    kept = (p for p in every if p.name != "__init__.py" and not any(part in p.as_posix() for part in LEFT_OUT))
    return sorted(p.relative_to(ROOT) for p in kept)


def environment(root: Path) -> dict[str, str]:
    paths = os.pathsep.join(map(str, (root, root / "export", root / "tools")))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def measured(cache: Path) -> Measured:
    """The run of the default tests in this tree. `cache`: folder that keeps two files for each tree."""
    digest = hashlib.sha256()
    for file in sorted([*(p for room in ROOMS for p in modules(room)), *(ROOT / "parity_tests").rglob("*.py")]):
        digest.update((ROOT / file).read_bytes())
    store = cache / f"{digest.hexdigest()[:16]}.coverage"
    if not store.exists():
        print("measuring which tests run which lines: one run of the default tests", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        part = store.with_suffix(".part")
        command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "--cov"]
        command += ["--cov-report=", "--cov-context=test", f"--junitxml={store.with_suffix('.xml')}"]
        subprocess.run(command, cwd=ROOT, env=environment(ROOT) | {"COVERAGE_FILE": str(part)}, check=False)
        part.rename(store)
    return Measured(_lines(store), _seconds(store.with_suffix(".xml")))


def _lines(store: Path) -> dict[str, dict[int, list[str]]]:
    import coverage

    data = coverage.CoverageData(str(store))
    data.read()
    return {
        Path(file).relative_to(ROOT).as_posix(): {
            line: sorted({name.split("|")[0] for name in names if name})
            for line, names in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
        if Path(file).is_relative_to(ROOT)
    }


def _seconds(report: Path) -> dict[str, float]:
    """By test, from pytest's XML report."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        *_, module = [p for p in _prefixes(case.get("classname", "")) if (ROOT / p).is_file()] or [""]
        found[f"{module}::{case.get('name')}"] = float(case.get("time", 0))
    return found


def _prefixes(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return ["/".join(parts[:end]) + ".py" for end in range(1, len(parts) + 1)]
