"""Converts COCO annotations to a folder of images and masks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from unet_data import write_stack
from unet_spec import InputError
from unet_spec.files import replacing_folder
from unet_spec.untrusted.strict_json import read_object

_MOST_PIXELS = 2**30


@dataclass(frozen=True)
class Converted:
    """Summary of a conversion.

    Attributes:
        images, objects: numbers of images and objects.
        crowds: number of regions that hold several objects (iscrowd).
        classes: names by number; 0 is the background. With masks: names in the order of reading.
        overlaps: number of pixels in several annotations; they are assigned to the last one in the file.
    """

    images: int
    objects: int
    classes: tuple[str, ...]
    overlaps: int
    crowds: int = 0


def convert_coco(annotations: Path, images: Path, out: Path, instances: bool = False, masks: bool = False) -> Converted:
    """Writes OUT/images (copies) and OUT/labels (PNG: 1, 2, … in the order of the categories' ids, or of the objects).

    Args:
        annotations: the JSON file.
        images: the folder of the images; file names in the JSON are relative to it.
        out: a new folder.
        instances: number objects instead of classes. Crowds are left out, since they are not one object.
        masks: write masks of 0/255 to OUT/labels/CATEGORY instead, so that categories may overlap.

    Raises:
        InputError: the file is not a COCO file, an image is missing, or `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists; give a new folder")
    content = read_object(annotations)
    try:
        names = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        files = {i["id"]: (str(i["file_name"]), (int(i["height"]), int(i["width"]))) for i in content["images"]}
        own: dict[Any, list[Any]] = {key: [] for key in files}
        for annotation in content["annotations"]:
            own[annotation["image_id"]].append(annotation)
        count = sum(map(len, own.values()))
        crowds = sum(map(is_crowd, chain.from_iterable(own.values())))
        if count and not any(annotation.get("segmentation") for each in own.values() for annotation in each):
            raise InputError(f"{annotations}: has boxes only; masks need segmentations: polygons or run lengths")
        number = {key: index for index, key in enumerate(sorted(names), start=1)}
        folders = _folders(names, annotations) if masks else {}
        overlaps = 0
        with replacing_folder(out) as folder:
            for key, (name, size) in files.items():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not np.prod(size) > 0:
                    raise InputError(f"{annotations}: image {name!r} has no pixels, or its file name leaves the folder")
                if np.prod(size) > _MOST_PIXELS:
                    raise InputError(f"{annotations}: image {name!r} of {size} pixels is too large for masks")
                if not (images / name).is_file():
                    raise InputError(f"{images / name}: no such file, but {annotations.name} lists it")
                if masks:
                    own_masks = {key: np.zeros(size, bool) for key in names}
                    for annotation in own[key]:
                        own_masks[annotation["category_id"]] |= region_of(annotation["segmentation"], size)
                    overlaps += int((np.sum(list(own_masks.values()), axis=0) > 1).sum())
                    _write(folder, name, images, {folders[k]: m * np.uint8(255) for k, m in own_masks.items()})
                    continue
                mask, seen = np.zeros(size, np.uint16), np.zeros(size, bool)
                kept = [annotation for annotation in own[key] if not (instances and is_crowd(annotation))]
                for index, annotation in enumerate(kept, start=1):
                    region = region_of(annotation["segmentation"], size)
                    overlaps += int((region & seen).sum())
                    mask[region], seen = (index if instances else number[annotation["category_id"]]), seen | region
                _write(folder, name, images, {"": mask if instances or len(names) > 255 else mask.astype(np.uint8)})
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
        raise InputError(f"{annotations}: not COCO annotations of segmentations ({type(e).__name__}: {e})") from None
    classes = tuple(sorted(folders.values())) or ("background", *(names[key] for key in sorted(names)))
    return Converted(len(files), count - crowds, classes, overlaps, crowds)


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is of a region that holds several objects of its category."""
    return bool(annotation.get("iscrowd", 0))


def _folders(names: dict[int, str], annotations: Path) -> dict[int, str]:
    """Folder names of the categories. Raises InputError if two are equal or one is empty."""
    folders = {key: re.sub(r"[^\w .+-]+", "_", name).strip(" .") for key, name in names.items()}
    if not all(folders.values()) or len(set(folders.values())) < len(folders):
        raise InputError(
            f"{annotations}: categories need distinct names that can be folder names; found {list(folders.values())}"
        )
    return folders


def _write(folder: Path, name: str, images: Path, labels: dict[str, np.ndarray]) -> None:
    """Copies an image, and writes its labels, each (H, W), into folders of labels/ ("": into labels/)."""
    target = folder / "images" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(images / name, target)
    for own, label in labels.items():
        path = (folder / "labels" / own / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, label[None])


def region_of(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) bool from a list of polygons, or from run lengths, compressed or not.

    A polygon's corners are (x, y) from the image's upper left corner: the first pixel's centre is at (0.5, 0.5). Its
    pixels are those whose centres it contains; if it contains none, they are those of its outline.
    """
    if isinstance(segmentation, list):
        found = np.zeros(size, bool)
        for polygon in segmentation:
            _fill(found, np.asarray(polygon, np.float64).reshape(-1, 2))
        return found
    counts = segmentation["counts"]
    counts = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if tuple(segmentation["size"]) != size or min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
        raise ValueError(f"run lengths of {segmentation['size']} for an image of {size}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T  # columns first


def _fill(mask: np.ndarray, corners: np.ndarray) -> None:
    """Sets the pixels of a mask (H, W) whose centres are inside a polygon with these corners (x, y): those with an odd
    number of edges to their left."""
    height, width = mask.shape
    if not np.isfinite(corners).all():
        raise ValueError("a polygon has corners that are not finite")
    within = np.clip(corners, 0, (width, height))
    (left, top), (right, bottom) = np.floor(within.min(0)).astype(int), np.ceil(within.max(0)).astype(int)
    if right <= left or bottom <= top:
        return _draw(mask, corners)
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    for (x, y), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = np.clip(np.ceil(np.array(sorted((y, y2))) - 0.5), top, bottom).astype(int)
        rows = np.arange(low, high)
        if len(rows):
            at = np.ceil(x + (rows + 0.5 - y) * (x2 - x) / (y2 - y) - 0.5)
            np.add.at(crossings, (rows - top, np.clip(at, left, right).astype(int) - left), 1)
    inside = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    if not inside.any():
        return _draw(mask, corners)
    mask[top:bottom, left:right] |= inside


def _draw(mask: np.ndarray, corners: np.ndarray) -> None:
    """Draws the outline of a polygon without area into a mask."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(mask)
    ImageDraw.Draw(image).polygon([float(value) for value in corners.ravel()], fill=1, outline=1)
    mask |= np.array(image)


def _unpacked(text: str) -> Sequence[int]:
    """Decodes COCO's run lengths: five bits per character, lowest first; from the third number on, differences."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            bits = ord(text[at]) - 48
            value |= (bits & 31) << shift
            more, at, shift = bool(bits & 32), at + 1, shift + 5
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
