"""The float64 NumPy reference, the distance of a candidate from it, and the bound for runtimes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data import most_probable
from unet_data.windows import mirror_window
from unet_spec import Checkpoint, Geometry
from unet_spec.tiling.tiles import plan_tiles
from unet_spec.weights.check import check_finite

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Shaped

FLOAT32_BOUND = 1e-5
"""Maximum error of a float32 runtime, relative to the reference's largest logit. `write_bundle` and `unet check`
enforce it, and the documentation states it. Runtimes are usually near 1e-6. Only "mnn-fast" has a larger bound:
`runtimes.mnn_runtime.DEVIATION`."""


@dataclass(frozen=True)
class Distance:
    """Difference between logits and reference logits.

    Attributes:
        worst_absolute: The largest absolute difference.
        rms: The root of the mean square difference.
        reference_max: The largest absolute logit of the reference.
        worst_relative: `worst_absolute / reference_max`, which `FLOAT32_BOUND` limits.

    Example:
        >>> import numpy as np
        >>> from unet_export import Distance
        >>> Distance.between(np.array([1.0, -4.0]), np.array([1.0, -5.0])).worst_relative
        0.2
    """

    worst_absolute: float
    rms: float
    reference_max: float
    worst_relative: float

    @classmethod
    def between(cls, logits: Float[np.ndarray, "*shape"], reference: Float[np.ndarray, "*shape"]) -> Distance:
        """The distance between two arrays of the same shape. A NaN in `logits` makes it infinite, so it exceeds every
        bound."""
        difference = logits.astype(np.float64) - reference
        if not np.isfinite(difference).all():
            return cls(math.inf, math.inf, float(np.abs(reference).max()), math.inf)
        worst, largest = float(np.abs(difference).max()), float(np.abs(reference).max())
        rms = float(np.sqrt(np.mean(np.square(difference))))
        return cls(worst, rms, largest, worst / largest if largest else (math.inf if worst else 0.0))

    def to_dict(self) -> dict[str, Any]:
        """The entry in parity.json."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """A candidate's logits against those of the float64 reference, over several inputs.

    Attributes:
        distance: Between the logits.
        label_agreement: Share of pixels with the same label, in 0..1; 0 if a logit is not finite.
    """

    distance: Distance
    label_agreement: float

    def to_dict(self) -> dict[str, Any]:
        """The entry in parity.json."""
        return {**self.distance.to_dict(), "label_agreement": self.label_agreement}


def compare(
    candidates: Sequence[Float[np.ndarray, ...]],
    references: Sequence[Float[np.ndarray, ...]],
    classes: int | None = None,
) -> Comparison:
    """Compares logits (1, *spatial, K) with reference logits of the same shapes, pair by pair.

    Args:
        candidates, references: the logits, optionally followed by a distance.
        classes: number of logits for the labels, `config.out_channels`. None: all channels.
    """
    candidate, reference = (
        np.concatenate([a.reshape(-1, a.shape[-1]) for a in group]) for group in (candidates, references)
    )
    labels = (most_probable(a[:, :classes]) for a in (candidate, reference))
    agreement = float(np.mean(np.equal(*labels))) if np.isfinite(candidate).all() else 0.0
    return Comparison(Distance.between(candidate, reference), agreement)


def golden_size(geometry: Geometry) -> tuple[int, ...]:
    """Pixels per axis of the default golden image: small, different on every axis, and off the network's grid."""
    smallest = 24 if geometry.graph.spatial_dims == 2 else 8
    return tuple(smallest + geometry.grid(a).step * a + 1 for a in range(geometry.graph.spatial_dims))


def default_golden_image(
    checkpoint: Checkpoint, images: Sequence[Shaped[np.ndarray, ...]] | None = None
) -> Shaped[np.ndarray, "*spatial c"]:
    """The golden image of a bundle if the user gives none.

    Args:
        checkpoint: The network.
        images: Images (*spatial, C).

    Returns:
        (*spatial, C): the middle of the last of `images`, at most 193 pixels (24 in 3-D) per axis. Without images,
        uint8: blurred noise, the same in every run, with edges and flat parts.
    """
    if images:
        largest = 193 if checkpoint.config.spatial_dims == 2 else 24
        image = images[-1]
        starts = [max(0, (n - largest) // 2) for n in image.shape[:-1]]
        return np.ascontiguousarray(image[tuple(slice(s, s + largest) for s in starts)])
    size = golden_size(checkpoint.config.geometry)
    noise = np.random.default_rng(0).normal(size=(*size, checkpoint.config.in_channels))
    for axis in range(len(size)):
        noise = sum(np.roll(noise, shift, axis) for shift in range(-2, 3)) / math.sqrt(5)
    return np.clip(127.5 + 60 * noise, 0, 255).astype(np.uint8)


def whole_input(geometry: Geometry, image: Shaped[np.ndarray, "*spatial c"]) -> Shaped[np.ndarray, "1 *canvas c"]:
    """The network's input (1, *canvas, C) for a prepared image (*spatial, C): mirrored at its edges up to a size that
    fits."""
    plan = plan_tiles(geometry, image.shape[:-1])
    return np.ascontiguousarray(mirror_window(image, [-axis.margin for axis in plan.axes], plan.canvas)[None])


def reference_logits(
    checkpoint: Checkpoint, network_input: Float[np.ndarray, "n *canvas c"]
) -> Float64[np.ndarray, "n *out k"]:
    """The NumPy reference in float64: logits (N, *out, K) of inputs (N, *canvas, C). Raises InputError if weights are
    not finite."""
    check_finite(checkpoint.tensors, "cannot compute the reference")
    tensors = {name: tensor.astype(np.float64) for name, tensor in checkpoint.tensors.items()}
    return checkpoint.config.graph.forward(tensors, network_input.astype(np.float64))
