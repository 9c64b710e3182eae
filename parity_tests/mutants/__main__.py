"""`python -m parity_tests.mutants [names] [--json]`: which check of the battery catches which planted bug."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

# As in conftest.py: optimisation would take most of the time, and threads would wait for each other.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
from rich.console import Console
from rich.progress import track
from rich.table import Table

from . import MUTANTS, Verdict, judge


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if all are caught, 1 if one is not, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants to run; none: all")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in MUTANTS]:
        print(f"no mutant is called {unknown[0]!r}; there are {', '.join(MUTANTS)}", file=sys.stderr)
        return 2
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        names = options.names or list(MUTANTS)
        progress = Console(stderr=True)
        verdicts = [judge(MUTANTS[name]) for name in track(names, "mutants", console=progress, transient=True)]
        jax.config.update("jax_compilation_cache_dir", None)
    if options.json:
        print(json.dumps([_record(v) for v in verdicts], indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(_table(verdicts))
        print(f"{score(verdicts)}; {time.process_time() - start:.0f} s of processor time")
    return int(not all(v.killed for v in verdicts))


def score(verdicts: list[Verdict]) -> str:
    killed = sum(v.killed for v in verdicts)
    crashed = sum(bool(v.crashed) and not v.caught for v in verdicts)
    return f"{killed} of {len(verdicts)} caught, {crashed} by a crash alone"


def _table(verdicts: list[Verdict]) -> Table:
    table = Table("mutant", "what is wrong", "where", "case", "caught by", "error", "bound")
    for v in verdicts:
        m = v.mutant
        if c := v.caught:
            found = [c.check, f"{c.worst:.2g}", f"{c.bound:.2g}"]
        else:
            found = [f"nothing; {v.crashed[0].crash}" if v.crashed else "nothing", "", ""]
        if v.unfit:
            found[0] = f"nothing is proven: {v.unfit[0]}"
        table.add_row(m.name, m.what, m.plant.where, m.case, *found)
    return table


def _record(v: Verdict) -> dict[str, Any]:
    m = v.mutant
    c = v.caught
    caught = c and {"check": c.check, "error": str(c.worst), "bound": c.bound, "where": c.where}
    return {
        "mutant": m.name,
        "what": m.what,
        "where": m.plant.where,
        "change": m.plant.change,
        "case": m.case,
        "killed": v.killed,
        "caught": caught,
        "crashed": [{"check": c.check, "crash": c.crash} for c in v.crashed],
        "unfit": [str(c) for c in v.unfit],
    }


if __name__ == "__main__":
    sys.exit(main())
