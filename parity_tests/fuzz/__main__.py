"""Runs cases and prints a table by kind.

    python -m parity_tests.fuzz --count 5000 --seed 7 --out table.json
    python -m parity_tests.fuzz --seed 7 --only 1234 --keep folder

Every case follows from the seed and its number alone. Exit code 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}

import numpy as np

from . import judge, material, server
from .arrays import copied
from .bytes_ import pick
from .subjects import COMMANDS, NUMBERS, SUBJECTS, Subject, numbers

KINDS = (*(s.kind for s in SUBJECTS), "numbers of commands")
SCHEDULE = [*range(len(KINDS))] + 5 * [i for i in range(len(KINDS)) if i == len(SUBJECTS) or not SUBJECTS[i].slow]
"""Numbers of the kinds of cases, in turn; those that take seconds come up less often."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="how many cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a JSON file for the table and all findings")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases to run")
    parser.add_argument("--kind", help="only kinds whose name contains this")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after this time")
    parser.add_argument("--keep", type=Path, help="a new folder for the inputs of cases with findings")
    parser.add_argument("--whole", action="store_true", help="run every kind's commands on its whole inputs instead")
    parser.add_argument("--material", type=Path, help="a folder that keeps the whole inputs for the next time")
    args = parser.parse_args()
    server.warm(COMMANDS)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary).resolve()
        base = args.material.absolute() if args.material else work / "base"
        if not base.exists():
            ended = server.run(lambda: material.make(base), work / "making")
            if ended.code:
                print(ended.err, file=sys.stderr)
                return 1
        return _whole(args, work, base) if args.whole else _cases(args, work, base)


def _whole(args: argparse.Namespace, work: Path, base: Path) -> int:
    """Prints what is wrong where no input is changed: all are accepted, but for what `Subject.refused` says."""
    count, wrong = 0, 0
    for subject in SUBJECTS if not args.kind else [s for s in SUBJECTS if args.kind in s.kind]:
        for name in subject.sources:
            for command in subject.commands:
                folder = work / "whole" / str(count)
                ended, found = _try(command, name, folder, base)
                if bool(ended.code) != (command in subject.refused):
                    found.append("accepted" if ended.code == 0 else f"refused: {ended.err.strip()[-300:]}")
                for each in found:
                    print(ascii(f"{subject.kind}, {name}: {command}: {each}"), flush=True)
                count, wrong = count + 1, wrong + bool(found)
    print(f"{count} whole inputs, {wrong} with findings")
    return int(bool(wrong))


def _cases(args: argparse.Namespace, work: Path, base: Path) -> int:
    before = judge.state(base)
    rows: dict[str, dict] = {
        kind: {"cases": 0, "refused": 0, "seconds": 0.0, "slowest": 0.0, "memory": 0} for kind in KINDS
    }
    findings, began = [], time.perf_counter()
    for number in args.only if args.only is not None else range(args.count):
        kind = KINDS[SCHEDULE[number % len(SCHEDULE)]]
        if time.perf_counter() - began > args.seconds:
            break
        if args.kind and args.kind not in kind:
            continue
        folder = work / "deep" / "er" / str(number)
        what, command, ended, wrong = case(number, args.seed, folder, base)
        row = rows[kind]
        row["cases"] += 1
        row["refused"] += ended.code != 0
        row["seconds"] += ended.seconds
        row["slowest"] = max(row["slowest"], round(ended.seconds, 2))
        row["memory"] = max(row["memory"], ended.excess)
        outside = [
            p for p in (work / "deep", work / "deep/er") for p in p.iterdir() if p not in (folder, folder.parent)
        ]
        wrong += [f"outside of its folder: {p.name}" for p in outside]
        if args.only is not None:
            print(command, ended.out, ended.err, f"exit code {ended.code}, {ended.excess >> 20} MiB", sep="\n")
        if wrong:
            findings.append(
                {
                    "case": number,
                    "kind": kind,
                    "change": what,
                    "command": command,
                    "wrong": wrong,
                    "code": ended.code,
                    "message": ended.err[-600:],
                }
            )
            last = (ended.err.strip().splitlines() or [""])[-1]
            print(ascii(f"{number} {kind}: {what}: {'; '.join(wrong)}: {last[-150:]}"), flush=True)
            if args.keep:
                shutil.copytree(folder, args.keep / str(number), symlinks=True)
        for path in (folder, *outside):
            shutil.rmtree(path, ignore_errors=True)
    if judge.state(base) != before:
        findings.append({"kind": "material", "wrong": ["inputs changed"]})
    table = [
        {"kind": kind, **row, "wrong": sum(f["kind"] == kind for f in findings)}
        for kind, row in rows.items()
        if row["cases"]
    ]
    _print(table, findings, args.seed, time.perf_counter() - began)
    if args.out:
        args.out.write_text(
            json.dumps({"seed": args.seed, "count": args.count, "table": table, "findings": findings}, indent=1) + "\n"
        )
    return int(bool(findings))


def case(number: int, seed: int, folder: Path, base: Path) -> tuple[str, str, server.Ended, list[str]]:
    """One case: what was changed, its command, how it ended, what is wrong."""
    rng = np.random.default_rng([seed, number])
    at = SCHEDULE[number % len(SCHEDULE)]
    if at == len(SUBJECTS):
        what, command = numbers(rng)
        ended, wrong = _try(command, "", folder, base)
        return what, " ".join(command), ended, wrong
    subject, done = SUBJECTS[at], []
    name = pick(rng, subject.sources)
    command = pick(rng, subject.commands)

    def change(place: Path) -> bool:
        what, refused = _changed(subject, rng, place)
        done.append(what)
        return refused and not (what == "!not finite" and command.startswith("convert"))  # it copies, and runs nothing

    ended, wrong = _try(command, name, folder, base, change)
    return done[0], command.replace("NAME", name), ended, wrong


def _try(
    command: str | list[str], name: str, folder: Path, base: Path, change: Callable[[Path], bool] | None = None
) -> tuple[server.Ended, list[str]]:
    """Runs a command on a copy of the input `name`: how it ended, what is wrong. `change` changes the copy and says
    whether it has to be refused then."""
    source, out = folder / "in", folder / "out"
    source.mkdir(parents=True)
    out.mkdir()
    if name:
        copied(base / name, source / name)
    refused = change is not None and change(source / name)
    words = command.replace("NAME", name).split() if isinstance(command, str) else command
    own = "--out" in words and words[words.index("--out") + 1].startswith("{in}")  # it goes on with what is there
    writes = any("{out}" in word for word in words)
    for key, place in {"{in}": source, "{out}": out, "{base}": base}.items():
        words = [w.replace(key, str(place)) for w in words]
    before = None if own else judge.state(source)

    def work() -> int:
        from unet_tools.cli import main as unet

        return unet(words)

    ended = server.run(work, folder)
    return ended, judge.verdicts(ended, folder, before, writes, refused)


def _changed(subject: Subject, rng: np.random.Generator, place: Path) -> tuple[str, bool]:
    """Changes a copy: what was done, whether it has to be refused."""
    inner = pick(rng, subject.changed)
    path = place / inner if inner else place
    try:
        if subject.folder:
            return subject.folder(rng, place), False
        content = path.read_bytes()
        what, changed = subject.change(rng, content)
    except (ValueError, KeyError, IndexError, AttributeError, StopIteration):  # nothing of that kind in it to change
        return "nothing", False
    path.write_bytes(changed)
    if subject.after and path.exists():
        subject.after(place, inner)
    return what, what.startswith("!") and subject.strict and changed != content


def _print(table: list[dict], findings: list[dict], seed: int, seconds: float) -> None:
    print(f"{'kind':34} {'cases':>6} {'refused':>8} {'wrong':>6} {'ms a case':>10} {'slowest s':>10} {'most MiB':>9}")
    for row in table:
        each = 1000 * row["seconds"] / row["cases"]
        numbers = f"{row['cases']:6} {row['refused']:8} {row['wrong']:6} {each:10.0f} {row['slowest']:10.1f}"
        print(f"{row['kind']:34} {numbers} {row['memory'] >> 20:9}")
    cases = sum(row["cases"] for row in table)
    print(f"{cases} cases of {len(table)} kinds, seed {seed}, {seconds:.0f} s: {len(findings)} with findings")
    kinds = [w.split(":")[0] for f in findings for w in f["wrong"]]
    if kinds:
        print(judge.counted(kinds))


__all__ = ["KINDS", "NUMBERS", "case"]
if __name__ == "__main__":
    sys.exit(main())
