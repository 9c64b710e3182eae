"""The log of a run for TensorBoard, written to a file by tensorboardX."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np

from unet_data import IGNORED, Dataset, most_probable, pack_masks, predict_image, present_classes
from unet_data.windows import middle

from ..console import notes

MAXIMUM_SIZE = {2: 1024, 3: 256}
"""Largest size (pixels per axis) of an overlay, by the number of spatial axes."""


class TensorBoard:
    """Writes OUT/tensorboard; every reported record is on the disk at once. Where it cannot be written, one warning is
    printed, and the training continues without. Raises ModuleNotFoundError without tensorboardX."""

    def __init__(self, out: Path, validation: Dataset):
        import tensorboardX  # noqa: F401

        self._out, self._validation = out, validation
        self._writer: Any = None  # opened by the first record: a run that is refused leaves nothing in the folder
        self._runtime: Any = None  # kept, so that overlays compile once
        self._failed = False

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with self._write_errors_as_warning():
                self._writer.close()

    def report(self, record: dict[str, Any]) -> None:
        """Takes a record of the training log: losses and scores as curves; after a measurement, an overlay too."""
        if self._failed or "compiling" in record or "compiled" in record:
            return
        from tensorboardX.summary import image, scalar

        numbers = {k: v for k, v in record.items() if k != "step" and isinstance(v, int | float)}
        shown = [scalar(name, value) for name, value in numbers.items()]
        if "iou" in record:
            shown.append(image("validation", self._overlay(), dataformats="HWC"))
        with self._write_errors_as_warning():
            self._write(record["step"], shown)

    def _write(self, step: int, summaries: list[Any]) -> None:
        """Writes in this thread: tensorboardX's own thread ends on a full disk, and then its queue blocks."""
        from tensorboardX import RecordWriter
        from tensorboardX.proto import event_pb2

        protocol: Any = event_pb2

        def write(**content: Any) -> None:
            self._writer.write(protocol.Event(step=step, wall_time=time.time(), **content).SerializeToString())

        if self._writer is None:
            folder = self._out / "tensorboard"
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(str(folder / f"events.out.tfevents.{int(time.time())}.{gethostname()}"))
            write(file_version="brain.Event:2")
            start = protocol.SessionLog(status=protocol.SessionLog.START)
            write(session_log=start)  # hides what a killed run wrote from this step on
        for summary in summaries:
            write(summary=summary)
        self._writer.flush()

    @contextmanager
    def _write_errors_as_warning(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            self._failed = True
            where, why = self._out / "tensorboard", e.strerror or e
            notes.print(f"warning: cannot write {where}: {why}; going on without TensorBoard", soft_wrap=True)
            writer, self._writer = self._writer, None
            with suppress(OSError):
                if writer is not None:
                    writer.close()

    def _overlay(self) -> np.ndarray:
        """The middle of the first validation image (of a volume, the middle plane) in grey, wrong pixels in red:
        (H, W, 3) uint8."""
        from unet_jax.registry import from_pretrained
        from unet_jax.runtime import JaxRuntime

        model = from_pretrained(self._out / "last")
        fresh = JaxRuntime(model)
        self._runtime = self._runtime or fresh
        self._runtime.state = fresh.state
        assert self._validation.labels is not None
        window = middle(self._validation.images[0].shape[:-1], MAXIMUM_SIZE[self._validation.spatial_dims])
        image, truth = self._validation.images[0][window], self._validation.labels[0][window]
        logits = predict_image(self._runtime.run, image, model.config, model.data)
        guess = pack_masks(present_classes(logits)) if model.data.overlapping else most_probable(logits)
        if image.ndim == 4:
            image, truth, guess = (x[len(x) // 2] for x in (image, truth, guess))
        grey = image.astype(np.float32).mean(-1)
        low, high = float(grey.min()), float(grey.max())
        shown = np.repeat(((grey - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)[..., None], 3, axis=-1)
        shown[(guess != truth) & (truth != IGNORED)] = (220, 40, 40)
        return shown
