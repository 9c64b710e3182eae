"""Runs jobs one after the other, or a few at a time: if one fails, the others still run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.io.stores.remote import shown
from unet_spec import InputError
from unet_spec.tiling.planner import tile_memory

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
                    notes.print(message, style="red")
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


BATCH = 4
"""Tiles of several small images that are computed together, in the runtimes of BATCHED: one pass over the weights for
all of them. The others compile or plan anew for each number of tiles."""
BATCHED = ("onnx", "torch")
BATCH_MEMORY = 2**29
"""Bytes that tiles computed together may take."""
SMALL = 2**20
"""Bytes of a file that is small enough to be read while others are computed."""


class SharedRuntime:
    """A runtime that several threads share: it computes for one of them, or for a few whose tiles have one size, while
    the others read and write."""

    def __init__(self, runtime: Any, batch: int = BATCH):
        self._runtime, self._computing, self._adding = runtime, threading.Lock(), threading.Lock()
        self._waiting: list[_Request] = []
        graph, name = runtime.config.graph, runtime.name
        most = batch if name in BATCHED else 1
        self._batch = lru_cache(lambda size: max(1, min(most, BATCH_MEMORY // tile_memory(graph, name, size))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, images: np.ndarray, *noise: np.ndarray) -> np.ndarray:
        """As that of the runtime."""
        if noise:
            with self._computing:
                return self._runtime.run(images, *noise)
        request = _Request(images)
        with self._adding:
            self._waiting.append(request)
        with self._computing:
            if request.logits is None:  # not computed together with another one
                self._compute(request)
        assert request.logits is not None
        return request.logits

    def _compute(self, request: _Request) -> None:
        """Computes a request, and others that wait for tiles of its size."""
        with self._adding:
            alike = [r for r in self._waiting if r is not request and r.images.shape == request.images.shape]
            group = [request, *alike[: self._batch(request.images.shape[1:-1]) // len(request.images) - 1]]
            self._waiting = [r for r in self._waiting if all(r is not each for each in group)]
        try:
            logits = self._runtime.run(np.concatenate([r.images for r in group]) if len(group) > 1 else request.images)
        except InputError:
            if len(group) == 1:
                raise
            with self._adding:  # each alone, so that one does not fail for another
                self._waiting.extend(group[1:])
            group, logits = [request], self._runtime.run(request.images)
        for each, own in zip(group, np.split(logits, len(group)), strict=True):
            each.logits = own


@dataclass(eq=False)
class _Request:
    """Tiles of a thread, and their logits when they are computed."""

    images: np.ndarray
    logits: np.ndarray | None = None


def images_at_a_time(files: Sequence[Path], memory: int | None, runtime: str) -> int:
    """Images that are read, computed and written at the same time.

    Several small files without a memory limit: as many as are computed together and again as many that are read or
    written meanwhile. Else 1, since each of the images would take the memory of its tiles.
    """
    if memory is not None or len(files) < 2:
        return 1
    small = all(file.is_file() and file.stat().st_size <= SMALL for file in files)
    return 1 if not small else 2 * BATCH if runtime in BATCHED else 2


def refuse(key: str, records: list[Record], again: str = "run the same command with --skip-existing") -> None:
    """Raises InputError if any job failed: with its message if it was the only job, otherwise with the names of the
    failed jobs and what to do next."""
    names = [record[key] for record in records if "error" in record]
    if len(records) == 1 and names:
        raise InputError(records[0]["error"])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(f"{len(names)} of {len(records)} failed: {some}; fix them and {again}")
