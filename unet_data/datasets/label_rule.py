"""Label conventions: converts the numbers in mask files to class indices 0..K-1.

Mask files that look alike can mean different things. If they are misread, a 0/255 mask trains a network with 256
classes, and 16-bit nucleus numbers train one with hundreds; both give a Dice near zero and no error. So the numbers of
the *whole* data set decide, once, by these rules. If no rule applies, an error lists the values.

    kind       values found                            class indices
    auto       {0, 1} or {0, 255}                      0, 1                    ("binary")
    auto       16- or 32-bit integers beyond those     > 0 becomes 1           ("instance": 0 is background)
    auto       8-bit, all of 0..K-1 and K <= 32        as they are             ("semantic")
    semantic   {0, 255}                                0, 1
    semantic   0..K-1, K <= 255, gaps allowed          as they are, K = largest + 1
    semantic   0..K-1 without gaps, K <= 65536         as they are
    instance   any integers from 0 to 2**31 - 1        > 0 becomes 1

Where two numbered objects touch, a line one pixel wide becomes background (`separated`). Otherwise a network of classes
could not separate them; and the paper's border weights apply only to background.

If the class numbers are listed (`class_numbers`), each becomes its index in the list, and no other may occur. This is
for a background that is not 0, labels from 1, and gaps. For objects, the list is the number of the background.

A number that marks pixels to ignore (`ignore`: 255 in many data sets) is excluded from these rules; its class index is
IGNORED. Masks with a single value (only 0, only 1, only 255) count as binary. RGB masks whose three channels are equal
are read as grey, palette masks as their index (see `decode`), 1-bit masks as 0/1 or 0/255 like the other files, and
float masks if every value is a whole number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from unet_spec.errors import InputError

from ..labels.advice import MAX_CLASSES_WITH_GAPS, advice, some, to_ignore, without_gaps
from ..labels.numbers import LARGEST, MAX_CLASSES, as_numbers, parse_numbers, whole_numbers
from ..windows import Windowed, bands

if TYPE_CHECKING:
    from jaxtyping import Int32, Int64, Shaped

LabelKind = Literal["auto", "semantic", "instance", "overlapping"]
IGNORED = -1
"""The class index of pixels that losses and scores ignore."""


@dataclass(frozen=True)
class LabelRule:
    """Converts the label numbers of one data set to class indices.

    Attributes:
        kind: "binary" maps every value > 0 to 1; "instance" does too, except for lines between touching objects;
            "semantic" keeps the values.
        classes: K, at least 2.
        ignore: the number that marks pixels to ignore.
        class_numbers: number of each class, in class order; for "instance", the background's; () means 0, 1, …

    Example:
        >>> from unet_data import LabelRule
        >>> LabelRule("binary", 2, ignore=128).apply(np.array([[0, 255, 128]])).tolist()
        [[0, 1, -1]]
    """

    kind: Literal["binary", "semantic", "instance"]
    classes: int
    ignore: int | None = None
    class_numbers: tuple[int, ...] = ()

    @property
    def reach(self) -> int:
        """Pixels beyond the edge of a window, per axis, on which its class indices depend."""
        return 1 if self.kind == "instance" else 0

    def apply(self, raw: Shaped[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
        """Class indices, or IGNORED, of a label that `label_rule` has seen: boolean or integer, (H, W) or (D, H, W)."""
        if self.kind == "instance":
            return self._marked((self.numbers(raw) > 0).astype(np.int32), raw, IGNORED)
        if self.class_numbers:
            order = np.argsort(self.class_numbers)
            place = np.searchsorted(np.take(self.class_numbers, order), as_numbers(raw, self.class_numbers))
            return self._marked(order[np.minimum(place, self.classes - 1)].astype(np.int32), raw, IGNORED)
        return self._marked((raw if self.kind == "semantic" else raw > 0).astype(np.int32), raw, IGNORED)

    def numbers(self, raw: Shaped[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
        """The object numbers of a label; 0 for background, between touching objects and for ignored pixels."""
        background = self.class_numbers[0] if self.class_numbers else 0
        shifted = raw.astype(np.int32) + (raw < background)  # if 0 is not the background, object 0 needs another number
        found = self._marked(np.where(raw == background, 0, shifted).astype(np.int32), raw, 0)
        return separated(found) if self.kind == "instance" else found

    def _marked(self, values: np.ndarray, raw: np.ndarray, mark: int) -> np.ndarray:
        if self.ignore is not None:
            values[raw == self.ignore] = mark
        return values


def separated(numbers: Int32[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
    """Object numbers with background (0) also at each pixel whose next pixel along an axis is of another object.

    Then no two pixels of different objects share an edge (in volumes, a face).
    """
    line = np.zeros(numbers.shape, bool)
    for axis in range(numbers.ndim):
        here, there = (tuple(s if a == axis else slice(None) for a in range(numbers.ndim)) for s in _NEXT)
        one, other = numbers[here], numbers[there]
        line[here] |= (one != other) & (one != 0) & (other != 0)
    return np.where(line, 0, numbers)


_NEXT = slice(None, -1), slice(1, None)


def label_rule(
    raws: Sequence[np.ndarray],
    paths: Sequence[str | Path],
    kind: LabelKind = "auto",
    ignore: int | None = None,
    class_numbers: str = "",
) -> LabelRule:
    """Determines the meaning of the numbers from all label arrays of a data set together.

    Args:
        raws: integer or boolean arrays of any shape, as `read_labels` returns them.
        paths: their files, for messages.
        kind: meaning of the numbers, if it is known: see the table above.
        ignore: number that marks pixels to ignore; arrays without it are allowed.
        class_numbers: numbers of the classes in order, such as "1-3" or "255,0,7": the first becomes class 0. For
            labels that number objects, the number of the background.

    Raises:
        InputError: no rule of the table above applies, `ignore` is negative, a number is above LARGEST, or every pixel
            is ignored.

    Example:
        >>> from unet_data import label_rule
        >>> label_rule([np.array([0, 7, 300], np.uint16)], ["nuclei.tif"])
        LabelRule(kind='instance', classes=2, ignore=None, class_numbers=())
    """
    if kind not in get_args(LabelKind):
        raise InputError(f"unknown label kind {kind!r}; use one of {', '.join(get_args(LabelKind))}")
    if kind == "overlapping":
        raise InputError("overlapping classes have masks, not one number per pixel: open_dataset reads them")
    if ignore is not None and ignore < 0:
        raise InputError(f"ignore is {ignore}; it must not be negative")
    if not raws:
        raise InputError("a label rule needs at least one label array")
    listed, found = parse_numbers(class_numbers), []
    for raw, path in zip(raws, paths, strict=True):
        values = np.unique(whole_numbers(raw, path))
        values = values if ignore is None else values[values != ignore]
        if len(values) and values[-1] > LARGEST:
            raise InputError(
                f"{path}: label value {values[-1]} is too large; object numbers are at most {LARGEST}: "
                f"renumber the objects from 1; {to_ignore(values[-1])}"
            )
        values = values.astype(np.int64)
        if len(values) and values[0] < 0:
            raise InputError(
                f"{path}: label values must be 0 or larger; found {some(values)}; if {values[0]} marks pixels to "
                "ignore, write 255 instead, and pass --ignore 255"
            )
        found.append(values)
    union = np.unique(np.concatenate(found))
    if not len(union):
        raise InputError(f"{paths[0]}: every label of the data set is {ignore}, which is ignored, so no pixel is left")
    if listed:
        return _listed_rule(listed, kind, ignore, raws, paths, found)
    if kind == "instance":
        return LabelRule("instance", 2, ignore)

    bits = [raw.dtype == bool for raw in raws]
    if any(bits) and not all(bits):  # the value of a set bit is unknown; the other files show it
        counted = np.unique(np.concatenate([v for v, bit in zip(found, bits, strict=True) if not bit]))
        union = counted if _within(counted, (0, 1)) or _within(counted, (0, 255)) else union
    if _within(union, (0, 1)) or _within(union, (0, 255)):
        return LabelRule("binary", 2, ignore)
    if all(_within(values, (0, 1)) or _within(values, (0, 255)) for values in found):
        ones = next(path for values, path in zip(found, paths, strict=True) if 1 in values)
        full = next(path for values, path in zip(found, paths, strict=True) if 255 in values)
        raise InputError(
            f"{ones}: is a 0/1 mask but {full} is a 0/255 mask; write all masks in one convention, or, {to_ignore(255)}"
        )
    odd = next(path for values, path in zip(found, paths, strict=True) if len(values) and values[-1] > 1)
    if kind == "semantic":
        if len(union) == union[-1] + 1 <= MAX_CLASSES:
            return LabelRule("semantic", len(union), ignore)
        if union[-1] >= MAX_CLASSES_WITH_GAPS:
            worst = next(path for values, path in zip(found, paths, strict=True) if union[-1] in values)
            raise InputError(
                f"{worst}: label value {union[-1]} is too large for a class index (found {some(union)}); "
                f"class indices with gaps are 0..254; {to_ignore(union[-1])}; otherwise list all class "
                f"numbers, such as --class-numbers 0-{union[-1]}"
            )
        return LabelRule("semantic", int(union[-1]) + 1, ignore)
    if any(raw.dtype.itemsize > 1 and raw.dtype.kind in "iu" for raw in raws):
        return LabelRule("instance", 2, ignore)
    if without_gaps(union):
        return LabelRule("semantic", len(union), ignore)
    raise InputError(f"{odd}: label values {some(union)} have no clear meaning; {advice(union)}")


def _listed_rule(
    listed: tuple[int, ...],
    kind: LabelKind,
    ignore: int | None,
    raws: Sequence[np.ndarray],
    paths: Sequence[str | Path],
    found: Sequence[np.ndarray],
) -> LabelRule:
    """The rule for listed class numbers."""
    if ignore in listed:
        raise InputError(f"class numbers list {ignore}, which is also the number to ignore; leave out one of the two")
    if kind == "instance":
        if len(listed) > 1:
            raise InputError(
                f"for labels that number objects, class numbers must be only the background's; {len(listed)} are given"
            )
        return LabelRule("instance", 2, ignore, listed)
    if len(listed) < 2:
        raise InputError(f"class numbers list {len(listed)} class; list all classes, background first")
    for raw, path, values in zip(raws, paths, found, strict=True):
        present = as_numbers(values.astype(raw.dtype) if raw.dtype == bool else values, listed)
        if len(other := np.setdiff1d(present, listed)):
            raise InputError(
                f"{path}: contains {some(other)}, which the class numbers do not list; add them, or "
                f"{to_ignore(other[-1])}"
            )
    return LabelRule("binary" if len(listed) == 2 else "semantic", len(listed), ignore, listed)


def to_class_indices(
    raw: Shaped[np.ndarray, "*spatial"], path: str | Path, kind: LabelKind = "auto", ignore: int | None = None
) -> tuple[Int32[np.ndarray, "*spatial"], int]:
    """The class indices of a single label array.

    For several files of a data set, use `label_rule` on all of them together: a file with only two nuclei looks like a
    binary mask, while others do not.

    Args:
        raw: (H, W) or (D, H, W), boolean or integer, or floats that are whole numbers.
        path: its file, for messages.
        kind, ignore: as in `label_rule`.

    Returns:
        Class indices, IGNORED where raw is `ignore`, and the number of classes K.

    Raises:
        InputError: no rule fits.

    Example:
        >>> from unet_data import to_class_indices
        >>> to_class_indices(np.array([[0, 2, 1]], np.uint8), "mask.png")
        (array([[0, 2, 1]], dtype=int32), 3)
    """
    raw = whole_numbers(raw, path)
    rule = label_rule([raw], [path], kind, ignore)
    return rule.apply(raw), rule.classes


def class_counts(labels: Windowed, classes: int, overlapping: bool = False) -> Int64[np.ndarray, " k"]:
    """Number of pixels of each class, without ignored ones. Labels that stay in their file are read band by band.

    Args:
        labels: class indices of any shape.
        classes: K.
        overlapping: whether labels are numbers of `pack_masks`, so that a pixel may have several classes.
    """
    counts = np.zeros(classes, np.int64)
    for band in bands(labels.shape):
        if overlapping:
            found = np.maximum(labels[band], 0)
            counts += [np.count_nonzero(found & (1 << k)) for k in range(classes)]
            continue
        counts += np.bincount(labels[band].ravel() - IGNORED, minlength=classes + 1)[1 : classes + 1]
    return counts


def _within(values: np.ndarray, allowed: tuple[int, ...]) -> bool:
    return bool(np.isin(values, allowed).all())
