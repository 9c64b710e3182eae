"""Makes the objects of a file from its stored probabilities, and writes labels, table and outlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..io.readers import Picture
from ..memory import resident
from ..spacing.target import pixel_size
from ..windows import Windows
from .labels_file import write_labels
from .outlines import Page, check_outlines, places, write_outlines
from .settings import ObjectSettings
from .streaming import DEFAULT_BUDGET, LabelImage, label_image, plan_blocks
from .table import Columns, check_table, measure_objects, with_units, write_table


@dataclass(frozen=True)
class ObjectFiles:
    """The files to write for the objects of an image file.

    Attributes:
        labels: file of the object numbers: .tif, .png, .npy, .zarr, .nii or .nii.gz.
        table: .csv or .parquet; None for no table.
        outlines: .geojson, .zip or .json; None for no outlines.
    """

    labels: Path
    table: Path | None = None
    outlines: Path | None = None

    def check(
        self, shape: Sequence[int], classes: int, settings: ObjectSettings, memory: int | None, overwrite: bool
    ) -> None:
        """Checks as much as possible before anything is computed.

        Args:
            shape: shape of an image, (*spatial).
            classes: number of classes of the network.
            settings: settings of the object separation.
            memory: memory limit of the process in bytes.
            overwrite: whether the files may exist.

        Raises:
            InputError: the table or outlines cannot be written, or the memory is too small.
        """
        if self.table is not None:
            check_table(self.table, overwrite)
        if self.outlines is not None:
            check_outlines(self.outlines, shape, overwrite)
        plan_blocks(tuple(shape), settings, classes, _budget(memory))


@dataclass(frozen=True)
class ObjectsFound:
    """The objects of a file.

    Attributes:
        counts: number of objects per class.
        settings: settings of the object separation.
        remarks: notes on what a written file cannot contain.

    Example:
        >>> from unet_data import ObjectSettings, ObjectsFound
        >>> ObjectsFound({"nucleus": 12}, ObjectSettings()).counts
        {'nucleus': 12}
    """

    counts: dict[str, int]
    settings: ObjectSettings
    remarks: tuple[str, ...] = ()


def write_objects(
    maps: Sequence[Windows],
    folder: Path,
    settings: ObjectSettings,
    files: ObjectFiles,
    names: Sequence[str],
    source: Path,
    pictures: Sequence[Picture],
    memory: int | None = None,
    done: Callable[[int, int], None] = lambda number, count: None,
) -> ObjectsFound:
    """Labels the objects of images of one size, and writes the requested files.

    Args:
        maps: for each image, the probabilities 0..255, (*spatial) of class 1 or (*spatial, K).
        folder: folder of the blocks' files, see `label_image`.
        settings: settings of the object separation.
        files: the files to write.
        names: names of the classes.
        source: the file of the images.
        pictures: the images whose intensities are measured; each may have several consecutive maps.
        memory: memory limit of the process in bytes.
        done: called after each block, see `label_image`.

    Raises:
        InputError: the memory or the disk is too small.
    """
    image = maps[0].shape[: maps[0].spatial_dims]
    pages = [
        label_image(m.window, image, len(names), settings, folder / f"{i:05d}", _budget(memory), done)
        for i, m in enumerate(maps)
    ]
    for page in pages:
        page.budget //= len(pages)  # all pages cache blocks at the same time
    remarks: list[str] = []
    note = f"; finished parts are kept in {folder}: free disk space and run the same command again"
    write_labels(files.labels, pages, note, pictures[0].facts)
    if files.table is not None or files.outlines is not None:
        each = len(pages) // len(pictures)
        tables = [_table(page, pictures[i // each], names) for i, page in enumerate(pages)]
        if files.table is not None:
            unit = pictures[0].facts.unit
            if (size := pixel_size(pictures[0].facts, len(image), unit)) is None:
                part = " along z" * (pictures[0].facts.spacing is not None)
                remarks.append(f"the file does not state its pixel size{part}: the table is in pixels (--pixel-size)")
            rows = (t if size is None else with_units(t, size, unit) for t in tables)
            write_table(files.table, _numbered(rows) if len(pages) > 1 else rows)
        if files.outlines is not None:
            where, hyperstack = places(pictures[0].facts, len(pages))
            listed = [
                Page(page, table, table["class"].tolist(), source.name, place, hyperstack)
                for page, table, place in zip(pages, tables, where, strict=True)
            ]
            remarks.append(write_outlines(files.outlines, listed, names[1:]))
    found = np.concatenate([page.objects.classes for page in pages])
    counts = {name: int((found == c).sum()) for c, name in enumerate(names) if c and c != settings.border}
    return ObjectsFound(counts, settings, tuple(filter(None, remarks)))


def _table(page: LabelImage, picture: Picture, names: Sequence[str]) -> Columns:
    spans = (page.blocks.span(number) for number in range(len(page.blocks)))
    rows = measure_objects(page, picture, page.count, spans)
    return {"object": rows.pop("object"), "class": np.array(names)[page.objects.classes], **rows}


def _numbered(tables: Iterator[Columns]) -> Iterator[Columns]:
    """The tables with a first column that numbers the images of the file from 0."""
    for index, table in enumerate(tables):
        yield {"image": np.full(len(table["object"]), index), **table}


def _budget(memory: int | None) -> int:
    return DEFAULT_BUDGET if memory is None else memory - resident()
