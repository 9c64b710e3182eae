"""Writes PARITY.md: what was measured, what was allowed, and what was not run and why.

    python -m parity_tests.parity_md                       run the whole battery (some ten minutes), write PARITY.md
    python -m parity_tests.parity_md --from RECORD         the same from what a test run measured (PARITY_RECORD=RECORD)
    python -m parity_tests.parity_md --from RECORD --check compare with PARITY.md instead: exit code 1 where it is stale

Stale is a page whose rows are not those of today: a case, check, runtime or dtype that came or went, or a reason that
changed. Measured numbers differ from machine to machine and are not compared; each must keep its bound.
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

from parity_tests.battery import CASES, Measurement, plan
from unet_spec.checkpoint import replacing

PAGE = Path(__file__).parent.parent / "PARITY.md"
_NUMBER = re.compile(r"\b\d(\.\d+)?e[-+]\d+\b|(?<= )0(?= )")


def record(measurements: list[Measurement]) -> None:
    """Appends measurements to the file that PARITY_RECORD names, if it does."""
    if path := os.environ.get("PARITY_RECORD"):
        lines = "".join(json.dumps(dataclasses.asdict(m)) + "\n" for m in measurements)
        with Path(path).open("ab", buffering=0) as file:  # one write: several test processes share the file
            file.write(lines.encode())


def read_record(path: Path) -> list[Measurement]:
    """What `record` wrote; of the comparisons of a check between the same runtimes, the one nearest its bound."""
    found: dict[tuple, Measurement] = {}
    for line in path.read_text().splitlines():
        m = Measurement(**json.loads(line))
        key = (m.case, m.check, m.runtime, m.dtype, m.where if not m.bound else "")
        if key not in found or _share(m) >= _share(found[key]):
            found[key] = m
    return list(found.values())


def _share(m: Measurement) -> float:
    """Of its bound; infinite where the bound is 0 and the error is not, or the check crashed."""
    if m.crash or not m.worst <= m.bound:
        return float("inf") if m.crash or not m.bound else m.worst / m.bound
    return m.worst / m.bound if m.bound else 0.0


def render(measurements: list[Measurement]) -> str:
    """The page, in Markdown."""
    lines = [
        "# Parity",
        "",
        "What was measured between the twins, the float64 NumPy reference and the ONNX graphs, and what was allowed.",
        "Errors are relative to the largest magnitude of the tensor compared; counts of differing tensors are whole",
        "numbers with a bound of 0. float32 bounds are derived from the noise floor measured in the same run, so they",
        "differ from case to case; each row shows the case that comes nearest to its bound.",
        "",
        "Written by `python -m parity_tests.parity_md`; compared with a new run by `.ci/run`.",
        f"Measured on {platform.machine()}, {os.cpu_count()} cores, no GPU; "
        + ", ".join(f"{p} {version(p)}" for p in ("jax", "flax", "torch", "onnxruntime", "numpy")),
        "",
        f"{len(measurements)} comparisons on {len({m.case for m in measurements})} networks, "
        f"{sum(not m.passed for m in measurements)} over their bound.",
        "",
        *_table(measurements),
    ]
    lines += ["", "## By network", "", *_matrix(measurements), "", "## By architecture", ""]
    kinds: dict[str, list[Measurement]] = defaultdict(list)
    for m in measurements:
        kinds[CASES[m.case].config.architecture].append(m)
    for kind, found in kinds.items():
        cases = sorted({m.case for m in found})
        title = f"{kind}: {len(found)} comparisons on {', '.join(cases)}"
        lines += [f"<details><summary>{title}</summary>", "", *_table(found), "", "</details>", ""]
    lines += ["## Not run, and why", "", *_not_run(measurements)]
    return "\n".join(lines) + "\n"


def _table(measurements: list[Measurement]) -> list[str]:
    """A row for each check, runtime and dtype: the case that comes nearest to its bound."""
    rows: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        rows[m.check, m.runtime, m.dtype].append(m)
    lines = ["| check | runtime | dtype | networks | worst error | bound |", "|---|---|---|---:|---:|---:|"]
    for (check, runtime, dtype), found in sorted(rows.items()):
        worst = max(found, key=_share)
        cases = len({m.case for m in found})
        lines.append(f"| {check} | {runtime} | {dtype} | {cases} | {_number(worst.worst)} | {_number(worst.bound)} |")
    return lines


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _matrix(measurements: list[Measurement]) -> list[str]:
    """Worst float64 error of each group of checks on each network."""
    groups = sorted({m.check.split(".")[0] for m in measurements})
    worst: dict[tuple[str, str], float] = defaultdict(float)
    for m in measurements:
        key = (m.case, m.check.split(".")[0])
        worst[key] = max(worst[key], _share(m))
    lines = ["The share of its bound that the worst comparison of each group takes up (1 would be at the bound).", ""]
    lines += ["| network | " + " | ".join(groups) + " |", "|---|" + "---:|" * len(groups)]
    for case in CASES:
        if any((case, g) in worst for g in groups):
            cells = [_number(worst[case, g]) if (case, g) in worst else "" for g in groups]
            lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return lines


def _not_run(measurements: list[Measurement]) -> list[str]:
    ran = {(m.case, m.check) for m in measurements}
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case, name, reason in plan(slow=True):
        if (case.name, name) not in ran:
            reasons[name, reason or "this run left it out"].append(case.name)
    lines = [
        "| check | why | networks |",
        "|---|---|---|",
        "| engines of TensorRT and TensorRT-RTX | they run on a GPU, and there was none | all |",
        "| JAX and PyTorch on a GPU (TF32 off and on, bfloat16) | there was none | all |",
    ]
    lines += [f"| {name} | {why} | {', '.join(cases)} |" for (name, why), cases in sorted(reasons.items())]
    return lines


def shape_of(page: str) -> list[str]:
    """The lines of a page without what differs from run to run: measured numbers, machine and versions."""
    lines = [line for line in page.splitlines() if not line.startswith("Measured on ")]
    return [_NUMBER.sub("#", line) for line in lines]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity_tests.parity_md", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, help="what a test run measured, instead of measuring")
    parser.add_argument("--check", action="store_true", help="compare with PARITY.md and write nothing")
    given = parser.parse_args(arguments)
    measurements = read_record(given.source) if given.source else _measure()
    page = render(measurements)
    failed = [m for m in measurements if not m.passed]
    for m in failed:
        print(m, file=sys.stderr)
    if given.check:
        old = PAGE.read_text() if PAGE.exists() else ""
        stale = set(shape_of(page)) ^ set(shape_of(old))
        for line in sorted(stale):
            print(f"PARITY.md is stale: {line}", file=sys.stderr)
        return 1 if failed or stale else 0
    with replacing(PAGE) as temporary:
        temporary.write_text(page)
    print(f"{PAGE.name}: {len(measurements)} comparisons, {len(failed)} over their bound")
    return 1 if failed else 0


def _measure() -> list[Measurement]:
    import jax

    from parity_tests.battery import run_battery

    jax.config.update("jax_enable_x64", True)
    found: list[Measurement] = []
    for name in CASES:
        print(name, file=sys.stderr)
        found += run_battery(name, slow=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
