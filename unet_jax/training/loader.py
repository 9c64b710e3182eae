"""The batches of a training run: cut in a thread of the process, or by processes that read ahead (grain).

Batch k is `Sampler.batch(k)` either way, which follows from (seed, k) alone. So both give the same batches bit for bit,
whatever the number of processes, and a resumed run continues with the next number.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing import resource_tracker

import numpy as np

from unet_data import Sampler

from .settings import TrainSettings

Batch = tuple[np.ndarray, ...]
"""images (N, *window, C), labels (N, *window) and, perhaps, weights (N, *window); see `unet_data.Sampler.batch`."""

AHEAD = 2
"""Batches that each process prepares in advance."""


def check_loader(settings: TrainSettings) -> None:
    """Raises ModuleNotFoundError if the settings ask for grain and it is not installed."""
    if settings.data.loader == "grain":
        import grain  # noqa: F401


def batches(sampler: Sampler, settings: TrainSettings, first: int, rows: slice = slice(None)) -> Generator[Batch]:
    """The batches of steps `first` … `steps` − 1, of which this process takes `rows`.

    Raises ModuleNotFoundError as `check_loader`, InputError where a file cannot be read.
    """
    if settings.data.loader == "memory":
        return (sampler.batch(step, rows) for step in range(first, settings.optimisation.steps))
    return _grain_batches(sampler, settings, first, rows)


@dataclass(frozen=True)
class BatchSource:
    """The batches by their step numbers: a source of `grain.MapDataset`."""

    sampler: Sampler
    steps: int
    rows: slice

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        return self.sampler.batch(int(index), self.rows)


def _grain_batches(sampler: Sampler, settings: TrainSettings, first: int, rows: slice) -> Generator[Batch]:
    import grain
    from absl import flags

    steps, workers = settings.optimisation.steps, settings.data.workers
    if not flags.FLAGS.is_parsed():  # grain's processes ask for its flags, which only an absl program has parsed
        flags.FLAGS.mark_as_parsed()
    numbered = grain.MapDataset.source(BatchSource(sampler, steps, rows))[first:steps]
    read = grain.ReadOptions(num_threads=AHEAD, prefetch_buffer_size=AHEAD)
    ordered = numbered.to_iter_dataset(read)
    if workers:
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD)
        ordered = ordered.mp_prefetch(options, worker_init_fn=_end_with_the_parent)
    iterator = iter(ordered)
    try:
        for batch in iterator:
            yield tuple(np.array(array) for array in batch)  # grain's lie in shared memory, which must be given back
    finally:
        iterator.close()  # ends the processes
        gc.collect()  # the last batch hangs in a cycle of grain's StopIteration; Python would warn of its memory


def leave_signals(settings: TrainSettings) -> None:
    """In the thread that takes batches: leaves signals to the main thread. The loader's processes are started from this
    thread and inherit that; otherwise a signal that comes before they ignore it would end them."""
    if settings.data.loader == "grain" and hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # which would take the block away, if it were started later
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _end_with_the_parent(index: int, count: int) -> None:
    """In a worker: ignores signals to the whole job, since the training needs its workers until it has saved; ends
    when the training has ended, also where that was killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
