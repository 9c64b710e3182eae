"""Writes outlines of objects, along the edges of their pixels, in formats of other programs.

    .geojson   QuPath and GIS programs: a polygon with its holes for each object
    .zip       ImageJ and Fiji: a set of ROIs, outer outlines only
    .json      COCO: run-length masks, exact

Coordinates are (x, y) in pixels from the image's upper left corner; the first pixel's centre is at (0.5, 0.5).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import replacing, write_errors_as_input_error

from ..io.carried import counted_axes
from ..io.facts import FileFacts
from ..windows import Windowed
from .table import Columns

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

SUFFIXES = (".geojson", ".zip", ".json")
_ROI_MAX = 60535
"""Maximum of ImageJ's integer coordinates, in pixels."""


@dataclass(frozen=True)
class Page:
    """One image with its objects.

    Attributes:
        labels: object numbers (H, W).
        table: result of `measure_objects`, for the bounding boxes.
        classes: name of each object's class.
        name: name of the image's file.
        place: (z, t) of the image in its file, from 0. None: the file has one image.
        hyperstack: whether the file has several of two of channels, planes and time points.
    """

    labels: Windowed
    table: Columns
    classes: Sequence[str]
    name: str
    place: tuple[int, int] | None = None
    hyperstack: bool = False

    def masks(self) -> Iterator[tuple[int, int, int, Bool[np.ndarray, "h w"]]]:
        """For each object: its number, the upper left pixel (y, x) of its bounding box, and its mask in the box."""
        columns = (self.table[name].tolist() for name in ("object", "y_min", "y_max", "x_min", "x_max"))
        for number, top, bottom, left, right in zip(*columns, strict=True):
            yield number, top, left, np.asarray(self.labels[slice(top, bottom), slice(left, right)]) == number


def rings(mask: Bool[np.ndarray, "h w"]) -> list[Int64[np.ndarray, "corners 2"]]:
    """The outlines of an object with edge-connected pixels: the outer one first, then those of its holes.

    Each is a closed polygon of corners (x, y) whose first and last are equal, with the object on its right side. Where
    two pixels meet only at a corner, the outline goes around the background, so that no ring touches itself.

    Example:
        >>> rings(np.array([[True, True]]))[0].tolist()
        [[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    starts: dict[tuple[int, int], list[int]] = {}
    # Directions: 0 right, 1 down, 2 left, 3 up. For each: the neighbour on its left, and the start of the pixel's edge.
    sides = ((padded[:-2, 1:-1], 0, 0), (padded[1:-1, 2:], 0, 1), (padded[2:, 1:-1], 1, 1), (padded[1:-1, :-2], 1, 0))
    for direction, (other, down, right) in enumerate(sides):
        for y, x in np.argwhere(inside & ~other).tolist():
            starts.setdefault((y + down, x + right), []).append(direction)
    found = []
    for corner in sorted(starts):
        while starts[corner]:
            direction = starts[corner].pop()
            at, ring = corner, [(corner[1], corner[0])]
            while True:
                at = (at[0] + (0, 1, 0, -1)[direction], at[1] + (1, 0, -1, 0)[direction])
                if at == corner:
                    break
                here = starts[at]
                turn = min(here, key=lambda d: (d - direction + 1) % 4)  # prefer a left turn
                here.remove(turn)
                if turn != direction:
                    ring.append((at[1], at[0]))
                direction = turn
            found.append(np.array([*ring, ring[0]], np.int64))
    return found


def places(facts: FileFacts, pages: int) -> tuple[list[tuple[int, int] | None], bool]:
    """`Page.place` and `Page.hyperstack` of the images of a file. Images without a depth axis are time points.

    Example:
        >>> from unet_data import FileFacts
        >>> places(FileFacts(axes="ZYX", sizes=(2, 8, 8)), 2)
        ([(0, 0), (1, 0)], False)
    """
    if pages == 1:
        return [None], False
    letters, lengths = counted_axes(facts, pages, 2) or ("T", (pages,))
    several = dict(zip(facts.axes, facts.sizes, strict=False))
    at = (dict(zip(letters, index, strict=True)) for index in np.ndindex(*lengths))
    return [(p.get("Z", 0), p.get("T", 0)) for p in at], len(letters) > 1 or several.get("C", 1) > 1


def check_outlines(path: Path, shape: Sequence[int], overwrite: bool) -> None:
    """Raises InputError if outlines of images of this shape cannot be written to `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {path}: outlines are .geojson (QuPath), .zip (ImageJ) or .json (COCO)")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; --overwrite replaces it")
    if len(shape) != 2:
        raise InputError(f"{path}: outlines are for images, not for volumes")
    if path.suffix.lower() == ".zip":
        _roifile()
        if max(shape) > _ROI_MAX:
            raise InputError(
                f"{path}: ImageJ ROIs are limited to {_ROI_MAX} pixels, the image has {max(shape)}; use .geojson"
            )


def write_outlines(path: Path, pages: Sequence[Page], names: Sequence[str]) -> str:
    """Writes the outlines of all objects, one after the other.

    Args:
        path: the file; its suffix states the format.
        pages: the images of one file.
        names: names of the classes that objects may have.

    Returns:
        A line about information that the format cannot store, or "".

    Raises:
        InputError: the disk is full.
    """
    write = {".geojson": _write_geojson, ".zip": _write_rois, ".json": _write_coco}[path.suffix.lower()]
    with write_errors_as_input_error(path), replacing(path) as temporary, write_errors_as_input_error(path):
        return write(temporary, pages, names)


def _write_geojson(path: Path, pages: Sequence[Page], names: Sequence[str]) -> str:
    def features() -> Iterator[Any]:
        for page in pages:
            for number, top, left, mask in page.masks():
                polygon = [np.add(ring, (left, top)).tolist() for ring in rings(mask)]
                geometry: dict[str, Any] = {"type": "Polygon", "coordinates": polygon}
                if page.place is not None:
                    geometry["plane"] = {"c": -1, "z": page.place[0], "t": page.place[1]}  # as in QuPath's files
                kind = page.classes[number - 1]
                properties = {"objectType": "detection", "name": str(number), "classification": {"name": kind}}
                yield {"type": "Feature", "geometry": geometry, "properties": properties}

    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        _write_items(file, features())
        file.write("\n]}\n")
    return ""


def _write_coco(path: Path, pages: Sequence[Page], names: Sequence[str]) -> str:
    category = {name: i for i, name in enumerate(names, start=1)}

    def annotations() -> Iterator[Any]:
        count = 0
        for index, page in enumerate(pages, start=1):
            height, width = page.labels.shape
            for number, top, left, mask in page.masks():
                count += 1
                yield {
                    "id": count,
                    "image_id": index,
                    "category_id": category[page.classes[number - 1]],
                    "segmentation": {"size": [height, width], "counts": _runs(mask, top, left, height, width)},
                    "area": int(mask.sum()),
                    "bbox": [left, top, mask.shape[1], mask.shape[0]],
                    "iscrowd": 0,
                }

    images = [
        {"id": i, "file_name": page.name, "height": page.labels.shape[0], "width": page.labels.shape[1]}
        for i, page in enumerate(pages, start=1)
    ]
    categories = [{"id": i, "name": name} for name, i in category.items()]
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"images": {json.dumps(images)}, "categories": {json.dumps(categories)}, "annotations": [')
        _write_items(file, annotations())
        file.write("\n]}\n")
    return ""


def _write_items(file: IO[str], items: Iterator[Any]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, separators=(",", ":")))


def _runs(mask: np.ndarray, top: int, left: int, height: int, width: int) -> list[int]:
    """Lengths of the runs of 0 and 1, column by column of the whole image, beginning with 0."""
    turned = np.pad(mask.T, ((0, 0), (1, 1))).astype(np.int8)
    column, row = np.nonzero(np.diff(turned, axis=1))
    places = (left + column) * height + top + row
    # A run at the end of a column continues at the start of the next column.
    joined = np.flatnonzero(np.diff(places) == 0)
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    return np.diff([0, *places.tolist(), height * width]).tolist()


def _write_rois(path: Path, pages: Sequence[Page], names: Sequence[str]) -> str:
    roifile, holes = _roifile(), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, page in enumerate(pages, start=1):
            for number, top, left, mask in page.masks():
                outer, *inner = rings(mask)
                holes += bool(inner)
                kind = page.classes[number - 1]
                name = f"{kind}-{number:06d}" if len(pages) == 1 else f"{kind}-{index:04d}-{number:06d}"
                roi = roifile.ImagejRoi.frompoints(np.add(outer[:-1], (left, top)), name=name)
                if page.place is not None and page.hyperstack:  # for all channels
                    roi.z_position, roi.t_position = page.place[0] + 1, page.place[1] + 1
                else:
                    roi.position = index if len(pages) > 1 else 0
                archive.writestr(f"{name}.roi", roi.tobytes())
    return (
        f"ROIs cannot have holes: of {holes} objects with holes, only the outer outlines are written" if holes else ""
    )


def _roifile() -> Any:
    try:
        import roifile
    except ModuleNotFoundError:
        raise InputError("roifile is not installed; pip install 'unet-twins[objects]', or write a .geojson") from None
    return roifile
