"""Runs jobs one after the other, or a few at a time: if one fails, the others still run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unet_data.io.stores.remote import shown
from unet_spec import InputError

from ..console import notes

Record = dict[str, Any]


def run_each(
    key: str, work: Mapping[str, tuple[Sequence[Path], Callable[[], Record]]], at_a_time: int = 1
) -> list[Record]:
    """Runs every job. A job that raises InputError is reported, and the others continue.

    Args:
        key: key of the job's name in its record, such as "image".
        work: jobs by name, each with its files and a function that returns its record.
        at_a_time: number of jobs that run concurrently, in threads.

    Returns:
        The records, in the order of the jobs. A failed job has the record {key: name, "error": message}; the message
        names a file. If there are several jobs, the message is also printed immediately.
    """
    records = []
    with _results([make for _, make in work.values()], at_a_time) as results:
        for (name, (files, _)), result in zip(work.items(), results, strict=True):
            try:
                records.append(result())
            except InputError as e:
                named = [shown(file) for file in files]
                message = str(e) if any(name in str(e) for name in named) else f"{named[0]}: {e}"
                records.append({key: name, "error": message})
                if len(work) > 1:
                    notes.print(message, style="red", soft_wrap=True)
    return records


@contextmanager
def _results(jobs: Sequence[Callable[[], Record]], at_a_time: int) -> Iterator[Sequence[Callable[[], Record]]]:
    """Functions that return the jobs' results, or raise their errors. After an error in the block, such as an
    interrupt, no further job begins."""
    if at_a_time == 1 or len(jobs) == 1:
        yield jobs
        return
    pool = ThreadPoolExecutor(at_a_time, "job")
    try:
        yield [pool.submit(job).result for job in jobs]
    finally:
        pool.shutdown(cancel_futures=True)


class OneAtATime:
    """A runtime that several threads share: it computes for one of them while the others read and write."""

    def __init__(self, runtime: Any):
        self._runtime, self._lock = runtime, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, *args: Any) -> Any:
        """As that of the runtime."""
        with self._lock:
            return self._runtime.run(*args)


SMALL = 2**20
"""Bytes of a file that is small enough to be read while another one is computed."""


def images_at_a_time(files: Sequence[Path], memory: int | None) -> int:
    """2 for several small files without a memory limit: reading and writing them takes about as long as computing.
    Else 1, since each of the images would take the memory of its tiles."""
    if memory is not None or len(files) < 2:
        return 1
    return 2 if all(file.is_file() and file.stat().st_size <= SMALL for file in files) else 1


def refuse(key: str, records: list[Record]) -> None:
    """Raises InputError if any job failed: with its message if it was the only job, otherwise with the names of the
    failed jobs."""
    names = [record[key] for record in records if "error" in record]
    if len(records) == 1 and names:
        raise InputError(records[0]["error"])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{len(names)} of {len(records)} failed: {some}; fix them and run the same command with --skip-existing"
        )
