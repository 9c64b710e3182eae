"""Converts logits to results: class numbers, probabilities, or the logits themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unet_spec import InputError, NetworkConfig

from ..spacing.grids import BAND, Grids
from ..spacing.interpolate import interpolated
from ..windows import Slices, Windowed, bands

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Shaped, UInt

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


def class_shares(parts: Iterable[Shaped[np.ndarray, "*n"]], classes: int, masks: bool) -> tuple[float, ...]:
    """The share of each class in the pixels of an image, given in parts of any shape.

    Args:
        parts: class numbers or, with `masks`, one mask for each class along the last axis.
        classes: number of classes.
        masks: whether a pixel may have several classes.

    Example:
        >>> from unet_data.inference.output import class_shares
        >>> class_shares([np.array([0, 1]), np.array([[1, 1]])], 2, masks=False)
        (0.25, 0.75)
    """
    counts, pixels = np.zeros(classes, np.int64), 0
    for part in parts:
        if masks:
            counts += part.reshape(-1, classes).sum(0, dtype=np.int64)
        else:
            counts += np.bincount(part.ravel(), minlength=classes)
        pixels += part.size // (classes if masks else 1)
    return tuple(float(share) for share in counts / max(1, pixels))


@dataclass(frozen=True)
class Chances:
    """A network's outputs (*spatial, K), read as probabilities and, after them, a distance if there is one."""

    outputs: Windowed
    config: NetworkConfig
    overlapping: bool

    @property
    def shape(self) -> tuple[int, ...]:
        extra = self.config.out_channels == 1 and not self.overlapping  # both classes of a single logit
        return (*self.outputs.shape[:-1], self.outputs.shape[-1] + extra)

    @property
    def ndim(self) -> int:
        return self.outputs.ndim

    def __getitem__(self, window: Slices) -> np.ndarray:
        values, count = self.outputs[window], self.config.out_channels
        chances = probabilities(values[..., :count], self.overlapping)
        return np.concatenate([chances, values[..., count:]], -1)

    def outputs_of(self, values: np.ndarray) -> Float32[np.ndarray, "*spatial k"]:
        """The inverse, for probabilities that were interpolated: logits that have these probabilities."""
        distance = values[..., -1:] if self.config.distance_head else values[..., :0]
        chances = values[..., : values.shape[-1] - distance.shape[-1]]
        tiny = np.finfo(np.float32).tiny
        logits = np.log(np.maximum(chances, tiny))
        if self.overlapping:
            logits -= np.log(np.maximum(1 - chances, tiny))
        elif self.config.out_channels == 1:
            logits = logits[..., 1:] - logits[..., :1]
        return np.concatenate([logits, distance], -1).astype(np.float32)


def on_own_pixels(
    outputs: Windowed, grids: Grids, config: NetworkConfig, overlapping: bool, window: Slices | None = None
) -> Float32[np.ndarray, "*window k"]:
    """A network's outputs for a resampled image, on the image's own pixels.

    Probabilities are interpolated linearly, then converted to logits again; a distance is interpolated as it is.

    Args:
        outputs: (*target, K).
        grids: the pixels of the image and of the target.
        config: the network.
        overlapping: whether a pixel may have several classes.
        window: slices of the image, with start, stop and a step if any. None: all of it.

    Example:
        >>> from unet_data.inference.output import on_own_pixels
        >>> from unet_data.spacing.grids import Grids
        >>> from unet_spec import preset
        >>> on_own_pixels(np.zeros((4, 4, 2)), Grids((8, 2), (4, 4), (3, 3)), preset("same"), False).shape
        (8, 2, 2)
    """
    source = Chances(outputs, config, overlapping)
    if window is not None:
        return source.outputs_of(interpolated(source, grids.backward, window))
    result = np.empty((*grids.own, outputs.shape[-1]), np.float32)
    for band in bands(grids.own, BAND):
        result[band] = source.outputs_of(interpolated(source, grids.backward, band))
    return result
