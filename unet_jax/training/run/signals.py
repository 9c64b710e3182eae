"""Signals that end a training run: the loop finishes its step, saves and returns."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import jax

_STOPPING = b"\nstopping: the step at hand is finished and the state saved; Ctrl-C once more ends at once, unsaved\n"

BETWEEN = 5.0
"""Seconds between two exchanges of several processes, unless a step takes longer. SLURM and Kubernetes kill a process
30 s after SIGTERM; the state must be saved by then."""


class StopSignals:
    """Within the block, SIGTERM and SIGINT (Ctrl-C) set `signal` and print a line, and the process continues; a second
    SIGINT ends it.

    Does nothing outside the main thread, where Python cannot handle signals.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}
        self._steps, self._next, self._exchanged = 0, 1, time.monotonic()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            os.write(2, _STOPPING)  # the signal may interrupt print
        self.signal = number

    def agreed(self, at_log_point: bool) -> bool:
        """Whether to stop now. All processes must call it after each step, since they must stop after the same one.

        They communicate at log points, where they wait for the step anyway, and about every `BETWEEN` seconds.
        """
        if jax.process_count() == 1:
            return self.signal is not None
        self._steps += 1
        if not at_log_point and self._steps < self._next:
            return False
        import numpy as np
        from jax.experimental import multihost_utils

        seconds = (time.monotonic() - self._exchanged) / self._steps
        found = multihost_utils.process_allgather(np.array([self.signal or 0, seconds], np.float32)).reshape(-1, 2)
        largest, slowest = int(found[:, 0].max()), float(found[:, 1].max())
        # Computed from values that are the same in all processes, so that they exchange after the same step.
        self._steps, self._next, self._exchanged = 0, max(1, int(BETWEEN / max(slowest, 1e-6))), time.monotonic()
        self.signal = self.signal or largest or None
        return bool(largest)
