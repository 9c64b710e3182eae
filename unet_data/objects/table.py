"""Measurements of objects, one row per object: counts, sums and extremes over its pixels, computed block by block.

Sums of integers are exact, so the rows do not depend on the blocks. Intensities of float images are summed in float64
and agree to about 1e-12.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import replacing, write_errors_as_input_error

from ..io.formats.units import symbol
from ..windows import Windowed, bands
from .basins import Slices

Columns = dict[str, np.ndarray]
SUFFIXES = (".csv", ".parquet")
AXES = ("z", "y", "x")


def measure_objects(
    labels: Windowed, image: Windowed | None, count: int, spans: Iterable[Slices] | None = None
) -> Columns:
    """Measures the objects of an image.

    Args:
        labels: (*spatial), 0 for background, objects 1 … count.
        image: (*spatial, C), for intensities; None for no intensities.
        count: number of objects.
        spans: windows that cover the image, in reading order. Default: bands of rows.

    Returns:
        Columns of `count` values:
        object: object number. area: pixels (voxels in 3-D). y, x (and z): centroid, with pixel centres at integers.
        y_min, y_max, …: the bounding box, half-open. mean_0, min_0, max_0, …: stored intensities of each channel.
        diameter: diameter of the circle or ball of the same area. major, minor: axes of the ellipse with the same
            second moments (in 3-D major, middle and minor). eccentricity and orientation of that ellipse (2-D; radians
            from the y axis).
        perimeter: from the number of crossings along rows and columns (Crofton, 2 directions; 2-D).

    Example:
        >>> from unet_data import measure_objects
        >>> rows = measure_objects(np.array([[1, 1, 0], [1, 1, 2]]), None, 2)
        >>> rows["area"].tolist(), rows["x"].tolist(), rows["x_max"].tolist()
        ([4, 1], [0.5, 2.0], [2, 3])
    """
    dims, channels = labels.ndim, 0 if image is None else image.shape[-1]
    names = AXES[-dims:]
    area = np.zeros(count, np.int64)
    sums, seconds = np.zeros((dims, count), np.int64), np.zeros((dims, dims, count), np.int64)
    low, high = np.full((dims, count), np.iinfo(np.int64).max), np.full((dims, count), -1)
    crossings = np.zeros(count, np.int64)
    whole = image is None or np.asarray(image[(slice(0, 1),) * dims]).dtype.kind != "f"
    total = np.zeros((channels, count), np.int64 if whole else np.float64)
    lowest, highest = np.full((channels, count), np.inf), np.full((channels, count), -np.inf)
    for span in bands(labels.shape) if spans is None else spans:
        window = np.asarray(labels[span])
        at = np.nonzero(window)
        if not len(at[0]):
            continue
        own = window[at].astype(np.int64) - 1
        # Objects are indexed by their rank in the window, so that the work does not grow with the number of objects.
        here, rank = np.unique(own, return_inverse=True)
        n = len(here)
        place = [p + s.start for p, s in zip(at, span, strict=True)]
        area[here] += np.bincount(rank, minlength=n)
        for i in range(dims):
            sums[i][here] += _sum(rank, place[i], n)
            for j in range(i, dims):
                seconds[i, j][here] += _sum(rank, place[i] * place[j], n)
            low[i][here] = np.minimum(low[i][here], _extreme(np.minimum, rank, place[i], n))
            high[i][here] = np.maximum(high[i][here], _extreme(np.maximum, rank, place[i], n))
        if dims == 2:
            crossings[here] += np.bincount(rank, _crossings(labels, span)[at], n).astype(np.int64)
        if image is not None:
            pixels = np.asarray(image[span])[at]
            for c in range(channels):
                values = pixels[:, c]
                total[c][here] += _sum(rank, values, n) if whole else np.bincount(rank, values, n)
                lowest[c][here] = np.minimum(lowest[c][here], _extreme(np.minimum, rank, values, n))
                highest[c][here] = np.maximum(highest[c][here], _extreme(np.maximum, rank, values, n))
    columns: Columns = {"object": np.arange(1, count + 1), "area": area}
    columns |= {name: sums[i] / area for i, name in enumerate(names)}
    for i, name in enumerate(names):
        columns |= {f"{name}_min": low[i], f"{name}_max": high[i] + 1}
    for c in range(channels):
        columns |= {f"mean_{c}": total[c] / area, f"min_{c}": lowest[c], f"max_{c}": highest[c]}
    columns |= _shape(area, sums, seconds)
    return columns | ({"perimeter": np.pi / 4 * crossings} if dims == 2 else {})


def _sum(rank: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Exact sums of integers by rank."""
    result = np.zeros(n, np.int64)
    np.add.at(result, rank, values.astype(np.int64))
    return result


def _extreme(which: np.ufunc, rank: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The minimum or maximum value of each rank; each rank has a value."""
    order = np.argsort(rank, kind="stable")
    return which.reduceat(values[order], np.searchsorted(rank[order], np.arange(n)))


def _crossings(labels: Windowed, span: Slices) -> np.ndarray:
    """For each pixel, the number of its edge neighbours with another number; beyond the image, the number is 0."""
    reach = [(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(span, labels.shape, strict=True)]
    missing = [(a - s.start + 1, s.stop + 1 - b) for s, (a, b) in zip(span, reach, strict=True)]
    around = np.pad(np.asarray(labels[tuple(slice(a, b) for a, b in reach)]), missing)
    own = around[1:-1, 1:-1]
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    return np.sum([own != other for other in neighbours], axis=0)


def _shape(area: np.ndarray, sums: np.ndarray, seconds: np.ndarray) -> Columns:
    """Shape columns from the central second moments of the pixels' centres, as in scikit-image."""
    dims, count = len(sums), len(area)
    diameter = 2 * np.sqrt(area / np.pi) if dims == 2 else 2 * np.cbrt(3 * area / (4 * np.pi))
    covariance = np.zeros((count, dims, dims))
    for i in range(dims):
        for j in range(i, dims):
            # Integers, because this is a difference of two large sums.
            central = [
                (int(n) * int(s) - int(a) * int(b)) / (int(n) * int(n))
                for n, s, a, b in zip(area, seconds[i, j], sums[i], sums[j], strict=True)
            ]
            covariance[:, i, j] = covariance[:, j, i] = central
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)) if count else np.zeros((0, dims))
    lengths = (4 if dims == 2 else 2 * np.sqrt(5)) * values[:, ::-1]
    columns = {"diameter": diameter}
    columns |= dict(zip(("major", "minor") if dims == 2 else ("major", "middle", "minor"), lengths.T, strict=True))
    if dims == 2:
        ratio = np.divide(lengths[:, 1], lengths[:, 0], out=np.ones(count), where=lengths[:, 0] > 0)
        columns["eccentricity"] = np.sqrt(1 - ratio**2)
        (yy, yx), (_, xx) = covariance[:, 0].T, covariance[:, 1].T
        columns["orientation"] = 0.5 * np.arctan2(2 * yx, yy - xx)
    return columns


def with_units(columns: Columns, size: Sequence[float], unit: str) -> Columns:
    """The columns, and additional ones in physical units.

    Args:
        columns: result of `measure_objects`.
        size: size of a pixel along each axis.
        unit: unit such as "micrometer" or "mm". Centimetres are converted to micrometres. A unit that is not a word is
            called "unit" in the columns' names.
    """
    if unit == "cm":  # the unit of a TIFF's resolution
        size, unit = [10000 * step for step in size], "um"
    unit = symbol(unit).replace("µ", "u")
    unit = unit if re.fullmatch(r"\w+", unit) else "unit"
    names = AXES[-len(size) :]
    more = {f"area_{unit}{len(size)}": columns["area"] * float(np.prod(size))}
    more |= {f"{name}_{unit}": columns[name] * step for name, step in zip(names, size, strict=True)}
    if len(set(size)) > 1:  # the circle or ball of the same area is one with other pixels, too; an ellipse is another
        more[f"diameter_{unit}"] = columns["diameter"] * float(np.prod(size)) ** (1 / len(size))
    else:
        lengths = [name for name in ("diameter", "major", "middle", "minor", "perimeter") if name in columns]
        more |= {f"{name}_{unit}": columns[name] * size[0] for name in lengths}
    return columns | more


def check_table(path: Path, overwrite: bool) -> None:
    """Raises InputError if a table cannot be written to `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {path}: a table is .csv or .parquet")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; --overwrite replaces it")
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def write_table(path: Path, pages: Iterable[Columns]) -> None:
    """Writes tables with the same columns, one after the other. Raises InputError if the disk is full."""
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_csv
    with write_errors_as_input_error(path), replacing(path) as temporary, write_errors_as_input_error(path):
        write(temporary, pages)


def _write_csv(path: Path, pages: Iterable[Columns]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, columns in enumerate(pages):
            if not number:
                writer.writerow(columns)
            writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _write_parquet(path: Path, pages: Iterable[Columns]) -> None:
    pa, parquet = _pyarrow()
    writer = None
    for columns in pages:
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise InputError("pyarrow is not installed; pip install 'unet-twins[objects]', or write a .csv") from None
    return pyarrow, parquet
