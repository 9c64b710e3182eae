"""golden.npz of a bundle: an image, its network input, and the logits of the float64 reference."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_spec import InputError
from unet_spec.untrusted.archives import read_npz
from unet_spec.weights.check import all_finite

from .manifest import GOLDEN, Bundle


@dataclass(frozen=True)
class Golden:
    """Test data of a bundle.

    Attributes:
        image: (*spatial, C), as read.
        input: (1, *canvas, C) float32.
        logits: (1, *out, K) float64, for `input`.
    """

    image: np.ndarray
    input: np.ndarray
    logits: np.ndarray

    def save(self, folder: Path) -> None:
        """Writes golden.npz into a folder."""
        content = io.BytesIO()
        np.savez(content, image=self.image, input=self.input, logits=self.logits)
        (folder / GOLDEN).write_bytes(content.getvalue())

    @classmethod
    def load(cls, bundle: Bundle) -> Golden:
        """Reads the golden data of a bundle. Raises InputError if the file is damaged or its arrays do not fit the
        network."""
        path, config = bundle.folder / GOLDEN, bundle.config
        arrays = read_npz(path, ("image", "input", "logits"))
        image, given, logits = arrays["image"], arrays["input"], arrays["logits"]
        dims, channels = config.spatial_dims, config.in_channels
        expected = {
            "image": image.ndim == dims + 1 and image.shape[-1] == channels,
            "input": given.ndim == dims + 2 and (len(given), given.shape[-1]) == (1, channels),
        }
        if wrong := next((name for name, fits in expected.items() if not fits or not arrays[name].size), None):
            raise InputError(f"{path}: {wrong} has the shape {arrays[wrong].shape}, which does not match the network")
        config.geometry.check(given.shape[1:-1])
        out = (1, *config.geometry.output_shape(given.shape[1:-1]), config.output_channels)
        if logits.shape != out or not all(map(all_finite, arrays.values())):
            raise InputError(f"{path}: logits of {logits.shape}, expected {out}, or it has values that are not finite")
        return cls(image, given, logits)
