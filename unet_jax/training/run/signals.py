"""Signals that end a training run: the loop finishes its step, saves and returns."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax

_STOPPING = b"\nstopping: the step at hand is finished and the state saved; Ctrl-C once more ends at once, unsaved\n"


class StopSignals:
    """Within the block, SIGTERM and SIGINT (Ctrl-C) set `signal` and print a line, and the process continues; a second
    SIGINT ends it.

    Does nothing outside the main thread, where Python cannot handle signals.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

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
        """Whether to stop now. All processes must call it, since they must stop after the same step. They communicate
        only at log points, where they wait for the step anyway."""
        if jax.process_count() == 1:
            return self.signal is not None
        if not at_log_point:
            return False
        import numpy as np
        from jax.experimental import multihost_utils

        largest = int(np.max(multihost_utils.process_allgather(np.int32(self.signal or 0))))
        self.signal = self.signal or largest or None
        return bool(largest)
