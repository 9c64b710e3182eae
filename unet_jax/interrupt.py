"""Signals that end a training: the loop is told, saves, and leaves by itself."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import jax

_STOPPING = b"\nstopping: the step at hand is finished and the state saved; Ctrl-C once more ends at once, unsaved\n"


class Stop:
    """Within the block, SIGTERM and SIGINT (Ctrl-C) set `signal`, say so, and the process lives on; a second SIGINT
    ends it.

    Outside of the main thread, where Python takes no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            os.write(2, _STOPPING)  # print may be at work when the signal comes
        self.signal = number

    def agreed(self, at_log_point: bool) -> bool:
        """Whether to stop now. Several processes must do so after the same step, so they ask each other, at the points
        of the log only, where they wait for the step anyway; all must call it."""
        if jax.process_count() == 1:
            return self.signal is not None
        if not at_log_point:
            return False
        import numpy as np
        from jax.experimental import multihost_utils

        told = int(np.max(multihost_utils.process_allgather(np.int32(self.signal or 0))))
        self.signal = self.signal or told or None
        return bool(told)
