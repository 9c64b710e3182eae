"""Converts logits to results: class numbers, probabilities, or the logits themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unet_spec import InputError, NetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped, UInt

OutputKind = Literal["labels", "probabilities", "logits", "objects"]
OutputType = Literal["uint8", "float16", "float32"]


@dataclass(frozen=True)
class Output:
    """Kinds of results.

    Attributes:
        kind: "labels" (class numbers), "probabilities" (of class 1 if there are two classes, else of each class),
            "logits" (all channels, including the distance) or "objects" (the probabilities from which objects are made,
            in uint8; with a distance, those of all classes and the distance, 0..1 as 0..255).
        dtype: dtype of probabilities ("uint8": 0 to 255) and logits; labels are uint8, or uint16 beyond 256 classes.
        overlapping: whether a pixel may have several classes (`DataSpec.overlapping`). Labels then have one channel of
            0 and 1 for each class, and probabilities one channel for each class.
        distance: whether the network's last channel is a distance (`NetworkConfig.distance_head`).

    Raises:
        InputError: logits in uint8.
    """

    kind: OutputKind = "labels"
    dtype: OutputType = "float32"
    overlapping: bool = False
    distance: bool = False

    def __post_init__(self) -> None:
        if self.kind == "logits" and self.dtype == "uint8":
            raise InputError("logits cannot be written as uint8; use float16 or float32")

    def pixel(self, config: NetworkConfig) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of one pixel of the result."""
        if self.overlapping and self.kind != "logits":
            return (config.out_channels,), np.dtype(np.uint8 if self.kind == "labels" else self.dtype)
        if self.kind == "labels":
            return (), np.dtype(np.uint8 if config.out_channels <= 256 else np.uint16)
        if self.kind == "logits":
            return (config.output_channels,), np.dtype(self.dtype)
        if self.kind == "objects" and self.distance:
            return (config.classes + 1,), np.dtype(self.dtype)
        return (() if config.classes == 2 else (config.classes,)), np.dtype(self.dtype)

    def of(self, output: Float[np.ndarray, "*spatial k"]) -> Shaped[np.ndarray, "*spatial_pixel"]:
        """Converts a network's output, logits and possibly a distance, to the result (*spatial, *pixel)."""
        if self.kind == "logits":
            return output.astype(self.dtype)
        logits = output[..., :-1] if self.distance else output
        if self.kind == "labels":
            return present_classes(logits) if self.overlapping else most_probable(logits)
        p = probabilities(logits, self.overlapping)
        if self.kind == "objects" and self.distance:
            p = np.concatenate([p, np.clip(output[..., -1:], 0, 1)], -1)
        p = p[..., 1] if p.shape[-1] == 2 and not self.overlapping else p
        return np.round(p * 255).astype(np.uint8) if self.dtype == "uint8" else p.astype(self.dtype)


def probabilities(logits: Float[np.ndarray, "*n k"], overlapping: bool = False) -> Float[np.ndarray, "*n classes"]:
    """Softmax over the last axis, or the sigmoid of each logit.

    Args:
        logits: (..., K). A single channel is the logit of class 1; that of class 0 is 0, so the softmax is a sigmoid.
        overlapping: whether a pixel may have several classes, so that a sigmoid is applied to each logit.

    Returns:
        (..., K) in 0..1, in the dtype of the logits; (..., 2) for one channel of classes that do not overlap.

    Example:
        >>> from unet_data import probabilities
        >>> probabilities(np.zeros((3, 1))).tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    if overlapping:
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1, small).astype(logits.dtype) / (1 + small)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def most_probable(logits: Float[np.ndarray, "*n k"]) -> UInt[np.ndarray, "*n"]:
    """The most probable class; the first one among equals.

    Args:
        logits: (..., K); one channel is the logit of class 1.

    Returns:
        Class numbers (...), uint8, or uint16 beyond 256 classes.

    Example:
        >>> from unet_data import most_probable
        >>> most_probable(np.array([[0.1, 2.0, 0.3], [5.0, 0.0, 5.0]]))
        array([1, 0], dtype=uint8)
    """
    chosen = logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
    return chosen.astype(np.uint8 if logits.shape[-1] <= 256 else np.uint16)


def present_classes(logits: Float[np.ndarray, "*n k"]) -> UInt[np.ndarray, "*n k"]:
    """For overlapping classes: 1 for each class whose probability is above one half.

    Args:
        logits: (..., K), one for each class.

    Returns:
        (..., K) uint8, 0 or 1.

    Example:
        >>> from unet_data import present_classes
        >>> present_classes(np.array([[0.1, -2.0], [5.0, 0.5]])).tolist()
        [[1, 0], [1, 1]]
    """
    return (logits > 0).astype(np.uint8)
