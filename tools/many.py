"""Many files, one after the other: one that is refused does not keep the others from being done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_tools.console import notes

Record = dict[str, Any]


def do_all(key: str, work: Mapping[str, tuple[Sequence[Path], Callable[[], Record]]]) -> list[Record]:
    """Calls each; work: by its name, the files that it is about and what makes its record. One that raises InputError
    is told at once, where there are several, and its record is {key: name, "error": what was said, with a file}."""
    records = []
    for name, (files, make) in work.items():
        try:
            records.append(make())
        except InputError as e:
            told = str(e)
            told = told if any(str(file) in told for file in files) else f"{files[0]}: {told}"
            records.append({key: name, "error": told})
            if len(work) > 1:
                notes.print(told, style="red", soft_wrap=True)
    return records


def refuse(key: str, records: list[Record]) -> None:
    """Raises InputError where any was refused: what was said of the only one, or how many of several and which."""
    names = [record[key] for record in records if "error" in record]
    if len(records) == 1 and names:
        raise InputError(records[0]["error"])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{len(names)} of {len(records)} were not segmented: {some}; mend them and run the same command with "
            "--skip-existing"
        )
