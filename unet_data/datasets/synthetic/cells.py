"""Synthetic microscope images of cells from a seed: touching, textured, moving, with exact labels.

They replace the data sets of the U-Net paper's second experiment, PhC-U373 (phase contrast) and DIC-HeLa, if these are
not available. A cell keeps its number for life. When it divides, two new numbers begin, with it as their parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from unet_spec.errors import InputError

from ..dataset import Dataset
from ..label_rule import LabelRule
from .microscope import Style, optics_of, picture_of
from .outlines import field_of
from .population import Habit, Population

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt16

Dtype = Literal["uint8", "uint16"]
STYLES: tuple[Style, ...] = get_args(Style)
_HABITS: dict[Style, Habit] = {
    "phase-contrast": Habit(packing=0.92, adhesion=0.12, outline=0.17, decay=1.25, stretch=0.55, rounding=0.28),
    "dic": Habit(packing=0.90, adhesion=0.05, outline=0.08, decay=0.9, stretch=0.25, rounding=0.12),
}
_COVERED: dict[Style, float] = {"phase-contrast": 0.22, "dic": 0.98}
"""Default share of the field that cells cover."""

_ACROSS: dict[Style, float] = {"phase-contrast": 7.0, "dic": 5.5}
"""Default number of cells along the shorter side of a picture."""

_MARGIN = 1.0  # width of the margin around the field in which cells also live, in diameters
_MIN_PIXELS = 12  # minimum number of visible pixels of a cell for a label


@dataclass(frozen=True, eq=False)
class CellSequence:
    """Frames of cells that move, grow and divide.

    Attributes:
        images: images of each frame (H, W, 1), uint8 or uint16.
        labels: cell numbers of each frame (H, W), 0 for background. A cell is one region and has the same number in all
            frames.
        tracks: a row for each number: number, first frame, last frame, number of the parent or 0.
        source: a description.

    Example:
        >>> from unet_data import cell_sequence
        >>> frames = cell_sequence(3, 96, seed=0).dataset()
        >>> frames.names, frames.class_names
        (('t000', 't001', 't002'), ('background', 'cell'))
    """

    images: tuple[np.ndarray, ...]
    labels: tuple[UInt16[np.ndarray, "h w"], ...]
    tracks: Int64[np.ndarray, "n 4"]
    source: str

    def dataset(self) -> Dataset:
        """The frames as a data set whose labels number objects. As for files, a line of one pixel between touching
        cells is background (see `label_rule`)."""
        return _dataset(self.images, self.labels, [f"t{i:03d}" for i in range(len(self.images))], self.source)


def cell_sequence(
    frames: int,
    size: int | tuple[int, int],
    seed: int,
    style: Style = "phase-contrast",
    count: int | None = None,
    diameter: float | None = None,
    contrast: float = 1.0,
    cycle: float = 40.0,
    speed: float | None = None,
    dtype: Dtype = "uint8",
) -> CellSequence:
    """A synthetic microscope sequence of cells.

    The same call gives the same bytes (a few pixels may differ on other kinds of processors). A longer sequence begins
    with the frames of a shorter one.

    Args:
        frames: 1 or more.
        size: pixels of a square, or (H, W), each 32 or more.
        seed: 0 or more.
        style: "phase-contrast" has flat cells with dark bodies and bright halos, alone and in groups; "dic" has packed
            cells in relief, lit from one side.
        count: approximate number of cells in the first frame. Default: as many as cover 22 % (phase-contrast) or 98 %
            (dic) of it.
        diameter: mean diameter of the cells in pixels, from 8 to the shorter side. Default: a seventh
            (phase-contrast) or 2/11 (dic) of the shorter side.
        contrast: contrast of the cells against the background; 1 is that of a good microscope.
        cycle: mean number of frames from the birth of a cell to its division, 4 or more.
        speed: pixels per frame. Default: 2 % of the diameter.
        dtype: dtype of the images: "uint8", or "uint16" with values up to 65535.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from unet_data import cell_sequence
        >>> sequence = cell_sequence(3, 96, seed=0)
        >>> sequence.images[0].shape, sequence.labels[0].dtype, sequence.tracks[0].tolist()
        ((96, 96, 1), dtype('uint16'), [1, 0, 2, 0])
    """
    return _draw_sequence(
        [seed], frames, _Parameters.checked(size, seed, style, count, diameter, contrast, cycle, speed, dtype)
    )


def cells(
    count: int,
    size: int | tuple[int, int],
    seed: int,
    style: Style = "phase-contrast",
    diameter: float | None = None,
    contrast: float = 1.0,
) -> Dataset:
    """A synthetic data set of microscope pictures, each of different cells, with labels that number the cells.

    Picture i depends on i and on all arguments except `count`. The same call gives the same bytes.

    Args:
        count: number of pictures.
        size, seed, style, diameter, contrast: as in `cell_sequence`.

    Returns:
        Images uint8; labels 1 inside of a cell, 0 elsewhere and on a line of one pixel between touching cells;
        instances with the cells' numbers.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> from unet_data import cells
        >>> data = cells(2, 96, seed=0, style="dic")
        >>> data.class_names, [int(each.max()) for each in data.instances]
        (('background', 'cell'), [47, 48])
    """
    if count < 1:
        raise InputError(f"count must be 1 or more, not {count}")
    parameters = _Parameters.checked(size, seed, style, None, diameter, contrast, 40.0, None, "uint8")
    sequences = [_draw_sequence([seed, index], 1, parameters) for index in range(count)]
    images, labels = (
        [part[0] for part in parts] for parts in zip(*((d.images, d.labels) for d in sequences), strict=True)
    )
    return _dataset(images, labels, [f"{style}-{i:03d}" for i in range(count)], f"synthetic {style} cells, seed {seed}")


@dataclass(frozen=True)
class _Parameters:
    """The arguments of `cell_sequence`, checked, with defaults filled in."""

    shape: tuple[int, int]
    style: Style
    count: int
    diameter: float
    contrast: float
    cycle: float
    speed: float
    dtype: Dtype

    @classmethod
    def checked(
        cls,
        size: int | tuple[int, int],
        seed: int,
        style: Style,
        count: int | None,
        diameter: float | None,
        contrast: float,
        cycle: float,
        speed: float | None,
        dtype: Dtype,
    ) -> _Parameters:
        shape = (size, size) if isinstance(size, int) else tuple(size)
        if len(shape) != 2 or min(shape) < 32:
            raise InputError(f"size {size}: give one or two lengths of 32 pixels or more")
        if style not in STYLES:
            raise InputError(f"unknown style {style!r}; choose from {', '.join(STYLES)}")
        if dtype not in get_args(Dtype):
            raise InputError(f"unknown dtype {dtype!r}; choose from {', '.join(get_args(Dtype))}")
        if seed < 0 or not 0 < contrast < np.inf or not 4 <= cycle < np.inf:
            raise InputError(
                f"seed must be 0 or more, contrast above 0, cycle 4 or more; not {seed}, {contrast} and {cycle}"
            )
        width = min(shape) / _ACROSS[style] if diameter is None else diameter
        width = max(width, 8.0) if diameter is None else width
        if not 8 <= width <= min(shape):
            raise InputError(f"diameter must lie between 8 and {min(shape)} pixels, the shorter side; not {diameter}")
        room = shape[0] * shape[1] / (np.pi * width**2 / 4)  # number of cells that cover the field without overlap
        number = max(1, round(_COVERED[style] * room)) if count is None else count
        if not 1 <= number <= max(1.2 * room, 1):
            raise InputError(f"count must lie between 1 and {max(int(1.2 * room), 1)} for this size, not {count}")
        pace = 0.02 * width if speed is None else speed
        if not 0 <= pace <= width / 4:
            raise InputError(f"speed must lie between 0 and {width / 4:.1f}, a quarter of the diameter; not {speed}")
        return cls(shape, style, number, width, contrast, cycle, pace, dtype)


def _draw_sequence(entropy: list[int], frames: int, parameters: _Parameters) -> CellSequence:
    if frames < 1:
        raise InputError(f"frames must be 1 or more, not {frames}")
    style, shape, kind = parameters.style, parameters.shape, STYLES.index(parameters.style)
    rng = np.random.default_rng([*entropy, kind])
    optics = optics_of(rng, shape, style, parameters.diameter)
    population = Population(
        rng,
        shape,
        parameters.count,
        parameters.diameter,
        parameters.cycle,
        parameters.speed,
        _HABITS[style],
        margin=_MARGIN,
    )
    images, labels = [], []
    tracks: dict[int, list[int]] = {}
    for frame in range(frames):
        if frame:
            population.step()
        field = field_of(population, shape, optics.coarse)
        labels.append(_numbered(population, field.owner, tracks, frame))
        picture = picture_of(
            np.random.default_rng([*entropy, kind, frame]), population, field, optics, parameters.contrast
        )
        images.append(np.rint(picture * np.iinfo(parameters.dtype).max).astype(parameters.dtype)[..., None])
        number = population.cells.number
        population.keep((number == 0) | np.isin(number, labels[-1]))  # a cell that leaves does not return
    source = f"synthetic {style} cells, seed {entropy[0]}"
    return CellSequence(tuple(images), tuple(labels), np.array(list(tracks.values()), np.int64).reshape(-1, 4), source)


def _numbered(population: Population, owner: np.ndarray, tracks: dict[int, list[int]], frame: int) -> np.ndarray:
    """The labels of a frame. Cells that are visible for the first time get a number and a row in `tracks`."""
    cells = population.cells
    sizes = np.bincount(owner.ravel() + 1, minlength=len(cells.age) + 1)[1:]
    names = np.zeros(len(cells.age) + 1, np.int64)
    for i in np.flatnonzero(sizes >= _MIN_PIXELS).tolist():
        if not cells.number[i]:
            parent = int(cells.parent[i])
            cells.number[i] = len(tracks) + 1
            tracks[len(tracks) + 1] = [len(tracks) + 1, frame, frame, parent]
        names[i] = cells.number[i]
        tracks[int(names[i])][2] = frame
    if len(tracks) > 65535:
        raise InputError("more than 65535 cells: 16-bit labels cannot number more; use fewer frames or cells")
    return names[owner].astype(np.uint16)  # owner -1 selects the last name, 0


def _dataset(images: Sequence[np.ndarray], labels: Sequence[np.ndarray], names: Sequence[str], source: str) -> Dataset:
    rule = LabelRule("instance", 2)
    return Dataset(
        images=tuple(images),
        labels=tuple(map(rule.apply, labels)),
        names=tuple(names),
        class_names=("background", "cell"),
        source=source,
        instances=tuple(map(rule.numbers, labels)),
    )
