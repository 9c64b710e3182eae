"""A seeded sample of a room's mutants, tried in a copy of the tree on the tests that run them.

The tests that run each line are measured once for a tree (coverage contexts) and kept in ~/.cache/unet-twins/mutation.
Each mutant runs in a child with a time limit, until the first test fails. Writes ROOM.json and a table of all rooms.

Example: python -m parity_tests.mutation --room unet_data --count 30 --seed 1
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from unet_spec.files import cache_folder

from .. import ROOT
from .choose import TESTS, environment, modules, tests_by_line
from .equivalent import EQUIVALENT
from .generate import Mutant, mutants

RESULTS = ROOT / "benchmarks" / "results" / "mutation"
EXAMPLES = "parity_tests/docs/test_doctests.py"
MOST_TESTS = 40
"""Tests tried on a mutant: those of its own module first, then others that run its line."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where fewer than `--goal` percent of the mutants are killed."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.mutation", description=__doc__)
    parser.add_argument("--room", choices=TESTS, required=True)
    parser.add_argument("--count", type=int, default=30, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    parser.add_argument("--only", default="", help="modules whose path contains this text")
    parser.add_argument("--tests", nargs="*", help="tests to choose from; default: the folder that mirrors the room")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one mutant; beyond, it is killed")
    parser.add_argument("--goal", type=float, default=0.0, help="percent to be killed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    tests = options.tests or [f"parity_tests/{TESTS[options.room]}"]
    lines = tests_by_line(options.room, tests, cache_folder() / "mutation")
    chosen = [m for m in modules(options.room) if options.only in m.as_posix()]
    every = [mutant for path in chosen for mutant in mutants(path.as_posix(), (ROOT / path).read_text("utf-8"))]
    random.Random(options.seed).shuffle(every)
    fitting = (mutant for mutant in every if mutant.changes((ROOT / mutant.path).read_text("utf-8")))
    sample = list(itertools.islice(fitting, options.count))
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder) / "tree")
        records: list[dict] = []
        result = {"room": options.room, "seed": options.seed, "of": len(every), "only": options.only}
        for mutant in sample:
            records.append(tried(mutant, [*examples_of(mutant.path), *tests_of(mutant, lines)], tree, options.timeout))
            print(shown(records[-1]), flush=True)
            seconds = round(time.monotonic() - began)
            result |= {"count": len(records), "seconds": seconds, **score(records), "mutants": records}
            write(result, options.out)  # a sample that is interrupted has its part
    print(f"{options.room}: {result['percent']} % of {len(records)} killed, in {result['seconds']} s")
    return int(result["percent"] < options.goal)


def write(result: dict, out: Path) -> None:
    """The record of a room, and the table of all rooms."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{result['room']}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (out / "README.md").write_text(table(out), "utf-8")


def copied(tree: Path) -> Path:
    """The files under version control and the new ones, where a mutant can be written."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def tests_of(mutant: Mutant, lines: dict[str, dict[int, list[str]]]) -> list[str]:
    """The tests that run its line, those of the module's own test file first."""
    own, ran = f"/test_{Path(mutant.path).name}::", lines.get(mutant.path, {})
    found = [ran[line] for line in range(mutant.first, mutant.line + 1) if line in ran]
    if found and not any(found):  # run by the import of the module: by all of its tests
        found = list(ran.values())
    return sorted({name for names in found for name in names}, key=lambda t: (own not in t, t))[:MOST_TESTS]


def examples_of(path: str) -> list[str]:
    """The test that runs the examples in the docstrings of a module, if it has any."""
    if ">>>" not in (ROOT / path).read_text("utf-8") or not (ROOT / EXAMPLES).is_file():
        return []
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [f"{EXAMPLES}::test_examples_run[{name.removeprefix('export.').removeprefix('tools.')}]"]


def tried(mutant: Mutant, tests: list[str], tree: Path, limit: float) -> dict:
    """What became of a mutant: "killed", "survived", "not run" (no test runs its line) or "equivalent"."""
    record = asdict(mutant) | {"tests": len(tests), "by": "", "reason": ""}
    if reason := EQUIVALENT.get((mutant.path, mutant.old, mutant.new)):
        return record | {"outcome": "equivalent", "reason": reason}
    if not tests:
        return record | {"outcome": "not run"}
    file, text = tree / mutant.path, (ROOT / mutant.path).read_text("utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--tb=no", *tests]
    try:
        file.write_text(mutant.applied(text), "utf-8")
        done = subprocess.run(
            command, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=limit, check=False
        )
        code, output = done.returncode, done.stdout
        if code not in (0, 1, 2):  # 2: a test file that cannot be imported
            raise RuntimeError(f"{mutant.path}:{mutant.line}: pytest ended with code {code}: {output}{done.stderr}")
    except subprocess.TimeoutExpired:
        code, output = 1, "FAILED time limit"
    finally:
        file.write_text(text, "utf-8")
    failed = [line.split(" - ")[0].split(" ", 1)[1] for line in output.splitlines() if line[:6] in ("FAILED", "ERROR ")]
    return record | {"outcome": "survived" if code == 0 else "killed", "by": failed[0] if failed else ""}


def shown(record: dict) -> str:
    place = f"{record['path']}:{record['line']}"
    return f"{record['outcome']:<10} {place} {record['kind']}: {record['old'][:80]} → {record['new'][:80]}"


def score(records: list[dict]) -> dict:
    """Counts by outcome, and the killed as a percentage of those that are not equivalent."""
    counts = {name: sum(r["outcome"] == name for r in records) for name in OUTCOMES}
    real = len(records) - counts["equivalent"]
    return counts | {"percent": round(100 * counts["killed"] / real, 1) if real else 100.0}


OUTCOMES = ("killed", "survived", "not run", "equivalent")


def table(folder: Path) -> str:
    """All records of the folder, as Markdown."""
    found = [json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json"))]
    rows = [f"| {r['room']} | {r['seed']} | {r['count']} of {r['of']} | "
            + " | ".join(str(r[name]) for name in OUTCOMES) + f" | {r['percent']} % | {r['seconds']} s |"
            for r in found]  # fmt: skip
    lost = [f"- `{r['path']}:{r['line']}` {r['kind']}: `{_line(r['old'])}` → `{_line(r['new'])}` ({r['outcome']})"
            for room in found for r in room["mutants"] if r["outcome"] != "killed"]  # fmt: skip
    return "\n".join(
        [
            "# Mutants by room", "",
            "Written by `python -m parity_tests.mutation --room ROOM --count N --seed S`. A mutant is tried on the "
            "examples of its module and on those tests of the room's folder that run its line. \"Not run\": there are "
            "none; other folders' tests may run it.", "",
            "| room | seed | sample | killed | survived | not run | equivalent | killed of the others | time |",
            "|---|---|---|---|---|---|---|---|---|", *rows, "", "## Not killed", "", *lost, "",
        ]
    )  # fmt: skip


def _line(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")[:120]


if __name__ == "__main__":
    sys.exit(main())
