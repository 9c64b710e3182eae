"""The paper's weight map for labels that do not fit in memory, computed for the requested windows.

A window of the map depends only on the cells within `REACH` · σ pixels of it, since a farther cell adds nothing (see
`border_weights`). So it costs as much as a slightly larger window. Only the cell of each pixel depends on the whole
label. If the label files number the cells, they state it. Otherwise the connected regions of labels > 0 are numbered
once, band by band, in a cache file.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import cache_folder, replacing

from ..labels.regions import regions
from ..windows import BAND, Slices, bands
from .border_weights import REACH, border_weights, class_weights, pixel_weights
from .dataset import Dataset
from .stored import Stored, as_array

if TYPE_CHECKING:
    from jaxtyping import Float32


@dataclass(frozen=True)
class WindowWeights:
    """The weight map of one image, float32 with its label's shape, equal to that of `weight_maps` bit for bit.

    Attributes:
        labels: class indices.
        cells: the number of each pixel's cell, 0 is background; None without a border term.
        factors: w_c, one per class.
        w0, sigma: as in `border_weights`.
    """

    labels: np.ndarray
    cells: np.ndarray | None
    factors: np.ndarray
    w0: float
    sigma: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.labels.shape

    @property
    def ndim(self) -> int:
        return self.labels.ndim

    def __getitem__(self, window: Slices) -> Float32[np.ndarray, "*window"]:
        """The weights of a window: one slice with known ends, without step, per axis."""
        border = np.zeros((), np.float32)
        if self.cells is not None:
            halo = math.ceil(REACH * self.sigma)
            around = [
                slice(max(s.start - halo, 0), min(s.stop + halo, n)) for s, n in zip(window, self.shape, strict=True)
            ]
            inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(window, around, strict=True))
            border = border_weights(self.cells[tuple(around)], self.w0, self.sigma)[inner]
        return pixel_weights(self.labels[window], self.factors, border)


def window_weights(
    dataset: Dataset, w0: float, sigma: float, balance: bool, cache: Path | None = None
) -> tuple[np.ndarray, ...]:
    """Like `weight_maps`, but nothing is computed before a window is read.

    Args:
        dataset, w0, sigma, balance: as in `weight_maps`.
        cache: folder for the numbered cells, 4 bytes per pixel, if the labels do not number them. Default:
            `unet_spec.files.cache_folder()`.

    Raises:
        InputError: the data set has no labels, or the numbered cells cannot be written.
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source}: has no labels; a weight map needs them")
    factors = class_weights(dataset.labels, dataset.class_count) if balance else np.ones(dataset.class_count)
    cells: Any = [None] * len(dataset)
    if w0:
        folder = cache or cache_folder()
        cells = dataset.instances or [connected_cells(label, folder) for label in dataset.labels]
    maps: Any = (WindowWeights(y, c, factors, w0, sigma) for y, c in zip(dataset.labels, cells, strict=True))
    return tuple(maps)


def connected_cells(label: np.ndarray, folder: Path) -> np.ndarray:
    """The connected regions of labels > 0 (neighbours share an edge or a face), numbered from 1 in any order, int32.

    Bands are numbered separately; then regions that touch across two bands get the same number.

    Args:
        label: class indices, (H, W) or (D, H, W), read band by band.
        folder: folder of the result's file, which is named after a digest of the labels.

    Raises:
        InputError: the file cannot be written.
    """
    digest = hashlib.sha256(repr(("cells 1", label.shape)).encode())
    for band in bands(label.shape):
        digest.update(np.packbits(label[band] > 0).tobytes())
    path = folder / f"cells-{digest.hexdigest()[:32]}.npy"
    if not _is_whole(path, label.shape):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                roots = _number_bands(label, temporary)
                _join(temporary, roots)
        except OSError as e:
            raise InputError(
                f"{folder}: cannot write the numbered cells for the border weights ({e.strerror or e}); set UNET_CACHE "
                "to a folder with 4 free bytes per pixel, use labels that number the cells, or set border_weight to 0"
            ) from None
    return as_array(Stored(path, 0, "label", tuple(label.shape), None, np.dtype(np.int32)))


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file exists and is a complete .npy of int32 of this shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        return (found.shape, found.dtype) == (tuple(shape), np.int32)
    except Exception:  # numpy raises nearly everything on a damaged header
        return False


def _number_bands(label: np.ndarray, path: Path) -> np.ndarray:
    """Writes a .npy in which the regions of each band are numbered separately.

    Returns the final number of each of them: the same for regions that touch across two bands.
    """
    parent, above = [0], None
    with path.open("wb") as file:
        header = {"descr": "<i4", "fortran_order": False, "shape": tuple(label.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for band in bands(label.shape):
            numbers = regions(label[band] > 0)
            count = int(numbers.max(initial=0))
            numbers = np.where(numbers > 0, numbers + (len(parent) - 1), 0).astype("<i4")
            parent.extend(range(len(parent), len(parent) + count))
            if above is not None:
                touching = (above > 0) & (numbers[0] > 0)
                for one, other in np.unique(np.stack([above[touching], numbers[0][touching]]), axis=1).T:
                    parent[_root(parent, int(one))] = _root(parent, int(other))
            above = numbers[-1]
            file.write(numbers.tobytes())
    return np.array([_root(parent, number) for number in range(len(parent))], "<i4")


def _join(path: Path, roots: np.ndarray) -> None:
    """Replaces each number n of a .npy of int32 by roots[n], in place."""
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while part := file.read(4 * BAND):
            file.seek(-len(part), os.SEEK_CUR)
            file.write(roots[np.frombuffer(part, "<i4")].tobytes())


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number
