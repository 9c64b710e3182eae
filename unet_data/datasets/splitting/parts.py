"""Chooses the validation images: by default rule, share, fold or list. Images of a group, such as a patient, stay
together."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unet_spec.errors import InputError

from ...io.facts import ReadSettings
from ...io.stores.remote import url_of
from ...io.stores.signed import unsigned
from ..border_class import BORDER_CLASSES, with_border
from ..dataset import Dataset
from ..opening import open_dataset, open_stored
from .units import SHARE, automatic_units, fold_units, group_names, last_units, units_of

LARGE_IMAGE, MOST_VALIDATED = 2**20, 2**24
"""Pixels: a single image of at least so many is split by rows; at most so many of them validate, in memory at once."""

_FOLD = re.compile(r"(\d+)\s*/\s*(\d+)")


class Parts(NamedTuple):
    """The two parts of a data set, and how it was divided.

    Attributes:
        training, validation: the parts; no image is in both.
        how: a sentence that names the validation images and the reason for their choice.
    """

    training: Dataset
    validation: Dataset
    how: str


def split(dataset: Dataset, validate: str | float = "auto", group: str | None = None) -> tuple[Dataset, Dataset]:
    """Splits a data set into training and validation images.

    Neighbouring slices are nearly equal, so a random split would validate on training data. Therefore the default is
    the last sixth, as one block. If that block shares a group with the other images, or one part lacks a class, whole
    groups are chosen instead, so that both parts have every class.

    Args:
        dataset: data set to split. A single volume is split along its depth, a single image of at least 1024² pixels
            along its height; there, at most 4096² pixels validate.
        validate: "auto"; a share in 0..1, rounded to whole images; "last", the last sixth without any checks; "i/n",
            fold i of n, each of which is a block; a text file with one image name per line; or another folder of
            labelled images.
        group: a regular expression that is searched in each name. Images with the same match (of its groups in
            parentheses, if it has any) stay together. Default: with "auto", images whose name has two or more numbers
            (`p03_slice12`) are grouped by the text before the last one (`p03`).

    Returns:
        Training and validation data.

    Raises:
        InputError: there is only one image, plane or group; `validate` or `group` do not fit the data set.

    Example:
        >>> from unet_data import membranes, split
        >>> [len(part) for part in split(membranes(6, 32, seed=0))]
        [5, 1]
    """
    return divide(dataset, validate, group)[:2]


def divide(
    dataset: Dataset,
    validate: str | float = "auto",
    group: str | None = None,
    reading: ReadSettings | None = None,
    class_numbers: str = "",
) -> Parts:
    """`split`, which also returns how the data set was divided.

    If `validate` is a folder, it is opened with `reading` and `class_numbers`, like the data set itself.
    """
    text = str(validate).strip()
    if Path(text).is_dir() or url_of(text) is not None:
        return _from_folder(dataset, unsigned(text), reading, class_numbers)
    if len(dataset) == 1 and (dataset.spatial_dims == 3 or math.prod(dataset.images[0].shape[:-1]) >= LARGE_IMAGE):
        return _divide_one(dataset, text)
    if len(dataset) < 2:
        raise InputError(f"{dataset.source}: has 1 image; a split into training and validation needs 2 or more")
    if text == "last" and group is not None:
        raise InputError(
            "--validate last is a block of images and cannot keep groups together; with --group, give a share or a fold"
        )
    by = group_names(dataset, group) if group is not None or text == "auto" else None
    units = units_of(by) if by else [[index] for index in range(len(dataset))]
    if len(units) < 2 and group is None:
        units, by = [[index] for index in range(len(dataset))], None
    if len(units) < 2:
        raise InputError(
            f"{dataset.source}: --group {group} finds only one group, {(by or [''])[0]!r}; give two or more"
        )
    kind = f"groups by {group!r}" if group is not None else "groups by name"
    grouping = f", {len(units)} {kind} kept together" if by and len(units) < len(dataset) else ""
    if text == "auto" and len(set(dataset.parts)) == 2:
        chosen = {index for index, part in enumerate(dataset.parts) if part == "validation"}
        how, by, grouping = "by their folders", None, ""
    elif text == "auto":
        chosen, how = automatic_units(dataset, units)
        if group is None and by and 3 * len(chosen) > len(dataset) > len(units):  # the names do not show groups
            units, by, grouping = [[index] for index in range(len(dataset))], None, ""
            chosen, how = automatic_units(dataset, units)
    elif text == "last":
        chosen, how = last_units(units, SHARE), "the last sixth"
    elif fold := _FOLD.fullmatch(text):
        chosen, how = fold_units(units, int(fold[1]), int(fold[2]), dataset.source), f"fold {fold[1]} of {fold[2]}"
    elif (share := _number(text)) is not None:
        if not 0 < share < 1:
            raise InputError(f"the validation fraction must lie between 0 and 1, not {share}")
        chosen, how = last_units(units, share), f"the last {share:.0%}"
    else:
        chosen, how = _listed(dataset, Path(text)), f"as listed in {text}"
    validating = sorted(chosen)
    others = [index for index in range(len(dataset)) if index not in chosen]
    if not others:
        raise InputError(f"{dataset.source}: --validate {text} leaves no image for training")
    if by and (shared := {by[i] for i in validating} & {by[i] for i in others}):
        raise InputError(f"{dataset.source}: --validate {text} splits the group {min(shared)!r}: leave out --group")
    names = [dataset.names[i] for i in validating]
    listed = ", ".join(names) if len(names) <= 4 else f"{names[0]} … {names[-1]}"
    how = f"validation: {len(validating)} of {len(dataset)} images, {how} ({listed}){grouping}"
    return Parts(dataset.subset(others), dataset.subset(validating), how)


def check_validate(text: str, group: str | None) -> None:
    """Raises InputError if the arguments of `split` are wrong for every data set."""
    if group is not None:
        try:
            re.compile(group)
        except re.error as e:
            raise InputError(f"group is {group!r}; it must be a regular expression ({e})") from None
    if (fold := _FOLD.fullmatch(text)) and not (1 <= int(fold[1]) <= int(fold[2]) and int(fold[2]) > 1):
        raise InputError(f"validate is {text}; a fold is i/n with i from 1 to n, and n of 2 or more")
    if (share := _number(text)) is not None and not 0 < share < 1:
        raise InputError(f"validate is {text}; a share lies between 0 and 1")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _listed(dataset: Dataset, path: Path) -> set[int]:
    """The images that a text file lists by their names; the name of a stack lists all of its images."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"--validate {path}: give auto, last, a share such as 0.2, a fold such as 1/5, a folder, or a "
            "text file with one image name per line"
        ) from None
    chosen: set[int] = set()
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        keys = {line, Path(line).name, Path(line).stem}
        own = {i for i, name in enumerate(dataset.names) if name in keys or re.sub(r"-\d+$", "", name) in keys}
        if not own:
            raise InputError(
                f"{path}: {line!r} is not an image of {dataset.source} (the first is {dataset.names[0]!r})"
            )
        chosen |= own
    if not chosen:
        raise InputError(f"{path}: lists no image")
    return chosen


def _from_folder(dataset: Dataset, path: Path, reading: ReadSettings | None, class_numbers: str) -> Parts:
    """The validation part from another folder, whose labels are read like those of the data set."""
    kind = "instance" if dataset.instances is not None else "semantic" if dataset.class_count > 2 else "auto"
    kind = "overlapping" if dataset.overlapping else kind
    opened = open_stored if dataset.stored else open_dataset
    validation = opened(path, dataset.spatial_dims, kind, dataset.ignore, reading, class_numbers)
    if dataset.instances is not None and dataset.class_names == BORDER_CLASSES:
        validation = with_border(validation)
    if validation.labels is None or validation.class_count > dataset.class_count:
        raise InputError(
            f"--validate {path}: has {validation.class_count} classes, the training data have {dataset.class_count}"
        )
    if dataset.overlapping and validation.class_names != dataset.class_names:
        raise InputError(
            f"--validate {path}: has masks of the classes {', '.join(validation.class_names)}, the training "
            f"data of {', '.join(dataset.class_names)}"
        )
    if (validation.channels, validation.images[0].dtype) != (dataset.channels, dataset.images[0].dtype):
        raise InputError(
            f"--validate {path}: its images have {validation.channels} channel(s) of {validation.images[0].dtype}, "
            f"the training images {dataset.channels} of {dataset.images[0].dtype}"
        )
    return Parts(
        dataset,
        replace(validation, class_names=dataset.class_names),
        f"validation: {len(validation)} images of the folder {url_of(path) or path}",
    )


def _divide_one(dataset: Dataset, text: str) -> Parts:
    """Splits one volume, or one image: its last planes or rows validate, or the first if only they have all classes."""
    depth = len(dataset.images[0])
    flat = dataset.spatial_dims == 2
    most = max(1, MOST_VALIDATED // dataset.images[0].shape[1]) if flat else depth
    if depth < 2:
        raise InputError(f"{dataset.source}: has 1 volume of 1 plane; a split into training and validation needs 2")
    share, fold = _number(text), _FOLD.fullmatch(text)
    if share is None and (fold or text not in ("auto", "last")):
        what = "image is split along its height" if flat else "volume is split along its depth"
        raise InputError(f"{dataset.source}: a single {what}: give a share to --validate")
    if share is not None and not 0 < share < 1:
        raise InputError(f"the validation fraction must lie between 0 and 1, not {share}")
    count = min(max(1, round(depth * (share or SHARE))), depth - 1, most if share is None else depth)

    def planes(first: int, stop: int, name: str) -> Dataset:
        part = slice(first, stop)
        labels, instances = (a and (a[0][part],) for a in (dataset.labels, dataset.instances))
        name = f"{dataset.names[0]}-{name}"
        return replace(dataset, images=(dataset.images[0][part],), labels=labels, names=(name,), instances=instances)

    ends = [("last", planes(0, depth - count, "train"), planes(depth - count, depth, "validation"))]
    if text == "auto" and dataset.labels is not None:
        ends.append(("first", planes(count, depth, "train"), planes(0, count, "validation")))
    which, training, validation = ends[0]
    for end in ends if len(ends) > 1 else ():
        counts = [part.label_counts()[0] for part in end[1:]]
        if ((np.stack(counts) > 0).all(0) == (sum(counts) > 0)).all():
            which, training, validation = end
            break
    return Parts(
        training,
        validation,
        f"validation: the {which} {count} of {depth} {'rows' if flat else 'planes'} of {dataset.names[0]}",
    )
