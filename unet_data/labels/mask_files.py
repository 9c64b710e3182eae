"""Label files of overlapping classes: one mask file per class, one channel or page per class, or numbers that belong to
several classes.

labels/CLASS/NAME, labels/NAME_CLASS, labels/NAME/CLASS     the mask of one class each
labels/NAME with K channels, or K pages for a single image  class 0 … class K−1
labels/NAME with one number per pixel                         classes of `class_numbers`: "whole=1-3;core=2,3"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from ..io.decode import check_file, decode, one_line
from ..io.facts import FileFacts, ReadSettings
from ..io.readers import is_zarr, open_pictures
from ..io.stores.remote import url_of
from .agreement import check_agreement
from .masks import check_count, one_mask, pack_masks, parse_regions, regions_of
from .numbers import one_number

if TYPE_CHECKING:
    from jaxtyping import Int32, Shaped


@dataclass
class MaskReader:
    """Reads the labels of one data set, and checks that all files have the same classes.

    Attributes:
        classes: names of the classes, in order, if each has a mask file; else ().
        spatial_dims: 2 or 3.
        settings: how files are read if there is a choice.
        ignore: the number that marks pixels to ignore.
        class_numbers: names and numbers of the classes if the files have one number per pixel.
        names: names of the classes, known after the first file.
    """

    classes: tuple[str, ...]
    spatial_dims: int
    settings: ReadSettings
    ignore: int | None = None
    class_numbers: str = ""
    names: tuple[str, ...] = ()
    _first: Path | None = None
    _files: list[tuple[Path, FileFacts]] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_count(len(self.classes), f"mask files of the classes {', '.join(self.classes[:4])}, …")
        self._regions = parse_regions(self.class_numbers)
        if self.settings.class_colors and not self._regions:
            raise InputError(
                "class colors with overlapping classes need class numbers, which state to which classes each "
                "colour belongs"
            )
        if self.classes and self._regions:
            raise InputError(
                f"class numbers are for label files with one number a pixel, but {', '.join(self.classes[:4])} "
                "have their own mask files; leave the class numbers out"
            )

    def read(
        self, files: Sequence[Path], classes: Sequence[str], spatial: tuple[int, ...]
    ) -> tuple[Int32[np.ndarray, "n h w"], FileFacts]:
        """The labels of an image, packed by `pack_masks`, and their facts.

        Args:
            files: label files of an image.
            classes: the class of each file if each is the mask of one class; else ().
            spatial: (N, H, W) of its pictures, or (D, H, W).

        Raises:
            InputError: a file cannot be read, has another size, does not contain masks, or has other classes than the
                previous files.
        """
        if classes:
            packed, facts = self._of_classes(dict(zip(classes, files, strict=True)), spatial)
            found: tuple[str, ...] = self.classes
        else:
            packed, facts, found = self._of_one(files[0], spatial)
        if self.names and self.names != found:
            raise InputError(
                f"{files[0]}: has {len(found)} classes ({', '.join(found[:4])}) but {self._first} has "
                f"{len(self.names)} ({', '.join(self.names[:4])}); they must be equal"
            )
        self.names, self._first = found, self._first or files[0]
        return packed, facts

    def check(self) -> None:
        """Raises InputError if the files of the set were read in different ways."""
        none = [np.zeros(0, np.uint8)] * len(self._files)
        check_agreement([path for path, _ in self._files], [facts for _, facts in self._files], none, self.settings)

    @property
    def note(self) -> str:
        """A description of how the labels were read."""
        if self._regions:
            return "labels read as numbers of overlapping classes, by --class-numbers"
        how = "one file per class" if self.classes else "one channel or page per class"
        return f"labels read as masks of overlapping classes, {how}"

    def _of_classes(self, files: dict[str, Path], spatial: tuple[int, ...]) -> tuple[np.ndarray, FileFacts]:
        masks = np.zeros((*spatial, len(self.classes)), np.int8)
        facts = FileFacts()
        for k, name in enumerate(self.classes):
            if name in files:
                raw, facts = self._raw(files[name], spatial)
                masks[..., k] = one_mask(one_number(_fitting(raw, spatial, files[name], 1), files[name]), files[name],
                                         self.ignore)  # fmt: skip
        absent = tuple(f"class {name} without a mask file" for name in self.classes if name not in files)
        return pack_masks(masks), replace(facts, left_out=(*facts.left_out, *absent))

    def _of_one(self, path: Path, spatial: tuple[int, ...]) -> tuple[np.ndarray, FileFacts, tuple[str, ...]]:
        raw, facts = self._raw(path, spatial)
        if self._regions:
            pixels = raw if self.settings.class_colors else _fitting(raw, spatial, path, 1)
            numbers = one_number(pixels, path, self.settings)
            return regions_of(numbers, path, self._regions, self.ignore), facts, tuple(n for n, _ in self._regions)
        raw = _fitting(raw, spatial, path)
        count = raw.shape[-1]
        check_count(count, path)
        where = (f"{path}, channel {k}" if count > 1 else path for k in range(count))
        masks = [one_mask(raw[..., k], name, self.ignore) for k, name in enumerate(where)]
        return pack_masks(np.stack(masks, -1)), facts, tuple(f"class {k}" for k in range(count))

    def _raw(self, path: Path, spatial: tuple[int, ...]) -> tuple[np.ndarray, FileFacts]:
        """The content of a file: (N, H, W, K), or (D, H, W, K). Pages (N) may be classes."""
        if path.suffix.lower() == ".npy":
            return _array(path, spatial), FileFacts()
        if is_zarr(path) or url_of(path) is not None:
            pictures = open_pictures(path, self.spatial_dims, role="label", settings=self.settings)
            raws = [picture.read(tuple(slice(0, n) for n in picture.shape[:-1])) for picture in pictures]
            return raws[0] if self.spatial_dims == 3 else np.stack(raws), pictures[0].facts
        raw, facts = decode(path, "label", self.settings)
        if facts.alpha == "dropped" and raw.shape[-1] > 1 and not self.classes:  # four masks can look like RGBA
            raw, facts = decode(path, "image", replace(self.settings, channels="all"))
        self._files.append((path, facts))
        return raw, facts


def _array(path: Path, spatial: tuple[int, ...]) -> np.ndarray:
    """The masks of a .npy file: (*spatial), (*spatial, K) or (K, *spatial) of one picture or volume, or (N, *spatial,
    …) of several."""
    check_file(path)
    try:
        raw = np.load(path, allow_pickle=False)
    except Exception as e:  # numpy parses the header as Python: SyntaxError, TokenError, RecursionError, ...
        raise InputError(
            f"{path}: cannot be read, since it is not a .npy file or is incomplete ({one_line(e)})"
        ) from None
    for shape in (spatial, spatial[1:] if spatial[0] == 1 else spatial):
        if raw.shape == shape:
            return raw.reshape(*spatial, 1)
        if raw.shape[:-1] == shape:
            return raw.reshape(*spatial, raw.shape[-1])
        if raw.shape[1:] == shape:
            return np.moveaxis(raw, 0, -1).reshape(*spatial, len(raw))
    raise InputError(
        f"{path}: has shape {raw.shape}, but its image {_size(spatial)}; give (…, classes) or (classes, …)"
    )


def _fitting(raw: Shaped[np.ndarray, "n h w c"], spatial: Sequence[int], path: Path, most: int = 0) -> np.ndarray:
    """Masks (*spatial, K). Pages become classes if the image is one picture. `most` is K, or 0 if it is not known."""
    if raw.shape[-1] == 1 and spatial[0] == 1 < len(raw) and most != 1:
        raw = np.moveaxis(raw, 0, -2)[..., 0][None]
    if raw.shape[:-1] != tuple(spatial):
        raise InputError(f"{path}: is {_size(raw.shape[:-1])} but its image is {_size(spatial)}; they must be equal")
    return raw


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:] if shape[0] == 1 else shape))
