"""Label conventions: from the numbers that a mask file holds to class indices 0..K-1.

Mask files look alike and mean different things. Read wrongly, a 0/255 mask trains a network of 256 classes, and 16-bit
nucleus numbers train one of hundreds; both end with a Dice near zero and no error. So the numbers of the *whole* data
set decide, once, by these rules, and what none of them covers is refused with the values that were found.

    kind       values found                            class indices
    auto       {0, 1} or {0, 255}                      0, 1                    ("binary")
    auto       16- or 32-bit integers beyond those     > 0 becomes 1           ("instance": 0 is background)
    auto       8-bit, all of 0..K-1 and K <= 32        as they are             ("semantic")
    semantic   {0, 255}                                0, 1
    semantic   0..K-1, K <= 255, gaps allowed          as they are, K = largest + 1
    instance   any integers from 0 to 2**31 - 1        > 0 becomes 1

Where two numbered objects touch, a line one pixel wide becomes background (`separated`): a network of classes could not
tell them apart otherwise, and the paper's border weights lie on the background.

A number that marks pixels to ignore (`ignore`: 255 in many data sets) takes no part in that; where it is found, the
class index is IGNORED. One-sided masks (only 0, only 1, only 255) count as binary. RGB masks whose three channels are
equal are read as grey, palette masks as their index (see `decode`), float masks if every value is a whole number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from unet_spec.errors import InputError

from .decode import decode
from .tiles import bands

LabelKind = Literal["auto", "semantic", "instance"]
MAX_AUTO_CLASSES = 32
MAX_CLASSES = 255
LARGEST = 2**31 - 1
"""The largest number of an object: they are kept as int32."""

IGNORED = -1
"""The class index of a pixel that counts in no loss and in no score."""


@dataclass(frozen=True)
class LabelRule:
    """How the numbers of one data set become class indices.

    kind: "binary" maps every value > 0 to 1, "instance" too, but for the lines between objects; "semantic" keeps the
    values. classes: K, at least 2. ignore: the number of pixels that do not count.
    """

    kind: Literal["binary", "semantic", "instance"]
    classes: int
    ignore: int | None = None

    @property
    def reach(self) -> int:
        """How many pixels beyond its end, along each axis, decide the class indices of a window."""
        return 1 if self.kind == "instance" else 0

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Class indices, or IGNORED, of one label that `label_rule` has seen: integers, (H, W) or (D, H, W), to int32
        of the same shape."""
        if self.kind == "instance":
            return self._marked((self.numbers(raw) > 0).astype(np.int32), raw, IGNORED)
        return self._marked((raw if self.kind == "semantic" else raw > 0).astype(np.int32), raw, IGNORED)

    def numbers(self, raw: np.ndarray) -> np.ndarray:
        """Of the same label the numbers of the objects, int32; 0, no object, between objects that touch and where
        pixels are ignored."""
        found = self._marked(raw.astype(np.int32), raw, 0)
        return separated(found) if self.kind == "instance" else found

    def _marked(self, values: np.ndarray, raw: np.ndarray, mark: int) -> np.ndarray:
        if self.ignore is not None:
            values[raw == self.ignore] = mark
        return values


def separated(numbers: np.ndarray) -> np.ndarray:
    """Objects by number, 0 the background, with 0 also at each pixel whose next one along an axis is of another object:
    no two of different objects share an edge (in volumes, a face) then. Of the same shape."""
    line = np.zeros(numbers.shape, bool)
    for axis in range(numbers.ndim):
        here, there = (tuple(s if a == axis else slice(None) for a in range(numbers.ndim)) for s in _NEXT)
        one, other = numbers[here], numbers[there]
        line[here] |= (one != other) & (one != 0) & (other != 0)
    return np.where(line, 0, numbers)


_NEXT = slice(None, -1), slice(1, None)


def read_labels(path: str | Path) -> np.ndarray:
    """The label numbers of a mask file as they are stored: (N, H, W), boolean or integer. See the module's rules.

    Raises InputError for an unreadable file, colour masks, and floats that are not whole numbers.
    """
    return one_number(decode(path, labels=True), path)


def one_number(raw: np.ndarray, path: str | Path) -> np.ndarray:
    """Of decoded pixels (..., C) the number that each stands for: (...), boolean or integer. Raises InputError as
    `read_labels`."""
    if raw.shape[-1] > 1 and (raw != raw[..., :1]).any():
        colours = np.unique(raw.reshape(-1, raw.shape[-1]), axis=0)
        some = ", ".join(str(tuple(int(v) for v in colour)) for colour in colours[:4])
        raise InputError(
            f"{path}: is a colour mask of {len(colours)} colours ({some}{', ...' if len(colours) > 4 else ''}); "
            "a label file holds one number per pixel: write class indices 0, 1, 2, ... as 8-bit grey PNG or TIFF"
        )
    return _whole(raw[..., 0], path)


def label_rule(
    raws: Sequence[np.ndarray], paths: Sequence[str | Path], kind: LabelKind = "auto", ignore: int | None = None
) -> LabelRule:
    """Decides, for all label arrays of a data set together, what their numbers mean.

    raws: integer or boolean arrays of any shape, as `read_labels` gives them; paths: their files, for messages. ignore:
    the number of pixels that do not count; it may occur in some arrays, or in none.
    Raises InputError where no rule of the table above fits, for a negative `ignore`, for numbers above LARGEST, and
    where no pixel counts.
    """
    if kind not in get_args(LabelKind):
        raise InputError(f"label kind {kind!r} is not known; use one of {', '.join(get_args(LabelKind))}")
    if ignore is not None and ignore < 0:
        raise InputError(f"ignore is {ignore}; it must not be negative")
    if not raws:
        raise InputError("a label rule needs at least one label array")
    found = []
    for raw, path in zip(raws, paths, strict=True):
        values = np.unique(_whole(raw, path))
        values = values if ignore is None else values[values != ignore]
        if len(values) and values[-1] > LARGEST:
            raise InputError(
                f"{path}: label value {values[-1]} is too large; numbers of objects are at most {LARGEST}: number them "
                f"anew, from 1; {_to_ignore(values[-1])}"
            )
        values = values.astype(np.int64)
        if len(values) and values[0] < 0:
            raise InputError(f"{path}: label values must be 0 or larger; found {_listed(values)}")
        found.append(values)
    union = np.unique(np.concatenate(found))
    if not len(union):
        raise InputError(f"{paths[0]}: every label of the data set is {ignore}, which is ignored; no pixel counts")
    if kind == "instance":
        return LabelRule("instance", 2, ignore)

    if _within(union, (0, 1)) or _within(union, (0, 255)):
        return LabelRule("binary", 2, ignore)
    if all(_within(values, (0, 1)) or _within(values, (0, 255)) for values in found):
        ones = next(path for values, path in zip(found, paths, strict=True) if 1 in values)
        full = next(path for values, path in zip(found, paths, strict=True) if 255 in values)
        raise InputError(
            f"{ones}: is a 0/1 mask but {full} is a 0/255 mask; write all masks in one convention, "
            f"or, {_to_ignore(255)}"
        )
    odd = next(path for values, path in zip(found, paths, strict=True) if len(values) and values[-1] > 1)
    if kind == "semantic":
        if union[-1] >= MAX_CLASSES:
            worst = next(path for values, path in zip(found, paths, strict=True) if union[-1] in values)
            raise InputError(
                f"{worst}: label value {union[-1]} is too large for a class index (found {_listed(union)}); "
                f"class indices are 0..254; {_to_ignore(union[-1])}"
            )
        return LabelRule("semantic", int(union[-1]) + 1, ignore)
    if any(raw.dtype.itemsize > 1 and raw.dtype.kind in "iu" for raw in raws):
        return LabelRule("instance", 2, ignore)
    if _without_gaps(union):
        return LabelRule("semantic", len(union), ignore)
    raise InputError(f"{odd}: cannot tell what the label values {_listed(union)} mean; {_advice(union)}")


def to_class_indices(
    raw: np.ndarray, path: str | Path, kind: LabelKind = "auto", ignore: int | None = None
) -> tuple[np.ndarray, int]:
    """One label array on its own: (class indices int32 of raw's shape, IGNORED where it is `ignore`; number of classes
    K).

    raw: (H, W) or (D, H, W), boolean or integer, or floats that are whole numbers. path: its file, for messages. Of
    several files of one data set, decide with `label_rule` for all of them together: a file that happens to show two
    nuclei looks like a binary mask, the next one does not.
    Raises InputError where no rule fits.
    """
    raw = _whole(raw, path)
    rule = label_rule([raw], [path], kind, ignore)
    return rule.apply(raw), rule.classes


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels each class has: class indices of any shape to (K,) int64. Ignored pixels are of none. Labels
    that stay in their file are read band by band."""
    counts = np.zeros(classes, np.int64)
    for band in bands(labels.shape):
        counts += np.bincount(labels[band].ravel() - IGNORED, minlength=classes + 1)[1 : classes + 1]
    return counts


def _whole(raw: np.ndarray, path: str | Path) -> np.ndarray:
    raw = np.asarray(raw)
    if raw.size == 0 or raw.dtype.kind not in "buif":
        raise InputError(f"{path}: labels of shape {raw.shape} and dtype {raw.dtype} cannot be used; give integers")
    if raw.dtype.kind != "f":
        return raw
    # Integers up to 255 stand for 8-bit masks that some tool saved as floats; larger ones are kept, as wide integers.
    if not np.isfinite(raw).all() or (raw != np.rint(raw)).any() or np.abs(raw).max() >= 2**31:
        raise InputError(
            f"{path}: is a {raw.dtype} mask with values from {np.min(raw):g} to {np.max(raw):g} that are not all "
            "whole numbers; threshold it and write 0 and 1"
        )
    return raw.astype(np.uint8 if raw.min() >= 0 and raw.max() <= 255 else np.int32)


def _within(values: np.ndarray, allowed: tuple[int, ...]) -> bool:
    return bool(np.isin(values, allowed).all())


def _without_gaps(values: np.ndarray) -> bool:
    """Whether sorted values are 0..K-1, of few enough classes."""
    return len(values) == values[-1] + 1 and len(values) <= MAX_AUTO_CLASSES


def _to_ignore(value: int) -> str:
    return f"if {value} marks pixels to ignore, pass --ignore {value} (ignore={value} in Python)"


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} different, up to {values[-1]})"


def _advice(values: np.ndarray) -> str:
    if len(values) > MAX_AUTO_CLASSES and values[0] == 0 and values[-1] == 255:
        return (
            "grey levels between 0 and 255 come from JPEG or smoothed edges: threshold at 128 and save as PNG "
            "(or pass --labels instance, in Python kind='instance', if they number objects)"
        )
    void = f"{_to_ignore(255)}; else " if values[-1] == 255 and _without_gaps(values[:-1]) else ""
    return (
        f"{void}write class indices 0, 1, 2, ... without gaps, or 0/255, or pass --labels semantic (they are class "
        "indices) or --labels instance (they number objects); in Python kind='semantic' or kind='instance'"
    )
