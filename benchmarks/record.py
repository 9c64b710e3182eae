"""Common to all benchmarks: the start, and the JSON file with command, hardware, package versions and date."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tyro

from unet_spec import InputError
from unet_spec.files import writing
from unet_tools.checking.bench.hardware import hardware, versions

Args = TypeVar("Args")


def start(name: str, args: type[Args], main: Callable[[Args], int], description: str | None) -> None:
    """Runs the module `benchmarks.name` as a program: parses its flags, calls `main`, exits with its exit code.

    Args:
        name: such as "train".
        args: the dataclass of its flags.
        main: takes the flags, returns the exit code. InputError becomes one line and exit code 2.
        description: description of the program, for --help.
    """
    try:
        sys.exit(main(tyro.cli(args, prog=f"python -m benchmarks.{name}", description=description)))
    except InputError as e:
        print(f"benchmarks.{name}: {e}", file=sys.stderr)
        sys.exit(2)


def command_of(name: str) -> str:
    """The command line of the running benchmark, the module `benchmarks.name`."""
    return shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])


def record_of(name: str, **more: Any) -> dict[str, Any]:
    """The record of the running benchmark, the module `benchmarks.name`, with `more` entries."""
    return {
        "command": command_of(name),
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        **more,
    }


def write_record(path: Path, record: Any) -> None:
    """Writes JSON atomically and creates its folder. Raises InputError."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def open_record(name: str, path: Path, data: str) -> dict[str, Any]:
    """The record of the module `benchmarks.name`, with the runs that the file at `path` already holds.

    Args:
        name: as of `record_of`.
        path: the JSON file, which need not exist.
        data: description of the data and of their division.

    Raises:
        InputError: the file's runs were made on other data.
    """
    runs: list[Any] = []
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        runs = stored["runs"]
        if runs and stored["data"] != data:
            raise InputError(f"{path} is of {stored['data']}, not of {data}; give another --out")
    return record_of(name, data=data, runs=runs)


def write_with_page(path: Path, record: dict[str, Any], page: str) -> None:
    """Writes the record, and beside it a Markdown page of the same name. Raises InputError."""
    write_record(path, record)
    with writing(path.with_suffix(".md")) as temporary:
        temporary.write_text(page, encoding="utf-8")


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean and, of several values, the standard deviation (with n − 1).

    Example:
        >>> mean_and_spread([0.5, 0.7]), mean_and_spread([0.5], 1)
        ('0.600 ± 0.141', '0.5')
    """
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    Example:
        >>> markdown_table(("kind", "IoU"), [("cells", "0.9")])
        '| kind | IoU |\\n| --- | --- |\\n| cells | 0.9 |'
    """
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
