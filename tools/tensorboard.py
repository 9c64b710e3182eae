"""The log of a training for TensorBoard, by tensorboardX: nothing waits for a service, it only writes a file."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import IGNORED, Dataset
from unet_data.predict import labels, predict_image
from unet_data.tiles import middle


class TensorBoard:
    """Writes OUT/tensorboard; what is reported within the block is on the disk after it. Raises ModuleNotFoundError, of
    which the command tells, without tensorboardX."""

    def __init__(self, out: Path, validation: Dataset):
        from tensorboardX import SummaryWriter

        self._open = partial(SummaryWriter, str(out / "tensorboard"), write_to_disk=True)
        self._out, self._validation = out, validation

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        if "_writer" in vars(self):
            self._writer.close()  # waits for the thread that writes; a flush alone does not

    @cached_property
    def _writer(self) -> Any:
        """Opened by the first record, so that a run that is refused leaves nothing in the folder."""
        return self._open()

    def report(self, record: dict[str, Any]) -> None:
        """Takes a record of the training log: losses and scores as curves; after a measurement, an overlay too."""
        step = record["step"]
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)
        if "iou" in record and self._validation.spatial_dims == 2:
            self._writer.add_image("validation", self._overlay(), step, dataformats="HWC")
        self._writer.flush()

    def _overlay(self) -> np.ndarray:
        """The middle of the first validation image, grey, with what is wrong in red: (H, W, 3) uint8."""
        from unet_jax.runtime import JaxRuntime
        from unet_jax.zoo import from_pretrained

        model = from_pretrained(self._out / "last")
        assert self._validation.labels is not None
        window = middle(self._validation.images[0].shape[:-1])
        image, truth = self._validation.images[0][window], self._validation.labels[0][window]
        guess = labels(predict_image(JaxRuntime(model).run, image, model.config, model.data))
        grey = image.astype(np.float32).mean(-1)
        low, high = float(grey.min()), float(grey.max())
        shown = np.repeat(((grey - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)[..., None], 3, axis=-1)
        shown[(guess != truth) & (truth != IGNORED)] = (220, 40, 40)
        return shown
