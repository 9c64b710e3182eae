"""Many files, one after the other: an error in one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_data.io.stores.remote import shown
from unet_spec import InputError

from ..console import notes

Record = dict[str, Any]


def do_all(key: str, work: Mapping[str, tuple[Sequence[Path], Callable[[], Record]]]) -> list[Record]:
    """Makes the record of each item.

    Args:
        key: of the name in a record, such as "image".
        work: by its name, the files of an item, and what makes its record.

    Returns:
        The records. One of an item that raised InputError is {key: name, "error": the message, with a file}; if there
        are several items, the message is printed at once.
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
    """Raises InputError if any record has an error: its message if it is the only record, else how many and which."""
    names = [record[key] for record in records if "error" in record]
    if len(records) == 1 and names:
        raise InputError(records[0]["error"])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{len(names)} of {len(records)} were not segmented: {some}; mend them and run the same command with "
            "--skip-existing"
        )
