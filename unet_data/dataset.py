"""Images with their labels: the `Dataset`, how it is opened, how it is split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_spec.errors import InputError

from .images import read_stack
from .labels import IGNORED, LabelKind, LabelRule, label_rule, read_labels
from .layout import Layout, find_layout
from .stored import Stored

MEMBRANE_CLASSES = ("membrane", "cell")  # the ISBI 2012 convention: 0 on the membrane, 1 (stored as 255) inside a cell
BINARY_CLASSES = ("background", "foreground")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, in order, with or without labels: arrays in memory, or `Stored` ones that are read by windows.

    images: (H, W, C), or (D, H, W, C) for volumes; uint8, uint16 or float32; one dtype and one C for all, sizes may
    differ. labels: class indices 0..K-1, int32, of the image's spatial shape, or None. names: one per image, fit for
    file names. class_names: K of them, or () without labels. source: where the images came from, for reports.
    instances: where the label files number objects, these numbers (0 is background), of the labels' shapes; else None.
    ignore: the number that marks, in the label files, pixels that do not count: their label is IGNORED, −1. None: all
    pixels count. path: where they can be opened again, absolute; "" for images that are in no files.

    Raises InputError where these do not fit together, naming the image.
    """

    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...] | None
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    source: str
    instances: tuple[np.ndarray, ...] | None = None
    ignore: int | None = None
    path: str = ""

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
                raise InputError(
                    f"{self.source}: image {name} has {image.shape[-1]} channel(s) but {self.names[0]} has "
                    f"{first.shape[-1]}; convert all to the same"
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
                    f"{self.source}: image {name} is {_size(image.shape[:-1])} but its label is {_size(label.shape)}; "
                    "they must be equal"
                )
            if isinstance(label, Stored):
                continue  # was looked at as a whole where it was opened
            least = 0 if self.ignore is None else IGNORED
            if label.dtype != np.int32 or label.min() < least or label.max() >= self.class_count:
                raise InputError(
                    f"{self.source}: the label of {name} is {label.dtype} with values {label.min()}..{label.max()}; "
                    f"expected int32 within {least}..{self.class_count - 1} for {self.class_count} classes"
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
    def stored(self) -> bool:
        """Whether the images stay in their files."""
        return isinstance(self.images[0], Stored)

    @property
    def class_count(self) -> int:
        """K; 0 without labels."""
        return len(self.class_names)

    def subset(self, indices: Sequence[int]) -> "Dataset":
        """The images at `indices`, in that order, sharing memory. Raises InputError for none or one out of range."""
        wrong = [index for index in indices if not 0 <= index < len(self)]
        if wrong or not len(indices):
            problem = f"index {wrong[0]} is out of range" if wrong else "no index was given"
            raise InputError(f"{self.source}: {problem}; the data set has images 0..{len(self) - 1}")

        def chosen(arrays: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, ...] | None:
            return None if arrays is None else tuple(arrays[i] for i in indices)

        return replace(
            self,
            images=tuple(self.images[i] for i in indices),
            labels=chosen(self.labels),
            instances=chosen(self.instances),
            names=tuple(self.names[i] for i in indices),
        )


def open_dataset(
    path: str | Path, spatial_dims: int = 2, kind: LabelKind = "auto", ignore: int | None = None
) -> Dataset:
    """Reads a folder or file whole. What it holds is recognised in this order:

    a file                                    its pictures, without labels
    a folder with *-volume.tif, *-labels.tif  stacks in name order (ISBI 2012); an unlabelled test-volume.tif is left
                                              out; binary labels are called membrane and cell
    a folder with images/ and labels/, masks/ files paired by stem; the label may end in _mask, -mask, _label, -label;
                                              without labels/ and masks/, images only
    a folder of image files                   in name order, without labels

    With spatial_dims = 2 each page of a stack is one image (H, W, C), called stem-00, stem-01, ...; with 3 each file
    is one volume (D, H, W, C). kind: what label values mean, "auto", "semantic" or "instance" (see `labels`); decided
    once for all files, and told in `source` where it was not a plain 0/1 or 0/255 mask. ignore: the number that marks
    pixels that do not count; it need not occur.

    Raises InputError, in one line, for a missing or empty folder, an image without label or the reverse, sizes,
    channels or dtypes that do not match, and files or labels that cannot be read.
    """
    if spatial_dims not in (2, 3):
        raise InputError(f"spatial_dims must be 2 (images) or 3 (volumes), not {spatial_dims}")
    path = Path(path)
    layout = find_layout(path)
    images, raw_labels, label_paths, names = [], [], [], []

    def read(image_path: Path, label_path: Path | None) -> None:
        stack = read_stack(image_path)
        images.extend([stack] if spatial_dims == 3 else stack)
        names.extend(picture_names(image_path.stem, 1 if spatial_dims == 3 else len(stack)))
        if label_path is None:
            return
        labels = read_labels(label_path)
        if labels.shape != stack.shape[:-1]:
            first = 1 if len(labels) == len(stack) == 1 else 0  # a single picture needs no page count
            sizes = _size(stack.shape[first:-1]), _size(labels.shape[first:])
            raise InputError(
                f"{image_path}: is {sizes[0]} but its label {label_path} is {sizes[1]}; they must be equal"
            )
        raw_labels.extend([labels] if spatial_dims == 3 else labels)
        label_paths.extend([label_path] * (1 if spatial_dims == 3 else len(stack)))

    layout.for_each(read)
    check_planes(map(len, images), spatial_dims, path)
    if not raw_labels:
        return Dataset(tuple(images), None, tuple(names), (), str(path), path=str(path.absolute()))
    rule = label_rule(raw_labels, label_paths, kind, ignore)
    class_names, told = describe(rule, layout, kind)
    return Dataset(
        images=tuple(images),
        labels=tuple(rule.apply(raw) for raw in raw_labels),
        names=tuple(names),
        class_names=class_names,
        source=str(path) + told,
        instances=tuple(rule.numbers(raw) for raw in raw_labels) if rule.kind == "instance" else None,
        ignore=ignore,
        path=str(path.absolute()),
    )


def check_planes(lengths: Iterable[int], spatial_dims: int, path: Path) -> None:
    """lengths: of the images' first axes. Raises InputError where volumes are wanted and all are single planes."""
    if spatial_dims == 3 and set(lengths) == {1}:
        raise InputError(
            f"{path}: every file holds one plane, but the network is 3-D and needs volumes: TIFF files of several "
            "pages, .npy or .zarr"
        )


def describe(rule: LabelRule, layout: Layout, kind: LabelKind) -> tuple[tuple[str, ...], str]:
    """The names of the classes, and what a report says of the rule after the data's name. kind: what was asked for."""
    if rule.classes > 2:
        names = tuple(f"class {index}" for index in range(rule.classes))
    else:
        names = MEMBRANE_CLASSES if layout.stacks and rule.kind == "binary" else BINARY_CLASSES
    if rule.kind == "binary":
        return names, ""
    read, other, flag = {
        "semantic": ("class indices", "number objects", "instance"),
        "instance": ("numbers of objects", "are classes", "semantic"),
    }[rule.kind]
    return names, f" (labels read as {read}{f'; if they {other}, pass --labels {flag}' * (kind == 'auto')})"


def split(dataset: Dataset, validation: float = 1 / 6) -> tuple[Dataset, Dataset]:
    """(train, validation): the last contiguous block is for validation, because neighbouring slices are nearly the same
    picture and a random split would validate on the training data.

    validation: the fraction in 0..1; rounded to whole images, at least 1 on either side. The default gives slices
    0-19 and 20-23 of the 24 ISBI slices. A data set of one volume is split along its depth, in the same way.

    Raises InputError for a fraction outside 0..1 and where there is only one image (or one plane).
    """
    if not 0 < validation < 1:
        raise InputError(f"the validation fraction must lie between 0 and 1, not {validation}")
    if len(dataset) == 1 and dataset.spatial_dims == 3:
        return _split_depth(dataset, validation)
    count = len(dataset)
    if count < 2:
        raise InputError(f"{dataset.source}: has 1 image; a split into training and validation needs 2 or more")
    kept = count - _held_out(count, validation)
    return dataset.subset(range(kept)), dataset.subset(range(kept, count))


def _split_depth(dataset: Dataset, validation: float) -> tuple[Dataset, Dataset]:
    depth = len(dataset.images[0])
    if depth < 2:
        raise InputError(f"{dataset.source}: has 1 volume of 1 plane; a split into training and validation needs 2")
    kept = depth - _held_out(depth, validation)

    def planes(part: slice, name: str) -> Dataset:
        labels, instances = (a and (a[0][part],) for a in (dataset.labels, dataset.instances))
        name = f"{dataset.names[0]}-{name}"
        return replace(dataset, images=(dataset.images[0][part],), labels=labels, names=(name,), instances=instances)

    return planes(slice(0, kept), "train"), planes(slice(kept, depth), "validation")


def _held_out(count: int, validation: float) -> int:
    return min(max(1, round(count * validation)), count - 1)


def picture_names(stem: str, count: int) -> list[str]:
    """Of the pictures of one file: stem, or stem-00, stem-01, … where there are several."""
    digits = max(2, len(str(count - 1)))
    return [stem] if count == 1 else [f"{stem}-{index:0{digits}d}" for index in range(count)]


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(length) for length in shape)
