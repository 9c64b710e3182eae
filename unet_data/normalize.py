"""Normalises pixel values: by statistics of the training images, by those of each image, or as usual for CT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec
from unet_spec.errors import InputError
from unet_spec.weights.data_spec import NormalizationName

from .datasets.dataset import Dataset
from .io.facts import void
from .windows import Slices, Windowed, bands

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

# A channel whose standard deviation, relative to its mean, is at most this is constant except for rounding.
CONSTANT = 1e-6

SAMPLES = 2**22
"""Approximate number of pixels of an image from which percentiles are computed; all pixels of smaller images."""

PERCENTILES = (1.0, 99.0)
"""Percentiles of an image that become 0 and 1 in the normalisation "percentile"."""

STATISTICS = 2**28
"""Pixels of a data set from which mean and standard deviation are computed: all of a smaller data set, otherwise about
as many, in blocks."""

BLOCK = {2: 1024, 3: 128}
"""By number of dimensions: side of these blocks, in pixels."""

CT_PERCENTILES = (0.5, 99.5)
"""Percentiles, of the pixels of all classes except the first, to which "ct" clips (Isensee et al. 2021)."""


@dataclass(frozen=True)
class Normalization:
    """One mean and one standard deviation per channel.

    Integer images are divided by the largest value of their dtype (uint8 / 255, uint16 / 65535), so that the same image
    in 8 and 16 bits has the same statistics. Float images are used as they are.

    Attributes:
        mean: mean of each channel, finite.
        std: standard deviation of each channel, finite, > 0.
        low, high: clipping limits of each channel, applied first; empty: no clipping.
        nodata: stored value of pixels without data, which become 0. None: all pixels have data.

    Raises:
        InputError: lengths are 0 or differ, or values are outside these ranges.

    Example:
        >>> from unet_data import Normalization, membranes
        >>> normalization = Normalization.from_dataset(membranes(2, 64, seed=0))
        >>> normalization.apply(np.zeros((8, 8, 1), np.uint8)).shape
        (8, 8, 1)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    nodata: float | None = None

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(
                f"a normalization needs one mean and one std per channel, not {len(self.mean)} and {len(self.std)}"
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(value) and value > 0 for value in self.std):
            raise InputError(f"a normalization needs finite means and stds > 0, not {self.mean} and {self.std}")

    def apply(self, image: Shaped[np.ndarray, "*n c"]) -> Float32[np.ndarray, "*n c"]:
        """(image - m mean) / (m std), with m the largest value of an integer dtype and 1 for floats.

        Args:
            image: (..., C), uint8, uint16 or floating.

        Returns:
            A new array.

        Raises:
            InputError: C differs from the number of means, or the dtype is not supported.
        """
        if image.ndim < 1 or image.shape[-1] != len(self.mean):
            given = image.shape[-1] if image.ndim else 0
            raise InputError(f"the image has {given} channel(s) but the normalization is for {len(self.mean)}")
        # In the image's units, integers are exact in float32 and the subtraction rounds only once.
        scale = full_scale(image.dtype)
        missing = None if self.nodata is None else void(image, self.nodata)
        result = image.astype(np.float32)
        if missing is not None:
            result[missing] = 0  # the arithmetic with a value such as -3.4e38 would overflow
        if self.low:
            low, high = (np.asarray([v * scale for v in values], np.float32) for values in (self.low, self.high))
            np.clip(result, low, high, out=result)
        result -= np.asarray([value * scale for value in self.mean], np.float32)
        result /= np.asarray([value * scale for value in self.std], np.float32)
        if missing is not None:
            result[missing] = 0
        return result

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Normalization:
        """Mean and (population) standard deviation of every channel over all pixels with data of all images.

        Of more than `STATISTICS` pixels, only blocks are read (`statistics_windows`), from memory as from files.

        They are computed in float64 for bands of rows, and combined by the pairwise update of Chan, Golub and LeVeque
        1979, which is accurate for large means. A constant channel gets std 1, so that it becomes 0 and not noise.
        """
        windows = statistics_windows([image.shape[:-1] for image in dataset.images])
        parts = ((image, window) for image, own in zip(dataset.images, windows, strict=True) for window in own)
        return cls(*_moments(parts, dataset.channels, dataset.nodata), nodata=dataset.nodata)

    @classmethod
    def of(cls, data: DataSpec, image: Windowed) -> Normalization:
        """The normalisation of an image (*spatial, C) for a network with this data spec; for "image" and "percentile",
        it is computed from the image."""
        channels = image.shape[-1]
        if data.normalization == "image":
            whole = ((image, band) for band in bands(image.shape[:-1]))
            return cls(*_moments(whole, channels, data.nodata), nodata=data.nodata)
        if data.normalization == "percentile":
            low, high = _percentiles(sample(image, data.nodata), PERCENTILES)
            return cls(low, tuple(b - a if b > a else 1.0 for a, b in zip(low, high, strict=True)), nodata=data.nodata)
        mean, std = data.mean or (0.0,) * channels, data.std or (1.0,) * channels
        return cls(mean, std, data.low, data.high, data.nodata)


def normalization_of(dataset: Dataset, name: NormalizationName = "dataset") -> DataSpec:
    """The data spec, without class names, of a network that is trained on a data set.

    Args:
        dataset: data set for the statistics: "dataset" uses mean and standard deviation of all pixels, "ct" statistics
            of all classes but the first (of all pixels, if there is no other class).
        name: see `unet_spec.DataSpec`.

    Example:
        >>> from unet_data import membranes
        >>> from unet_data.normalize import normalization_of
        >>> normalization_of(membranes(1, 32, seed=0), "image").mean
        ()
    """
    if name == "dataset":
        normal = Normalization.from_dataset(dataset)
        return DataSpec(normal.mean, normal.std, nodata=dataset.nodata)
    if name != "ct":
        return DataSpec(normalization=name, nodata=dataset.nodata)
    found: list[list[np.ndarray]] = [[] for _ in range(dataset.channels)]
    for index, image in enumerate(dataset.images):
        label = None if dataset.labels is None else dataset.labels[index]
        for channel, values in enumerate(sample(image, dataset.nodata, label, SAMPLES // len(dataset))):
            found[channel].append(values)
    values = [np.concatenate(parts) for parts in found]
    if not all(len(each) for each in values):
        return normalization_of(replace(dataset, labels=None, class_names=(), instances=None), "ct")
    low, high = _percentiles(values, CT_PERCENTILES)
    high = tuple(b if b > a else a + 1.0 for a, b in zip(low, high, strict=True))
    mean, std = tuple(float(v.mean()) for v in values), tuple(float(v.std()) or 1.0 for v in values)
    return DataSpec(mean, std, normalization="ct", low=low, high=high, nodata=dataset.nodata)


def resolved(data: DataSpec, image: Windowed, nodata: float | None = None) -> DataSpec:
    """The data spec that normalises every window of an image in the same way as the whole image.

    Args:
        data: data spec of the network.
        image: (*spatial, C), read in bands if the normalisation depends on its values.
        nodata: the value that the image's file declares. None: as in training.
    """
    data = data if nodata is None else replace(data, nodata=nodata)
    if data.normalization not in ("image", "percentile"):
        return data
    normal = Normalization.of(data, image)
    return replace(data, normalization="dataset", mean=normal.mean, std=normal.std)


def sample(
    image: Windowed, nodata: float | None = None, label: np.ndarray | None = None, pixels: int = SAMPLES
) -> list[np.ndarray]:
    """Values of every k-th pixel of each channel, in units of full scale. Pixels without data and, if there is a label,
    those of class 0 are left out.

    Args:
        image: (*spatial, C), read in bands.
        nodata: value of pixels without data.
        label: (*spatial).
        pixels: approximate number of pixels, which determines k.
    """
    step = max(1, int(np.prod(image.shape[:-1], dtype=np.int64)) // max(1, pixels))
    found: list[list[np.ndarray]] = [[] for _ in range(image.shape[-1])]
    before = 0
    for band in bands(image.shape[:-1]):
        window = image[band]
        taken = window.reshape(-1, window.shape[-1])[-before % step :: step]
        known = np.ones(taken.shape, bool) if nodata is None else ~void(taken, nodata)
        if label is not None:
            known &= (label[band].reshape(-1)[-before % step :: step] > 0)[:, None]
        scaled = taken.astype(np.float64) / full_scale(window.dtype)
        for channel, values in enumerate(found):
            values.append(scaled[known[:, channel], channel])
        before += window[..., 0].size
    return [np.concatenate(parts) for parts in found]


def _percentiles(values: Iterable[np.ndarray], which: tuple[float, float]) -> tuple[tuple[float, ...], ...]:
    pairs = [np.percentile(each, which) if len(each) else (0.0, 1.0) for each in values]
    return tuple(tuple(float(v) for v in side) for side in zip(*pairs, strict=True))


def statistics_windows(sizes: Sequence[Sequence[int]]) -> list[list[Slices]]:
    """The windows of each image from which mean and standard deviation are computed.

    Args:
        sizes: spatial sizes of the images.

    Returns:
        Bands that cover the images if they have at most `STATISTICS` pixels. Otherwise, aligned blocks at random
        places, with the same share of each image; they are always the same for the same sizes.

    Example:
        >>> statistics_windows([(600, 500)])
        [[(slice(0, 600, None), slice(0, 500, None))]]
    """
    total = sum(math.prod(size) for size in sizes)
    if total <= STATISTICS:
        return [list(bands(size)) for size in sizes]
    found = []
    for number, size in enumerate(sizes):
        side = BLOCK[len(size)]
        grid = [-(-n // side) for n in size]
        count = math.prod(grid)
        places = np.random.default_rng(number).permutation(count)[: max(1, round(count * STATISTICS / total))]
        starts = (np.asarray(np.unravel_index(np.sort(places), grid)) * side).T.tolist()
        found.append([tuple(slice(a, min(a + side, n)) for a, n in zip(at, size, strict=True)) for at in starts])
    return found


def statistics_note(dataset: Dataset, name: NormalizationName) -> str:
    """A line for the user if mean and standard deviation are computed from a part of the pixels, otherwise ""."""
    sizes = [image.shape[:-1] for image in dataset.images]
    total = sum(math.prod(size) for size in sizes)
    if name != "dataset" or total <= STATISTICS:
        return ""
    blocks = sum(map(len, statistics_windows(sizes)))
    side = "x".join([str(BLOCK[dataset.spatial_dims])] * dataset.spatial_dims)
    return f"mean and standard deviation: from {blocks} blocks of {side} pixels, as the images have {total:.1e} pixels"


def _moments(
    parts: Iterable[tuple[Windowed, Slices]], channels: int, nodata: float | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel; see `Normalization.from_dataset`."""
    count, mean, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for here, around, number in _band_moments(parts, channels, nodata):
        delta, total = here - mean, count + number
        safe = np.maximum(total, 1)
        squares += around + delta**2 * (count * number / safe)
        mean += delta * (number / safe)
        count = total
    std = np.sqrt(squares / np.maximum(count, 1))
    std = np.where(std <= CONSTANT * np.abs(mean), 1.0, std)
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def _band_moments(
    parts: Iterable[tuple[Windowed, Slices]], channels: int, nodata: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each window: the mean of each channel, the sum of squares around it, and the number of pixels with data."""
    for image, place in parts:
        window = image[place]
        pixels = window.reshape(-1, channels)
        known = None if nodata is None else ~void(pixels, nodata)
        pixels = pixels.astype(np.float64) / full_scale(window.dtype)
        if known is None:
            here = pixels.mean(axis=0)
            yield here, ((pixels - here) ** 2).sum(axis=0), np.full(channels, float(len(pixels)))
            continue
        number = known.sum(axis=0).astype(np.float64)
        here = np.where(known, pixels, 0).sum(axis=0) / np.maximum(number, 1)
        yield here, (np.where(known, pixels - here, 0) ** 2).sum(axis=0), number


def full_scale(dtype: np.dtype) -> float:
    """The value that corresponds to 1: 255 for uint8, 65535 for uint16, 1 for floats. Raises InputError for others."""
    if dtype.kind == "f":
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise InputError(f"cannot normalize {dtype}; images are uint8, uint16 or floating point")
