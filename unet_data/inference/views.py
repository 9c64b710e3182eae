"""Test-time augmentation: the mean of the probabilities over flipped, turned or rotated views of the image.

It is off by default: it multiplies the work, and the result is no longer that of the network alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from unet_spec.errors import InputError

from .output import probabilities
from .stitch import Run

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Shaped

Symmetry = Literal["flips", "turns", "flips+turns"]
PAPER_ROTATIONS = tuple(360.0 * k / 7 for k in range(7))
"""In degrees. The paper (section 4) averages over 7 rotated versions of the input but does not state the angles."""


def augmented(run: Run, symmetry: Symmetry, overlapping: bool = False, distance: bool = False) -> Run:
    """The same network with test-time augmentation: probabilities are averaged over views of each tile.

    Tiles stay exact: a tile on the grid of total strides stays on it when the image is flipped. Quarter turns swap the
    sides of tiles, so a runtime for a fixed size needs square tiles.

    Args:
        run: the network.
        symmetry: "flips" of every axis, 4 views in 2-D and 8 in 3-D; "turns", 4 quarter turns of the last two axes;
            "flips+turns", both, 8 views in 2-D.
        overlapping: whether classes may overlap (`DataSpec.overlapping`).
        distance: whether the last channel is a distance (`NetworkConfig.distance_head`).

    Returns:
        A `Run` that computes logits whose softmax, or sigmoids, are the mean of the views' probabilities. A distance is
        the mean of the views' distances.

    Example:
        >>> from unet_data import augmented
        >>> rows = lambda x: x * np.arange(4.0).reshape(1, 4, 1, 1)  # a network that prefers lower rows
        >>> mean = augmented(rows, "flips")(np.ones((1, 4, 4, 1)))
        >>> np.allclose(mean, mean[:, ::-1])
        True
    """

    def averaged(windows: np.ndarray) -> np.ndarray:
        total: np.ndarray | float = 0.0
        views = symmetries(symmetry, windows.ndim - 2)
        channels = 0
        for flips, turns in views:
            view = np.flip(windows, flips) if flips else windows
            logits = run(np.ascontiguousarray(np.rot90(view, turns, (-3, -2))))
            channels = logits.shape[-1]
            p = np.rot90(_to_average(logits, overlapping, distance), -turns, (-3, -2))
            total = total + (np.flip(p, flips) if flips else p)
        return _averaged(np.asarray(total) / len(views), channels, overlapping, distance).astype(windows.dtype)

    return averaged


def symmetries(symmetry: Symmetry, dims: int) -> list[tuple[tuple[int, ...], int]]:
    """The views, each once: axes to flip, in a batch (N, *spatial, C), and number of quarter turns after that."""
    axes = range(1, dims + 1)
    flips = [f for count in range(dims + 1) for f in itertools.combinations(axes, count)]
    if symmetry == "flips":
        return [(f, 0) for f in flips]
    if symmetry == "turns":
        return [((), k) for k in range(4)]
    # A half turn equals two flips, so that only one quarter turn adds views.
    return [(f, k) for f in flips for k in range(2)]


def _to_average(output: np.ndarray, overlapping: bool, distance: bool) -> np.ndarray:
    """The quantities of an output that are averaged: probabilities, and the distance unchanged."""
    if not distance:
        return probabilities(output, overlapping)
    return np.concatenate([probabilities(output[..., :-1], overlapping), output[..., -1:]], -1)


def _averaged(mean: np.ndarray, channels: int, overlapping: bool, distance: bool) -> np.ndarray:
    """The inverse of `_to_average`: an output with `channels` channels."""
    if not distance:
        return as_logits(mean, channels, overlapping)
    return np.concatenate([as_logits(mean[..., :-1], channels - 1, overlapping), mean[..., -1:]], -1)


def as_logits(
    p: Float[np.ndarray, "*n k"], channels: int, overlapping: bool = False
) -> Float[np.ndarray, "*n channels"]:
    """Logits whose `probabilities` are p."""
    if overlapping:
        tiny = np.finfo(np.float32).tiny
        return np.log(np.maximum(p, tiny)) - np.log(np.maximum(1 - p, tiny))
    logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return logs[..., 1:] - logs[..., :1] if channels == 1 else logs


def predict_rotated(
    predict: Callable[[np.ndarray], np.ndarray],
    image: Shaped[np.ndarray, "*spatial c"],
    angles: tuple[float, ...] = PAPER_ROTATIONS,
    overlapping: bool = False,
    distance: bool = False,
) -> Float32[np.ndarray, "*spatial k"]:
    """The logits of an image, averaged over rotated versions of the whole image, in memory.

    The image is rotated by linear interpolation and mirrored beyond its edges. Probabilities are rotated back likewise.

    Args:
        predict: computes the logits of an image of any size.
        image: (H, W, C).
        angles: angles in degrees; 0 leaves the image unchanged.
        overlapping, distance: as in `augmented`.

    Raises:
        InputError: the image is a volume.
    """
    if image.ndim != 3:
        raise InputError("rotations are for 2-D images; --augment flips works in 3-D")
    total, channels = 0.0, 0
    for angle in angles:
        logits = predict(_rotate(image, angle, None))
        channels = logits.shape[-1]
        total = total + _rotate(_to_average(logits, overlapping, distance), -angle, image.shape[:2])
    return _averaged(np.asarray(total) / len(angles), channels, overlapping, distance).astype(np.float32)


def _rotate(image: np.ndarray, angle: float, size: tuple[int, ...] | None) -> np.ndarray:
    """Rotates an image about its centre onto a canvas of `size`, or (None) one that contains the whole image."""
    from scipy.ndimage import map_coordinates

    height, width = image.shape[:2]
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    if angle % 360 == 0:
        return image
    if size is None:
        lengths = abs(height * cosine) + abs(width * sine), abs(height * sine) + abs(width * cosine)
        size = tuple(math.ceil(length - 1e-6) for length in lengths)  # a quarter turn adds no pixel
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    rows = cosine * y[:, None] - sine * x + (height - 1) / 2
    columns = sine * y[:, None] + cosine * x + (width - 1) / 2
    parts = [
        map_coordinates(image[..., c].astype(np.float32), [rows, columns], order=1, mode="mirror")
        for c in range(image.shape[-1])
    ]
    result = np.stack(parts, -1)
    return np.round(result).astype(image.dtype) if image.dtype.kind == "u" else result.astype(image.dtype)
