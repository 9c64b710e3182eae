"""The log of a run for TensorBoard, written to a file by tensorboardX."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np

from unet_data import Dataset

from .base import Logger


class TensorBoard(Logger):
    """Writes OUT/tensorboard; every record is written to disk immediately. Raises ModuleNotFoundError without
    tensorboardX."""

    title = "TensorBoard"

    def __init__(self, out: Path, validation: Dataset, about: Mapping[str, Any] | None = None, resume: bool = False):
        import tensorboardX  # noqa: F401

        super().__init__(out, validation, about, resume)
        self._writer: Any = None  # opened by the first record, so that a refused run leaves no files

    @property
    def place(self) -> str:
        return str(self.out / "tensorboard")

    def write(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        """Writes in this thread, since tensorboardX's own thread ends on a full disk, and its queue then blocks."""
        from tensorboardX import RecordWriter
        from tensorboardX.proto import event_pb2
        from tensorboardX.summary import image, scalar

        protocol: Any = event_pb2

        def event(**content: Any) -> None:
            self._writer.write(protocol.Event(step=step, wall_time=time.time(), **content).SerializeToString())

        if self._writer is None:
            folder = Path(self.place)
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(str(folder / f"events.out.tfevents.{int(time.time())}.{gethostname()}"))
            event(file_version="brain.Event:2")
            start = protocol.SessionLog(status=protocol.SessionLog.START)
            event(session_log=start)  # hides records of a killed run from this step on
        for name, value in numbers.items():
            event(summary=scalar(name, value))
        if overlay is not None:
            event(summary=image("validation", overlay, dataformats="HWC"))
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def fail(self, why: object) -> None:
        super().fail(why)
        writer, self._writer = self._writer, None
        with suppress(OSError):
            if writer is not None:
                writer.close()
