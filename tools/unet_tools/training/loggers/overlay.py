"""A validation image on which the errors of the last weights are marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unet_data import IGNORED, Dataset, most_probable, pack_masks, predict_image, present_classes
from unet_data.windows import middle

MAXIMUM_SIZE = {2: 1024, 3: 256}
"""Largest size (pixels per axis) of an overlay, by the number of spatial axes."""

WRONG = (220, 40, 40)


class Overlay:
    """Draws the first validation image with the errors of the weights in OUT/last.

    Args:
        out: the run's folder.
        validation: labelled images.
    """

    def __init__(self, out: Path, validation: Dataset):
        self.out, self.validation = out, validation
        self.runtime: Any = None  # reused, so that the network compiles once

    def draw(self) -> np.ndarray:
        """The middle of the image (for a volume, of its middle plane) in grey, with wrong pixels in red: (H, W, 3)
        uint8."""
        from unet_jax.registry import from_pretrained
        from unet_jax.runtime import JaxRuntime

        model = from_pretrained(self.out / "last")
        fresh = JaxRuntime(model)
        self.runtime = self.runtime or fresh
        self.runtime.state = fresh.state
        assert self.validation.labels is not None
        window = middle(self.validation.images[0].shape[:-1], MAXIMUM_SIZE[self.validation.spatial_dims])
        image, truth = self.validation.images[0][window], self.validation.labels[0][window]
        logits = predict_image(self.runtime.run, image, model.config, model.data)
        guess = pack_masks(present_classes(logits)) if model.data.overlapping else most_probable(logits)
        if image.ndim == 4:
            image, truth, guess = (x[len(x) // 2] for x in (image, truth, guess))
        grey = image.astype(np.float32).mean(-1)
        low, high = float(grey.min()), float(grey.max())
        shown = np.repeat(((grey - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)[..., None], 3, axis=-1)
        shown[(guess != truth) & (truth != IGNORED)] = WRONG
        return shown
