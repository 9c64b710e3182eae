"""Work on a Dask cluster. For predictions, a task is one of several images, or one shard of a single image.

If a worker is lost, Dask reassigns its task to another worker, which reuses the finished tiles on disk or in the store.
Workers use the same paths as the client for the checkpoint, the images and the results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from unet_data.inference.network import OpenNetwork
from unet_data.inference.predict_file import PredictResult, predict_file
from unet_data.inference.predict_file import Progress as FileProgress
from unet_data.inference.settings import PredictSettings
from unet_data.io.stores.remote import shown
from unet_data.io.stores.signed import Secret, adopt, known
from unet_spec import InputError
from unet_spec.files import first_line

from ..arguments.runtimes import RuntimeName, open_network

RETRIES = 3
"""Number of retries of a task that failed for another reason than bad input."""
SHARDS = 4
"""Shards of a single image per worker."""


@dataclass(frozen=True)
class Task:
    """A task for a worker: an image or one of its shards, with network, runtime and settings, and the secrets of signed
    addresses."""

    checkpoint: Path
    runtime: RuntimeName | None
    source: Path
    target: Path
    settings: PredictSettings
    secrets: dict[str, Secret] = field(default_factory=known, repr=False)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a task: its result or an error message, and warnings."""

    done: PredictResult | None
    error: str = ""
    warnings: tuple[str, ...] = ()

    def result(self, progress: FileProgress) -> PredictResult:
        """Reports the warnings, then returns the result or raises InputError with the error message."""
        for message in self.warnings:
            progress.warn(message)
        if self.done is None:
            raise InputError(self.error)
        return self.done


class _Heard(FileProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def work(task: Task) -> Outcome:
    """Runs a task on a worker."""
    adopt(task.secrets)
    heard = _Heard()
    try:
        network = _network(task.checkpoint, task.runtime)
        done = predict_file(network, task.source, task.target, task.settings, heard)
    except InputError as e:  # a retry would fail again
        return Outcome(None, str(e), tuple(heard.warnings))
    return Outcome(done, "", tuple(heard.warnings))


@lru_cache(maxsize=1)
def _network(checkpoint: Path, runtime: RuntimeName | None) -> OpenNetwork:
    """Opens a network once for all tasks of a worker."""
    return open_network(checkpoint, runtime)


@contextmanager
def cluster(where: str) -> Iterator[Any]:
    """A client of a Dask cluster, which is closed after the block.

    Args:
        where: "local" or "local:3" starts worker processes on this machine; an address such as tcp://host:8786 connects
            to a running cluster.

    Raises:
        InputError: Dask is not installed, `where` is invalid, or no scheduler answers at the address.
    """
    found = re.fullmatch(r"local(?::(\d+))?", where)
    if not found and "://" not in where:
        raise InputError(f"--dask {where}: give local, local:3 or an address such as tcp://host:8786")
    if found and found[1] == "0":
        raise InputError(f"--dask {where}: a cluster needs at least one worker; give local:1 or more")
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise InputError("Dask is not installed; pip install 'unet-twins[dask]'") from None
    if found:
        count = int(found[1]) if found[1] else None
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
            ) as started,
            Client(started) as client,
        ):
            yield client
        return
    try:
        client = Client(where, timeout="10s")
    except (OSError, ValueError) as e:
        raise InputError(f"--dask {where}: no cluster responds at this address ({first_line(e)})") from None
    with client:
        yield client


def on_cluster(
    client: Any,
    tasks: Sequence[Any],
    finished: Callable[[int], None],
    work: Callable[[Any], Outcome] = work,
    name: Callable[[Any], str] = lambda task: shown(task.source),
) -> list[Outcome]:
    """Runs all tasks.

    Args:
        client: client of `cluster`.
        tasks: the tasks.
        finished: called with the number of finished tasks.
        work: runs a task on a worker.
        name: name of a task, for messages.

    Returns:
        Outcomes in the order of the tasks. A task has an error if too many of its workers were lost or all retries
        failed.
    """
    from distributed import as_completed

    futures = client.map(work, tasks, retries=RETRIES, pure=False)
    outcomes: dict[str, Outcome] = {}
    places = {future.key: task for future, task in zip(futures, tasks, strict=True)}
    for future in as_completed(futures):
        error = future.exception() if future.status == "error" else None
        if error is not None:
            outcomes[future.key] = Outcome(None, f"{name(places[future.key])}: {first_line(error)}")
        elif future.status == "finished":
            outcomes[future.key] = future.result()
        else:
            outcomes[future.key] = Outcome(None, f"{name(places[future.key])}: was {future.status}")
        finished(len(outcomes))
    return [outcomes[future.key] for future in futures]


def sharded(task: Task, workers: int) -> list[Task]:
    """Splits a task into shards, several per worker; returns the task if its image cannot be divided."""
    if task.settings.samples or task.settings.whole:
        return [task]
    count = SHARDS * max(workers, 1)
    return [replace(task, settings=replace(task.settings, shard=(i + 1, count))) for i in range(count)]
