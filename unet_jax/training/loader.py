"""The batches of a training run: prepared in a thread of the process, or by worker processes (grain).

Batch k is always `Sampler.batch(k)`, which depends only on (seed, k). Both loaders therefore give the same batches, bit
for bit, for any number of processes, and a resumed run continues with the next number.
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
"""images (N, *window, C), labels (N, *window) and, optionally, weights (N, *window); see `unet_data.Sampler.batch`."""

AHEAD = 2
"""Number of batches that each process prepares in advance."""


def check_loader(settings: TrainSettings) -> None:
    """Raises ModuleNotFoundError if the settings need grain and it is not installed."""
    if settings.data.loader == "grain":
        import grain  # noqa: F401


def batches(sampler: Sampler, settings: TrainSettings, first: int, rows: slice = slice(None)) -> Generator[Batch]:
    """The batches of steps `first` … `steps` − 1; this process takes their `rows`.

    Raises ModuleNotFoundError like `check_loader`, and InputError if a file cannot be read.
    """
    if settings.data.loader == "memory":
        return (sampler.batch(step, rows) for step in range(first, settings.optimisation.steps))
    return _grain_batches(sampler, settings, first, rows)


@dataclass(frozen=True)
class BatchSource:
    """Batches by step number: a source for `grain.MapDataset`."""

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
    if not flags.FLAGS.is_parsed():  # grain's processes read its flags, which only an absl program parses
        flags.FLAGS.mark_as_parsed()
    numbered = grain.MapDataset.source(BatchSource(sampler, steps, rows))[first:steps]
    read = grain.ReadOptions(num_threads=AHEAD, prefetch_buffer_size=AHEAD)
    ordered = numbered.to_iter_dataset(read)
    if workers:
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD)
        ordered = ordered.mp_prefetch(options, worker_init_fn=_exit_with_parent)
    iterator = iter(ordered)
    try:
        for batch in iterator:
            yield tuple(np.array(array) for array in batch)  # copies, to release grain's shared memory
    finally:
        iterator.close()  # ends the processes
        gc.collect()  # a reference cycle of grain's StopIteration holds the last batch; Python would warn of a leak


def block_signals(settings: TrainSettings) -> None:
    """Blocks signals in the thread that takes batches, so that the main thread receives them. The loader's processes
    are started from this thread and inherit its mask; otherwise a signal that arrives before they ignore signals would
    end them."""
    if settings.data.loader == "grain" and hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # started later, it would unblock the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _exit_with_parent(index: int, count: int) -> None:
    """In a worker: ignores signals to the whole job, since training needs its workers until it has saved. Ends the
    worker when the training process has ended or was killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
