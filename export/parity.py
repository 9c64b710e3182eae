"""How far a runtime is from the float64 NumPy reference, on one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unet_data.tiles import mirror_window
from unet_spec import Checkpoint, Geometry
from unet_spec.tiling import plan_tiles

BOUND = 1e-4
"""What a float32 runtime may be off, relative to the reference's largest logit; sound ones are near 1e-6."""


@dataclass(frozen=True)
class Distance:
    """Between logits and reference logits.

    Attributes:
        worst_absolute: the largest difference.
        rms: the root of the mean square difference.
        reference_max: the reference's largest absolute logit.
        worst_relative: worst_absolute / reference_max.
    """

    worst_absolute: float
    rms: float
    reference_max: float
    worst_relative: float

    @classmethod
    def between(cls, logits: np.ndarray, reference: np.ndarray) -> Distance:
        """Of two arrays of one shape; a NaN in `logits` makes every distance infinite, so no bound lets it pass."""
        difference = logits.astype(np.float64) - reference
        if not np.isfinite(difference).all():
            return cls(math.inf, math.inf, float(np.abs(reference).max()), math.inf)
        worst, most = float(np.abs(difference).max()), float(np.abs(reference).max())
        rms = float(np.sqrt(np.mean(np.square(difference))))
        return cls(worst, rms, most, worst / most if most else (math.inf if worst else 0.0))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def golden_size(geometry: Geometry) -> tuple[int, ...]:
    """Pixels per axis of the default golden image: small, another size on every axis, and no size that fits."""
    least = 24 if geometry.graph.spatial_dims == 2 else 8
    return tuple(least + geometry.grid(a).step * a + 1 for a in range(geometry.graph.spatial_dims))


def default_golden_image(checkpoint: Checkpoint, images: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """(*spatial, C): the middle of the last of `images`, at most 193 pixels (24 in 3-D) an axis; without any, an 8-bit
    image that every run draws alike: blurred noise, which has edges and flat parts."""
    if images:
        most = 193 if checkpoint.config.spatial_dims == 2 else 24
        image = images[-1]
        starts = [max(0, (n - most) // 2) for n in image.shape[:-1]]
        return np.ascontiguousarray(image[tuple(slice(s, s + most) for s in starts)])
    size = golden_size(checkpoint.config.geometry)
    noise = np.random.default_rng(0).normal(size=(*size, checkpoint.config.in_channels))
    for axis in range(len(size)):
        noise = sum(np.roll(noise, shift, axis) for shift in range(-2, 3)) / math.sqrt(5)
    return np.clip(127.5 + 60 * noise, 0, 255).astype(np.uint8)


def whole_input(geometry: Geometry, image: np.ndarray) -> np.ndarray:
    """The network's input (1, *canvas, C) for a prepared image (*spatial, C): mirrored up to a size that fits."""
    plan = plan_tiles(geometry, image.shape[:-1])
    return np.ascontiguousarray(mirror_window(image, [-axis.margin for axis in plan.axes], plan.canvas)[None])


def reference_logits(checkpoint: Checkpoint, network_input: np.ndarray) -> np.ndarray:
    """The NumPy reference in float64: logits (1, *out, K) of an input (1, *canvas, C)."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in checkpoint.tensors.items()}
    return checkpoint.config.graph.forward(tensors, network_input.astype(np.float64))


def measure(run: Callable[[np.ndarray], np.ndarray], network_input: np.ndarray, reference: np.ndarray) -> Distance:
    """How far `run` is from the reference on one input."""
    return Distance.between(run(network_input), reference)
