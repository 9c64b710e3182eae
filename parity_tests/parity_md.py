"""Writes PARITY.md and its details: measured errors, their bounds, and comparisons that were not run, with reasons.

    python -m parity_tests.parity_md                       run all comparisons that are not slow, write both files
    python -m parity_tests.parity_md --from RECORD         the same, from a test run with PARITY_RECORD=RECORD
    python -m parity_tests.parity_md --from RECORD --check compare with both files: exit code 1 if one is stale

PARITY.md is a summary: a row for each check and dtype, and the reasons why comparisons were left out.
`parity_tests/fixtures/parity.json` has every comparison of every network. A file is stale if a case, check, runtime or
dtype was added or removed, or if a reason changed. Measured numbers differ between machines and are not compared; each
must be within its bound.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unet_spec.files import replacing

from . import FIXTURES, ROOT
from .battery import CASES, CHECKS, Measurement, plan

PAGE = ROOT / "PARITY.md"
DETAILS = FIXTURES / "parity.json"
INTRODUCTION = """# Parity

What was compared between the twins, the float64 NumPy reference and the ONNX graphs; the worst error; and the bound
that it must keep. A runtime alone was compared with the reference, two runtimes with each other.

- An error is the largest difference, relative to the largest magnitude of the tensor. Where tensors must be the same
  bits, those that differ are counted, and the bound is 0.
- A float32 bound follows from the noise floor measured in the same run, so it differs from network to network.
- Each row shows the network and runtime nearest to the bound. All others: `parity_tests/fixtures/parity.json`.

Written by `python -m parity_tests.parity_md`; compared with a new run by `.ci/run`."""
ELSEWHERE = (
    ("no GPU was present", "engines of TensorRT and TensorRT-RTX", "all"),
    ("no GPU was present", "JAX and PyTorch on a GPU, with TF32 off and on, in bfloat16", "all"),
)
"""Comparisons that the battery lacks: reason, comparison, networks."""
SLOW = "runs with `-m slow`: CI runs it for a quarter of the networks in turn, a release for all; not recorded here"
_NUMBER = re.compile(r"\b\d(\.\d+)?e[-+]\d+\b|(?<= )0(?= )")


def record(measurements: list[Measurement]) -> None:
    """Appends measurements to the file PARITY_RECORD, if it is set."""
    if path := os.environ.get("PARITY_RECORD"):
        lines = "".join(json.dumps(dataclasses.asdict(m)) + "\n" for m in measurements)
        with Path(path).open("ab", buffering=0) as file:  # one write, since several test processes share the file
            file.write(lines.encode())


def read_record(path: Path) -> list[Measurement]:
    """Reads what `record` wrote. For each check and pair of runtimes, the comparison nearest to its bound."""
    nearest: dict[tuple[str, ...], Measurement] = {}
    for line in path.read_text().splitlines():
        m = Measurement(**json.loads(line))
        key = (m.case, m.check, m.runtime, m.dtype, m.where if not m.bound else "")
        if key not in nearest or _share(m) >= _share(nearest[key]):
            nearest[key] = m
    return list(nearest.values())


def _share(m: Measurement) -> float:
    """The error relative to its bound; infinite if the bound is 0 and the error is not, or if the check crashed."""
    if m.crash or not m.worst <= m.bound:
        return float("inf") if m.crash or not m.bound else m.worst / m.bound
    return m.worst / m.bound if m.bound else 0.0


def render(measurements: list[Measurement]) -> str:
    """The page, in Markdown."""
    failed = sum(not m.passed for m in measurements)
    counts = f"{len(measurements)} comparisons on {len({m.case for m in measurements})} networks"
    lines = [INTRODUCTION, _machine(), "", f"{counts}, {failed} over their bound.", "", *_table(measurements)]
    return "\n".join([*lines, "", "## Not run, and why", "", *_not_run(measurements), ""])


def _machine() -> str:
    packages = ("jax", "flax", "torch", "onnxruntime", "numpy")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"Measured on {platform.machine()}, {os.cpu_count()} cores, no GPU; {versions}"


def _table(measurements: list[Measurement]) -> list[str]:
    """A row for each check and dtype: the comparison nearest to its bound, and the number of networks."""
    rows: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        rows[m.check, m.dtype].append(m)
    lines = ["| check | what was compared | runtimes | dtype | networks | worst error | bound |"]
    lines += ["|---|---|---|---|---:|---:|---:|"]
    before = ""
    for (check, dtype), of_row in sorted(rows.items()):
        worst = max(of_row, key=_share)
        first = (check, _what(check)) if check != before else ("", "")
        runtimes = "; ".join(sorted({m.runtime for m in of_row if m.runtime}))
        counts = len({m.case for m in of_row}), _number(worst.worst), _number(worst.bound)
        lines.append("| " + " | ".join(map(str, (*first, runtimes, dtype, *counts))) + " |")
        before = check
    return lines


def _what(check: str) -> str:
    """The first line of a check's docstring."""
    return (CHECKS[check].function.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def left_out(measurements: list[Measurement]) -> dict[str, dict[str, list[str]]]:
    """For each reason and check, the names of the networks on which it was not run."""
    ran = {(m.case, m.check) for m in measurements}
    reasons: dict[str, dict[str, list[str]]] = {}
    for (case, name, reason), (_, _, slow) in zip(plan(slow=True), plan(), strict=True):
        if (case.name, name) not in ran:
            why = reason or (SLOW if slow else "this run left it out")
            reasons.setdefault(why, {}).setdefault(name, []).append(case.name)
    return reasons


def _not_run(measurements: list[Measurement]) -> list[str]:
    """A row for each reason."""
    lines = ["| why | checks | networks |", "|---|---|---:|"]
    lines += [f"| {why} | {what} | {networks} |" for why, what, networks in ELSEWHERE]
    for why, by_check in sorted(left_out(measurements).items()):
        networks = {name for names in by_check.values() for name in names}
        lines.append(f"| {why} | {_joined(by_check)} | {len(networks)} |")
    return lines


def _joined(names: Any) -> str:
    """Names of checks; a complete group is written as `group.*`."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in CHECKS:
        groups[name.split(".")[0]].add(name)
    whole = {group for group, members in groups.items() if members <= set(names)}
    return ", ".join(sorted({f"{n.split('.')[0]}.*" if n.split(".")[0] in whole else n for n in names}))


def details(measurements: list[Measurement]) -> dict[str, Any]:
    """Every comparison, by network and check, as a list of [runtime, dtype, worst error, bound, where]; and comparisons
    that were not run, by reason and check, with their networks."""
    networks: dict[str, dict[str, list[list[Any]]]] = {}
    order = {name: i for i, name in enumerate(CASES)}
    for m in sorted(measurements, key=lambda m: (order[m.case], m.check, m.runtime, m.dtype, m.where)):
        numbers = float(f"{m.worst:.2e}"), float(f"{m.bound:.2e}")
        row = [m.runtime, m.dtype, *numbers, m.crash or m.where]
        networks.setdefault(m.case, {}).setdefault(m.check, []).append(row)
    return {"measured": _machine(), "comparisons": networks, "not run": left_out(measurements)}


def write_details(values: dict[str, Any]) -> str:
    """JSON with one line per comparison."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return re.sub(
        r"\[\s+((?:[^\[\]\"]|\"(?:[^\"\\]|\\.)*\")*?)\s+\]", lambda m: "[" + re.sub(r"\n\s+", " ", m[1]) + "]", text
    )


def shape_of(page: str) -> set[str]:
    """The lines of a page without measured numbers, machine and versions, which differ between runs."""
    lines = [line for line in page.splitlines() if not line.startswith("Measured on ")]
    return {_NUMBER.sub("#", line) for line in lines}


def shape_of_details(values: dict[str, Any]) -> set[str]:
    """Lines about the comparisons, and about those that were not run with the reason."""
    compared = {
        f"{case} {check} [{runtime}, {dtype}]"
        for case, checks in values.get("comparisons", {}).items()
        for check, rows in checks.items()
        for runtime, dtype, *_ in rows
    }
    reasons = values.get("not run", {})
    return compared | {f"{c} {n}: {why}" for why, by_check in reasons.items() for n, cs in by_check.items() for c in cs}


def stale(page: str, values: dict[str, Any]) -> list[str]:
    """The differences between the files and a new page and details."""
    old_page = PAGE.read_text() if PAGE.exists() else ""
    old_values = json.loads(DETAILS.read_text()) if DETAILS.exists() else {}
    lines = [f"{PAGE.name} is stale: {line}" for line in sorted(shape_of(page) ^ shape_of(old_page))]
    differing = shape_of_details(values) ^ shape_of_details(old_values)
    return lines + [f"{DETAILS.name} is stale: {line}" for line in sorted(differing)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.parity_md", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, help="what a test run measured, instead of measuring")
    parser.add_argument("--check", action="store_true", help="compare with both files and write nothing")
    args = parser.parse_args(arguments)
    measurements = read_record(args.source) if args.source else _measure()
    page, values = render(measurements), details(measurements)
    failed = [m for m in measurements if not m.passed]
    for m in failed:
        print(m, file=sys.stderr)
    if args.check:
        lines = stale(page, values)
        for line in lines:
            print(line, file=sys.stderr)
        return 1 if failed or lines else 0
    for path, text in ((PAGE, page), (DETAILS, write_details(values) + "\n")):
        with replacing(path) as temporary:
            temporary.write_text(text)
    print(f"{PAGE.name}, {DETAILS.name}: {len(measurements)} comparisons, {len(failed)} over their bound")
    return 1 if failed else 0


def _measure() -> list[Measurement]:
    import jax

    from .battery import run_battery

    jax.config.update("jax_enable_x64", True)
    measurements: list[Measurement] = []
    for name in CASES:
        print(name, file=sys.stderr)
        measurements += run_battery(name)
    return measurements


if __name__ == "__main__":
    sys.exit(main())
