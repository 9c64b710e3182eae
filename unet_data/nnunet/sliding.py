"""nnU-Net's sliding window: overlapping tiles, each averaged over mirrored views, summed under a Gaussian weight.

On a CPU, nnU-Net averages views in float32, and keeps the sums over tiles, their weights and the mean of folds in
float16. `accumulate="half"` does the same, sum by sum in the same order and types, so that the result is nnU-Net's
wherever the network's own numbers are; a runtime with other last bits is one float16 number away wherever they straddle
the edge between two. "float32" is nearer to the truth and takes twice the memory.
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
    """Where tiles lie, how many views of each are computed, and how their logits are summed.

    Attributes:
        patch: voxels of a tile, of three axes, or of two: then every slice of the first axis is segmented apart.
        channels: K of the logits.
        mirror_axes: axes of the patch whose flips are averaged over, all combinations of them.
        step: distance of tiles in patches, at most.
        batch: tiles, or views of one, that a network is given at once. On a CPU, more only take more memory.
        accumulate: "half" sums as nnU-Net does, "float32" more exactly, in twice the memory.
    """

    patch: tuple[int, ...]
    channels: int
    mirror_axes: tuple[int, ...] = ()
    step: float = 0.5
    batch: int = 1
    accumulate: Accumulate = "half"

    @property
    def shape(self) -> tuple[int, ...]:
        """The patch in a volume: of three axes."""
        return self.patch if len(self.patch) == 3 else (1, *self.patch)

    @property
    def dtype(self) -> np.dtype:
        """Of the sums."""
        return np.dtype(np.float16 if self.accumulate == "half" else np.float32)

    @property
    def views(self) -> list[tuple[int, ...]]:
        """All combinations of the mirrored axes, none first, as axes of a batch (N, *patch, C)."""
        axes = [axis + 1 for axis in self.mirror_axes]
        return [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]

    def corners(self, size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """The first voxel of each tile in a volume that is at least as large as a patch."""
        starts = [tile_starts(n, w, self.step) for n, w in zip(size, self.shape, strict=True)]
        return itertools.product(range(size[0]) if len(self.patch) == 2 else starts[0], *starts[1:])


def predict_volume(
    runs: Sequence[Run], volume: Float32[np.ndarray, "c z y x"], window: SlidingWindow
) -> Float[np.ndarray, "k z y x"]:
    """The mean logits of several networks.

    Args:
        runs: one a fold, each from tiles (N, *patch, C) float32 to logits (N, *patch, K).
        volume: (C, z, y, x) float32. Smaller than a patch, it is padded with zeros on both sides.
        window: how it is gone over.

    Returns:
        (K, z, y, x) float16 or float32, as `window.accumulate` says.

    Raises:
        InputError: no runs, a run gives another shape, or the sum leaves the range of float16.
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
    # As much before as after, and an odd voxel after.
    room = [max(w - n, 0) for w, n in zip(window.shape, size, strict=True)]
    pads = [(r // 2, r - r // 2) for r in room]
    # A channels-last copy, made once: every tile of it is then a view.
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
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, by name
            for place, own in zip(group, logits, strict=True):
                sums[place] += own.reshape(*window.shape, channels) * scaled  # added in float32, then rounded
                weights[place] += weight
    with np.errstate(over="ignore", invalid="ignore"):
        sums /= weights[..., None]
    if not np.isfinite(sums).all():
        raise InputError(
            "the logits exceed the range of float16, in which nnU-Net sums them; accumulate in float32 instead"
        )
    kept = tuple(slice(low, low + n) for (low, _), n in zip(pads, size, strict=True))
    return np.ascontiguousarray(np.moveaxis(sums[kept], -1, 0))


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
    """First voxels of the tiles along an axis: evenly spread, at most `step` tiles apart, the last one at the end."""
    count = int(np.ceil((size - tile) / (tile * step))) + 1
    apart = (size - tile) / (count - 1) if count > 1 else 0.0
    return [int(np.round(apart * i)) for i in range(count)]


@lru_cache(maxsize=4)
def gaussian_weight(patch: tuple[int, ...]) -> np.ndarray:
    """(*patch) float16: 10 in the middle, falling as a Gaussian with σ of an eighth of the patch per axis; where that
    is below what float16 holds, the least value that is not."""
    from scipy.ndimage import gaussian_filter

    point = np.zeros(patch)
    point[tuple(n // 2 for n in patch)] = 1
    weight = gaussian_filter(point, [n / 8 for n in patch], mode="constant")
    half = (weight / (weight.max() / 10)).astype(np.float16)
    half[half == 0] = half[half > 0].min()
    half.setflags(write=False)
    return half
