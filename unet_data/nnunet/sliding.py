"""nnU-Net's sliding window: overlapping tiles, averaged over mirrored views and summed with Gaussian weights.

On a CPU, nnU-Net averages views in float32, and computes the sums over tiles, their weights and the mean of folds in
float16. `accumulate="half"` does the same, in the same order and types, so that equal logits give nnU-Net's result. A
runtime whose logits differ in the last bits can differ by one float16 number, where these bits decide the rounding.
"float32" is more accurate and needs twice the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from unet_spec.errors import InputError

from ..inference.stitch import Run, check_logits

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

Accumulate = Literal["half", "float32"]


@dataclass(frozen=True)
class SlidingWindow:
    """Positions of tiles, number of their views, and precision of the sums of their logits.

    Attributes:
        patch: voxels per axis of a tile, with three axes, or with two: then every slice along the first axis is
            segmented separately.
        channels: K of the logits.
        mirror_axes: axes of the patch to flip; all combinations of flips are averaged.
        step: maximum distance of tiles, relative to the patch.
        batch: number of tiles, or views, per call of a network. On a CPU, more only need more memory.
        accumulate: "half" sums as nnU-Net does; "float32" is more accurate and needs twice the memory.
    """

    patch: tuple[int, ...]
    channels: int
    mirror_axes: tuple[int, ...] = ()
    step: float = 0.5
    batch: int = 1
    accumulate: Accumulate = "half"

    @property
    def shape(self) -> tuple[int, ...]:
        """The patch with three axes."""
        return self.patch if len(self.patch) == 3 else (1, *self.patch)

    @property
    def dtype(self) -> np.dtype:
        """dtype of the sums."""
        return np.dtype(np.float16 if self.accumulate == "half" else np.float32)

    @property
    def views(self) -> list[tuple[int, ...]]:
        """All combinations of the mirrored axes, as axes of a batch (N, *patch, C). The first one is empty."""
        axes = [axis + 1 for axis in self.mirror_axes]
        return [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]

    def corners(self, size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """The first voxel of each tile, in a volume that is at least as large as a patch."""
        starts = [tile_starts(n, w, self.step) for n, w in zip(size, self.shape, strict=True)]
        return itertools.product(range(size[0]) if len(self.patch) == 2 else starts[0], *starts[1:])


def predict_volume(
    runs: Sequence[Run], volume: Float32[np.ndarray, "c z y x"], window: SlidingWindow
) -> Float[np.ndarray, "k z y x"]:
    """The mean logits of several networks.

    Args:
        runs: one per fold, each from tiles (N, *patch, C) float32 to logits (N, *patch, K).
        volume: (C, z, y, x) float32. If it is smaller than a patch, it is padded with zeros on both sides.
        window: the sliding window.

    Returns:
        (K, z, y, x) float16 or float32, depending on `window.accumulate`.

    Raises:
        InputError: there are no runs, a run returns another shape, or the sum exceeds the range of float16.
    """
    if not runs:
        raise InputError("no network to run; give one per fold")
    total = _predict_one(runs[0], volume, window)
    for run in runs[1:]:
        total += _predict_one(run, volume, window)
    if len(runs) > 1:
        total /= total.dtype.type(len(runs))
    return total


def _predict_one(run: Run, volume: np.ndarray, window: SlidingWindow) -> np.ndarray:
    patch, dtype, channels = window.patch, window.dtype, window.channels
    size = volume.shape[1:]
    # The same padding on both sides, and an odd voxel at the end.
    room = [max(w - n, 0) for w, n in zip(window.shape, size, strict=True)]
    pads = [(r // 2, r - r // 2) for r in room]
    # One channels-last copy, of which every tile is a view.
    padded = np.ascontiguousarray(np.moveaxis(np.pad(volume, [(0, 0), *pads]), 0, -1))
    weight = gaussian_weight(patch).astype(dtype).reshape(window.shape)
    scaled = weight.astype(np.float32)[..., None]
    sums = np.zeros((*padded.shape[:-1], channels), dtype)
    weights = np.zeros(padded.shape[:-1], dtype)
    corners = list(window.corners(padded.shape[:-1]))
    each = max(1, window.batch // len(window.views))
    for first in range(0, len(corners), each):
        group = [
            tuple(slice(c, c + w) for c, w in zip(corner, window.shape, strict=True))
            for corner in corners[first : first + each]
        ]
        tiles = np.stack([padded[place].reshape(*patch, -1) for place in group])
        logits = _mean_of_views(run, tiles, window)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            for place, own in zip(group, logits, strict=True):
                sums[place] += own.reshape(*window.shape, channels) * scaled  # added in float32, then rounded
                weights[place] += weight
    with np.errstate(over="ignore", invalid="ignore"):
        sums /= weights[..., None]
    if not np.isfinite(sums).all():
        raise InputError(
            "the logits exceed the range of float16, in which nnU-Net sums them; accumulate in float32 instead"
        )
    inside = tuple(slice(low, low + n) for (low, _), n in zip(pads, size, strict=True))
    return np.ascontiguousarray(np.moveaxis(sums[inside], -1, 0))


def _mean_of_views(run: Run, tiles: np.ndarray, window: SlidingWindow) -> np.ndarray:
    """The mean logits (N, *patch, K) of tiles (N, *patch, C) over flipped views, in the order of `views`."""
    views, batch = window.views, window.batch
    count = len(tiles)
    every = np.concatenate([np.flip(tiles, flips) for flips in views])
    parts = [run(np.ascontiguousarray(every[i : i + batch])) for i in range(0, len(every), batch)]
    logits = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if logits.shape != (*every.shape[:-1], window.channels):
        raise InputError(
            f"the network returned {logits.shape} for tiles {every.shape}; "
            f"expected {(*every.shape[:-1], window.channels)}"
        )
    check_logits(logits)
    total = logits[:count].copy()
    for number, flips in enumerate(views[1:], 1):
        total += np.flip(logits[number * count : (number + 1) * count], flips)
    if len(views) > 1:
        total /= np.float32(len(views))
    return total


def tile_starts(size: int, tile: int, step: float) -> list[int]:
    """First voxels of the tiles along an axis: evenly spaced, at most `step` tiles apart, the last one at the end."""
    count = int(np.ceil((size - tile) / (tile * step))) + 1
    distance = (size - tile) / (count - 1) if count > 1 else 0.0
    return [int(np.round(distance * i)) for i in range(count)]


@lru_cache(maxsize=4)
def gaussian_weight(patch: tuple[int, ...]) -> np.ndarray:
    """(*patch) float16: a Gaussian with its maximum, 10, in the middle and σ of an eighth of the patch per axis.

    Values that are 0 in float16 are replaced by the smallest other value.
    """
    from scipy.ndimage import gaussian_filter

    point = np.zeros(patch)
    point[tuple(n // 2 for n in patch)] = 1
    weight = gaussian_filter(point, [n / 8 for n in patch], mode="constant")
    half = (weight / (weight.max() / 10)).astype(np.float16)
    half[half == 0] = half[half > 0].min()
    half.setflags(write=False)
    return half
