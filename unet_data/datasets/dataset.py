"""Images with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec.errors import InputError

from ..folders.listing import Entry
from ..io.facts import PLAIN, FileFacts, ReadSettings, summary
from ..io.formats.channels import EQUAL
from ..io.readers import equal_channels
from ..spacing.target import TargetSpacing
from .label_rule import IGNORED, class_counts
from .stored import Stored, as_array

if TYPE_CHECKING:
    from jaxtyping import Int64

MEMBRANE_CLASSES = ("membrane", "cell")  # the ISBI 2012 convention: 0 on the membrane, 1 (stored as 255) inside a cell
BINARY_CLASSES = ("background", "foreground")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in order, with or without labels: arrays in memory, or `Stored` arrays that are read by windows.

    Attributes:
        images: (H, W, C), or (D, H, W, C) for volumes; uint8, uint16 or float32. All have the same dtype and C; sizes
            may differ.
        labels: class indices 0..K-1, int32, with the image's spatial shape; or None. For overlapping classes, bit k of
            a number is the mask of class k (`pack_masks`).
        names: one name per image, usable as a file name.
        class_names: K of them, or () without labels.
        source: where the images came from, for reports.
        instances: object numbers (0 for background) with the shapes of the labels, if the label files number objects;
            otherwise None.
        ignore: number in the label files that marks pixels to ignore; their label is IGNORED, −1. None: no pixel is
            ignored.
        path: absolute path from which the images can be opened again; "" for images without files.
        facts: for each image, its file's metadata about the pixels, and the decisions of the reader; () for images
            without files.
        label_facts: the same for the label files.
        parts: "training" or "validation" for each image, if the folders state it; otherwise ().
        entries: for every file of the folder, whether it is used, and if not, the reason.
        reading: settings with which the files were read; None for images without files.
        overlapping: whether a pixel may have several classes.
        spacing: pixel size to which the images were resampled (`unet_data.resample_dataset`). None: they have the
            pixels of their files.

    Raises:
        InputError: images, labels and names do not fit together; the message names the image.

    Example:
        >>> import numpy as np
        >>> from unet_data import Dataset
        >>> image, label = np.zeros((8, 9, 1), np.uint8), np.zeros((8, 9), np.int32)
        >>> data = Dataset((image,), (label,), ("one",), ("background", "foreground"), source="nowhere")
        >>> data.channels, data.spatial_dims, data.class_count
        (1, 2, 2)
    """

    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...] | None
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    source: str
    instances: tuple[np.ndarray, ...] | None = None
    ignore: int | None = None
    path: str = ""
    facts: tuple[FileFacts, ...] = ()
    label_facts: tuple[FileFacts, ...] = ()
    parts: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    reading: ReadSettings | None = None
    overlapping: bool = False
    spacing: TargetSpacing | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError(f"{self.source}: a data set needs at least one image")
        if len(self.names) != len(self.images):
            raise InputError(f"{self.source}: {len(self.images)} images but {len(self.names)} names")
        first = self.images[0]
        for name, image in zip(self.names, self.images, strict=True):
            if image.ndim not in (3, 4) or image.ndim != first.ndim or image.size == 0:
                raise InputError(f"{self.source}: image {name} has shape {image.shape}; expected (H, W, C) for all")
            if image.shape[-1] != first.shape[-1]:
                palettes = any(facts.palette == "colour" for facts in self.facts)
                options = "--palette index, where a palette only colours grey images, or " * palettes
                raise InputError(
                    f"{self.source}: image {name} has {image.shape[-1]} channel(s) but {self.names[0]} has "
                    f"{first.shape[-1]}; {options}--channels repeat or grey (ReadSettings in Python) gives all images "
                    "the same channels"
                )
            if image.dtype not in (np.uint8, np.uint16, np.float32) or image.dtype != first.dtype:
                raise InputError(
                    f"{self.source}: image {name} is {image.dtype} but {self.names[0]} is {first.dtype}; all images "
                    "must share one of uint8, uint16, float32"
                )
        if self.labels is None:
            return
        if len(self.labels) != len(self.images):
            raise InputError(f"{self.source}: {len(self.images)} images but {len(self.labels)} labels")
        for name, image, label in zip(self.names, self.images, self.labels, strict=True):
            if label.shape != image.shape[:-1]:
                raise InputError(
                    f"{self.source}: image {name} is {size_text(image.shape[:-1])} but its label is "
                    f"{size_text(label.shape)}; they must be equal"
                )
            if isinstance(label, Stored):
                continue  # it was checked when it was opened
            lowest = 0 if self.ignore is None and self.nodata is None else IGNORED
            if label.dtype != np.int32 or label.min() < lowest or label.max() >= self._codes:
                raise InputError(
                    f"{self.source}: the label of {name} is {label.dtype} with values {label.min()}..{label.max()}; "
                    f"expected int32 within {lowest}..{self._codes - 1} for {self.class_count} classes"
                    f"{' (-1, ignored pixels, only where `ignore` is given)' if label.min() == IGNORED else ''}"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """C of every image."""
        return self.images[0].shape[-1]

    @property
    def spatial_dims(self) -> int:
        """2 for images, 3 for volumes."""
        return self.images[0].ndim - 1

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data that the files declare: NaN or a number. None: no file declares one.

        Raises InputError if two files declare different values.
        """
        declared = [(name, f.nodata) for name, f in zip(self.names, self.facts, strict=False) if f.nodata is not None]
        for name, value in declared[1:]:
            if repr(value) != repr(declared[0][1]):
                raise InputError(
                    f"{self.source}: {declared[0][0]} declares {declared[0][1]:g} as nodata but {name} {value:g}; "
                    "write all files with one value"
                )
        return declared[0][1] if declared else None

    def file_facts(self, index: int) -> FileFacts:
        """The facts of the file of an image; without statements for an image without a file."""
        return self.facts[index] if self.facts else PLAIN

    @property
    def stored(self) -> bool:
        """Whether the images stay in their files and are read by windows."""
        return isinstance(self.images[0], Stored)

    @property
    def decisions(self) -> list[str]:
        """Decisions made while the files were read, one line each, with the option that changes it."""
        return decisions(self)

    @property
    def class_count(self) -> int:
        """K; 0 without labels."""
        return len(self.class_names)

    @property
    def _codes(self) -> int:
        """Number of different values that a label can have."""
        return 2**self.class_count if self.overlapping else self.class_count

    def label_counts(self) -> Int64[np.ndarray, "n k"]:
        """Number of pixels per image and class. Raises InputError without labels."""
        assert self.labels is not None
        return np.stack([class_counts(label, self.class_count, self.overlapping) for label in self.labels])

    def for_channels(self, count: int) -> Dataset:
        """The data set for a network with `count` input channels.

        If the network has one and all images have three equal channels, one of them is used, and `decisions` reports
        it. Otherwise the data set is unchanged.
        """
        if count != 1 or self.channels != 3 or not all(map(equal_channels, self.images)):
            return self

        def one(image: np.ndarray) -> np.ndarray:
            return as_array(image.in_grey()) if isinstance(image, Stored) else image[..., :1]

        facts = tuple(replace(each, read_as=(*each.read_as, EQUAL)) for each in self.facts)
        return replace(self, images=tuple(map(one, self.images)), facts=facts)

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The images at `indices`, in that order, without a copy.

        Raises InputError if `indices` is empty or one is out of range.
        """
        wrong = [index for index in indices if not 0 <= index < len(self)]
        if wrong or not len(indices):
            problem = f"index {wrong[0]} is out of range" if wrong else "no index was given"
            raise InputError(f"{self.source}: {problem}; the data set has images 0..{len(self) - 1}")

        def chosen(each: Any) -> Any:
            return tuple(each[i] for i in indices) if each else each

        return replace(
            self,
            images=tuple(self.images[i] for i in indices),
            labels=chosen(self.labels),
            instances=chosen(self.instances),
            names=tuple(self.names[i] for i in indices),
            facts=chosen(self.facts),
            label_facts=chosen(self.label_facts),
            parts=chosen(self.parts),
        )


def decisions(*parts: Dataset) -> list[str]:
    """Decisions made while the files of parts of a data set were read, one line each."""
    images, labels = ([fact for part in parts for fact in getattr(part, name)] for name in ("facts", "label_facts"))
    return [*summary(images, "image"), *summary(labels, "label")]


def size_text(shape: Sequence[int]) -> str:
    """(388, 392) as "388x392"."""
    return "x".join(str(length) for length in shape)
