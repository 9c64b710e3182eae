"""Runs jobs one after the other: if one fails, the others still run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_data.io.stores.remote import shown
from unet_spec import InputError

from ..console import notes

Record = dict[str, Any]


def run_each(key: str, work: Mapping[str, tuple[Sequence[Path], Callable[[], Record]]]) -> list[Record]:
    """Runs every job. A job that raises InputError is reported, and the others continue.

    Args:
        key: key of the job's name in its record, such as "image".
        work: the jobs by name, each with its files and a function that returns its record.

    Returns:
        The records. A failed job has the record {key: name, "error": message}; the message names a file. If there are
        several jobs, it is also printed at once.
    """
    records = []
    for name, (files, make) in work.items():
        try:
            records.append(make())
        except InputError as e:
            named = [shown(file) for file in files]
            message = str(e) if any(name in str(e) for name in named) else f"{named[0]}: {e}"
            records.append({key: name, "error": message})
            if len(work) > 1:
                notes.print(message, style="red", soft_wrap=True)
    return records


def refuse(key: str, records: list[Record]) -> None:
    """Raises InputError if any job failed: with its message if it was the only job, else with the names of those that
    failed."""
    names = [record[key] for record in records if "error" in record]
    if len(records) == 1 and names:
        raise InputError(records[0]["error"])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{len(names)} of {len(records)} failed: {some}; fix them and run the same command with --skip-existing"
        )
