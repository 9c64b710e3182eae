"""Kills a worker of a Dask cluster while a test computes on it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_killed(client: Any, begun: Callable[[], bool]) -> Iterator[None]:
    """Kills the first worker as soon as `begun` is true. After the body, asserts that it was killed before the end."""
    killed: list[int] = []

    def kill() -> None:
        pids = list(client.run(os.getpid).values())
        for _ in range(6000):
            if begun():
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])
                return
            if done.wait(0.01):
                return

    done = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()
    assert killed, "the run was over before a worker could be killed"
