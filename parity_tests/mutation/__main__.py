"""A seeded sample of a room's mutants, tried in a copy of the tree on the tests that run them.

The tests that run each line are measured once for a tree (coverage contexts) and kept in ~/.cache/unet-twins/mutation.
Each mutant runs in a child with limits of time and memory, until the first test fails. Writes ROOM.json and a table of
all rooms.

Example: python -m parity_tests.mutation --room unet_data --count 30 --seed 1
New tests on what was not killed: python -m parity_tests.mutation --room unet_data --retry parity_tests/data/metrics
"""

from __future__ import annotations

import argparse
import compileall
import itertools
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, fields
from pathlib import Path
from py_compile import PycInvalidationMode

from unet_spec.files import cache_folder

from .. import ROOT
from .choose import ROOMS, environment, measured, modules
from .equivalent import EQUIVALENT
from .generate import Mutant, mutants

RESULTS = ROOT / "benchmarks" / "results" / "mutation"
EXAMPLES = "parity_tests/docs/test_doctests.py"
MEMORY = 8 << 20
"""KiB of data that a child may hold: a wrong size must not take the machine's memory."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where fewer than `--goal` percent of the mutants are killed."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.mutation", description=__doc__)
    parser.add_argument("--room", choices=ROOMS, required=True)
    parser.add_argument("--count", type=int, default=30, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample")
    parser.add_argument("--only", default="", help="modules whose path contains this text")
    parser.add_argument("--retry", nargs="+", metavar="TESTS", help="tries what the record has as not killed on these")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried side by side")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds for one mutant; beyond, it is killed")
    parser.add_argument("--goal", type=float, default=0.0, help="percent to be killed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    options = parser.parse_args(arguments)
    result = retried(options) if options.retry else sampled(options)
    print(f"{options.room}: {result['percent']} % of {result['count']} killed, in {result['seconds']} s")
    return int(result["percent"] < options.goal)


def sampled(options: argparse.Namespace) -> dict:
    """The record of a new sample."""
    chosen = [m for m in modules(options.room) if options.only in m.as_posix()]
    every = [mutant for path in chosen for mutant in mutants(path.as_posix(), (ROOT / path).read_text("utf-8"))]
    random.Random(options.seed).shuffle(every)
    fitting = (mutant for mutant in every if mutant.changes((ROOT / mutant.path).read_text("utf-8")))
    sample = list(itertools.islice(fitting, options.count))
    seen = measured(cache_folder() / "mutation")
    result = {"room": options.room, "seed": options.seed, "of": len(every), "only": options.only}
    records: list[dict] = []

    def keep(record: dict) -> None:  # a sample that is interrupted has its part
        records.append(record)
        records.sort(key=lambda r: (r["path"], r["line"], r["start"], r["kind"]))
        result.update(count=len(records), seconds=round(time.monotonic() - began), **score(records), mutants=records)
        write(result, options.out)

    began = time.monotonic()
    try_all(sample, lambda m: [*examples_of(m.path), *seen.tests_of(m.path, m.first, m.line)], options, keep)
    return result


def retried(options: argparse.Namespace) -> dict:
    """The record of a room after new tests: its mutants that were not killed are tried again, on these tests alone."""
    result = json.loads((options.out / f"{options.room}.json").read_text("utf-8"))
    records = {json.dumps([r[f.name] for f in fields(Mutant)]): r for r in result["mutants"]}
    left = [Mutant(**{f.name: r[f.name] for f in fields(Mutant)}) for r in records.values() if r["outcome"] in LIVING]
    for mutant in left:
        if mutant.old.encode() != (ROOT / mutant.path).read_bytes()[mutant.start : mutant.end]:
            raise SystemExit(f"{mutant.path} has changed since the record: take a new sample")

    def keep(record: dict) -> None:
        old = records[json.dumps([record[f.name] for f in fields(Mutant)])]
        if record["outcome"] != "survived" or old["outcome"] == "not run":
            old |= record
        result.update(score(result["mutants"]))
        write(result, options.out)

    try_all(left, lambda _: options.retry, options, keep)
    return result


def try_all(
    sample: list[Mutant], tests: Callable[[Mutant], list[str]], options: argparse.Namespace, keep: Callable
) -> None:
    """Tries each mutant on its tests, `options.jobs` at once, each in a copy of the tree."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(options.jobs):
            tree = copied(Path(folder) / f"tree{number}")
            compileall.compile_dir(tree, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            trees.put(tree)

        def one(mutant: Mutant) -> dict:
            tree = trees.get()
            try:
                return tried(mutant, tests(mutant), tree, options.timeout)
            finally:
                trees.put(tree)

        for done in as_completed([pool.submit(one, mutant) for mutant in sample]):
            print(shown(done.result()), flush=True)
            keep(done.result())


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


def examples_of(path: str) -> list[str]:
    """The test that runs the examples in the docstrings of a module, if it has any."""
    if ">>>" not in (ROOT / path).read_text("utf-8") or not (ROOT / EXAMPLES).is_file():
        return []
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [f"{EXAMPLES}::test_examples_run[{name.removeprefix('export.').removeprefix('tools.')}]"]


def tried(mutant: Mutant, tests: list[str], tree: Path, limit: float) -> dict:
    """What became of a mutant: "killed", "survived", "not run" (no test runs its line) or "equivalent"."""
    record = asdict(mutant) | {"tests": len(tests), "by": "", "reason": ""}
    line = (ROOT / mutant.path).read_text("utf-8").splitlines()[mutant.line - 1].strip()
    for text in (mutant.old, line):
        if reason := EQUIVALENT.get((mutant.path, text, mutant.new)):
            return record | {"outcome": "equivalent", "reason": reason}
    if not tests:
        return record | {"outcome": "not run"}
    file, text = tree / mutant.path, (ROOT / mutant.path).read_text("utf-8")
    command = ["sh", "-c", f'ulimit -d {MEMORY}; exec "$@"', "sh", sys.executable, "-m", "pytest", "-x", "-q", "-n0"]
    command += ["-p", "no:cacheprovider", "--tb=no", *tests]
    try:
        file.write_text(mutant.applied(text), "utf-8")
        code, output = run(command, tree, limit)
        if code == 5:  # no test was tried; 4 is one that can no longer be collected
            return record | {"outcome": "not run"}
    finally:
        file.write_text(text, "utf-8")
    failed = [line.split(" - ")[0].split(" ", 1)[1] for line in output.splitlines() if line[:6] in ("FAILED", "ERROR ")]
    return record | {"outcome": "survived" if code == 0 else "killed", "by": failed[0] if failed else ""}


def run(command: list[str], tree: Path, limit: float) -> tuple[int, str]:
    """Exit code and output; a program that outlives its limit is ended with its children, and counts as failed."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            command, cwd=tree, env=environment(tree), stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return 1, "FAILED time limit"
        output.seek(0)
        return code, output.read()


def shown(record: dict) -> str:
    place = f"{record['path']}:{record['line']}"
    return f"{record['outcome']:<10} {place} {record['kind']}: {record['old'][:80]} → {record['new'][:80]}"


def score(records: list[dict]) -> dict:
    """Counts by outcome, and the killed as a percentage of those that are not equivalent."""
    counts = {name: sum(r["outcome"] == name for r in records) for name in OUTCOMES}
    real = len(records) - counts["equivalent"]
    return counts | {"percent": round(100 * counts["killed"] / real, 1) if real else 100.0}


LIVING = ("survived", "not run")
OUTCOMES = ("killed", *LIVING, "equivalent")


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
            "examples of its module and on the default tests that run its line: those of its own file, then the "
            "shortest others, up to a minute. \"Not run\": no test's own process runs it.", "",
            "| room | seed | sample | killed | survived | not run | equivalent | killed of the others | time |",
            "|---|---|---|---|---|---|---|---|---|", *rows, "", "## Not killed", "", *lost, "",
        ]
    )  # fmt: skip


def _line(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")[:120]


if __name__ == "__main__":
    sys.exit(main())
