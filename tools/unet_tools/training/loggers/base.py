"""Base class of the loggers. If a logger fails, training continues without it."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unet_data import Dataset

from ...console import notes
from .overlay import Overlay

LONGEST_WAIT = 20.0
"""Seconds to wait at the end of training until a service has received the last records."""

WAITING = 1000
"""Maximum number of queued records; with more, the service counts as failed."""


class Logger(ABC):
    """Receives the records of a training run, and writes numbers and overlays. If it fails, it prints one warning and
    ignores further records.

    Args:
        out, validation, about, resume: as in `open_logger`.
    """

    title: ClassVar[str]

    def __init__(self, out: Path, validation: Dataset, about: Mapping[str, Any] | None = None, resume: bool = False):
        self.out, self.about, self.resume = out, dict(about or {}), resume
        self.overlay = Overlay(out, validation)
        self.failed = False

    @property
    @abstractmethod
    def place(self) -> str:
        """Destination of the records: a folder or an address."""

    @abstractmethod
    def write(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        """Writes one record; the overlay is (H, W, 3) uint8."""

    @abstractmethod
    def close(self) -> None:
        """Closes the log."""

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.failed:
            with self._errors_as_warning():
                self.close()

    def report(self, record: Mapping[str, Any]) -> None:
        """Receives a record of the training log: losses and scores. After a validation, an overlay is added."""
        if self.failed or "compiling" in record or "compiled" in record:
            return
        numbers = {k: v for k, v in record.items() if k != "step" and isinstance(v, int | float)}
        overlay = self.overlay.draw() if "iou" in record else None
        with self._errors_as_warning():
            self.write(record["step"], numbers, overlay)

    @contextmanager
    def _errors_as_warning(self) -> Iterator[None]:
        try:
            yield
        except Exception as e:  # services raise many kinds of errors
            self.fail(getattr(e, "strerror", None) or e)

    def fail(self, why: object) -> None:
        """Prints the warning and ignores further records."""
        if not self.failed:
            self.failed = True
            why = " ".join(str(why).split())[:200]
            notes.print(f"warning: cannot write {self.place}: {why}; continuing without {self.title}")


class Service(Logger):
    """A logger that may wait for a server, so it sends records from a separate thread."""

    def __init__(self, out: Path, validation: Dataset, about: Mapping[str, Any] | None = None, resume: bool = False):
        super().__init__(out, validation, about, resume)
        self._records: queue.Queue[tuple[int, Mapping[str, float], np.ndarray | None] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = (
            None  # started by the first record, so that a refused run leaves no files
        )

    @abstractmethod
    def start(self) -> None:
        """Opens the run, in the thread."""

    @abstractmethod
    def send(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        """Sends one record, in the thread."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the run, in the thread."""

    def write(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name=self.title)
            self._thread.start()
        try:
            self._records.put_nowait((step, numbers, overlay))
        except queue.Full:
            raise TimeoutError(f"{WAITING} records wait to be sent") from None

    def close(self) -> None:
        if self._thread is None:
            return
        self._records.put_nowait(None)
        self._thread.join(LONGEST_WAIT)
        if self._thread.is_alive():
            raise TimeoutError(f"the last records were not accepted within {LONGEST_WAIT:g} s")

    def _work(self) -> None:
        with self._errors_as_warning():
            self.start()
            while (record := self._records.get()) is not None:
                self.send(*record)
            self.finish()
