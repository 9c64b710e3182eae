"""Pairs images with their label files by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from unet_spec.errors import InputError

from .listing import Entry, Listing, key_of, title

PARTS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Folder names that state the use of their images."""

OVERLAPPING = "--labels overlapping"
"""The option with which each label file, channel or page is the mask of a class (in Python, kind="overlapping")."""

LABEL_ENDING = re.compile(r"[-_](?:cp[-_])?(masks?|labels?|seg|segmentation|gt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        image: the image file.
        labels: its label files: none, one, or one per object or class.
        name: name of the image, usable as a file name.
        part: "training" or "validation" if the folders state it, else "".
        classes: the class of each label file if each is the mask of one class; else ().
    """

    image: Path
    labels: tuple[Path, ...]
    name: str
    part: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Pairs of images and labels.

    Attributes:
        pairs: the pairs, in name order.
        entries: the use of every entry of the folder.
        stacks: whether files are named as in ISBI 2012, *-volume.tif, *-labels.tif.
    """

    pairs: tuple[Pair, ...]
    entries: tuple[Entry, ...] = ()
    stacks: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that have mask files, sorted by name; () if no file is the mask of one class."""
        return tuple(sorted({name for pair in self.pairs for name in pair.classes}))

    def for_each(self, read: Callable[[Pair], None]) -> None:
        """Calls `read` for each pair.

        Raises InputError if `read` does for any pair. The message is that of the first failure, with the names of the
        others, so that all can be fixed at once.
        """
        first, names = "", []
        for pair in self.pairs:
            try:
                read(pair)
            except InputError as e:
                first = first or str(e)
                names.append(pair.image.name)
        if first:
            more = ", ".join(names[1:6]) + (", ..." if len(names) > 6 else "")
            raise InputError(first + (f"; {len(names) - 1} more cannot be used: {more}" if more else ""))


def made_layout(pairs: Iterable[Pair], left_out: Iterable[Entry] = (), stacks: bool = False) -> Layout:
    """The layout of pairs and left-out entries. Raises InputError if two images would have the same name."""
    pairs = sorted(pairs, key=lambda pair: (pair.part, pair.name))
    names = [pair.name for pair in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        both = [pair.image for pair in pairs if pair.name == twice]
        raise InputError(f"{both[0]} and {both[1]} would both have the name {twice}; rename one of them")
    entries = [Entry(p, "paired" if pair.labels else "used") for pair in pairs for p in (pair.image, *pair.labels)]
    return Layout(tuple(pairs), (*entries, *left_out), stacks)


def paired(
    images: Listing,
    labels: Listing | None,
    left: list[Entry],
    lenient: bool = False,
    tracked: bool = False,
    masks: bool = False,
) -> Layout:
    """Pairs images with labels of the same name.

    If `lenient`, images without a label are left out. If `tracked`, files are paired by the number in their name. If
    `masks`, the names of labels contain a class.
    """
    left = [*left, *images.left_out, *(labels.left_out if labels else ())]
    by_key = {_own(key, images, tracked): file for key, file in images.files.items()}
    if len(by_key) < len(images.files):
        raise InputError(
            f"{images.folder}: contains several files per image (…_0000, …_0001); join them in one file, "
            "with channels as the last axis"
        )
    if labels is None:
        return made_layout([Pair(f, (), name_of(k, f), _part(k)) for k, f in by_key.items()], left)
    partners: dict[str, list[Path]] = {}
    classes: dict[str, list[str]] = {}
    absent = {key_of(e.path, images.folder) for e in images.left_out if e.reason != "hidden"}
    for key, label in labels.files.items():
        own = re.sub(r"\D", "", Path(key).name) if tracked else key
        partner = next((k for k in (own, LABEL_ENDING.sub("", own), own.rpartition("/")[0]) if k in by_key), None)
        of_class = _of_class(own, by_key) if partner is None or partner == own.rpartition("/")[0] else None
        if masks and of_class:
            partner = of_class[0]
            if of_class[1] in classes.setdefault(partner, []):
                raise InputError(f"{label}: is a second mask of class {of_class[1]} for {by_key[partner].name}")
            classes[partner].append(of_class[1])
            partners.setdefault(partner, []).append(label)
            continue
        if partner is None and (own in absent or LABEL_ENDING.sub("", own) in absent):
            left.append(Entry(label, "left out", "its image is left out"))
            continue
        if partner is None:
            expected = LABEL_ENDING.sub("", key)
            advice = f"; if it is the mask of class {of_class[1]}, pass {OVERLAPPING}" if of_class else ""
            advice *= not (of_class and of_class[1].isdigit())  # the number of a page or of an object
            raise InputError(
                f"{label}: has no image; expected {images.folder.name}/{expected}.png (or another image suffix)"
                + advice
            )
        if partner in partners and key.rpartition("/")[0] != partner:
            first = partners[partner][0].name
            raise InputError(f"{label}: is a second label for {by_key[partner].name}, beside {first}")
        partners.setdefault(partner, []).append(label)
    missing = {key: image for key, image in by_key.items() if key not in partners}
    gone = {key_of(e.path, labels.folder) for e in labels.left_out if e.reason != "hidden"}
    for key, image in missing.items():
        if key in gone or lenient:
            reason = "its label is left out" if key in gone else f"no label in {labels.folder.name}/"
            left.append(Entry(image, "left out", reason))
    missing = {} if lenient else {key: image for key, image in missing.items() if key not in gone}
    if missing:
        key, image = next(iter(missing.items()))
        more = f" (and {len(missing) - 1} more images without a label)" if len(missing) > 1 else ""
        raise InputError(f"{image}: has no label; expected {labels.folder.name}/{key}.png or {key}_mask.png{more}")
    if not partners:
        raise InputError(
            f"{images.folder}: no image has a label in {labels.folder}; an image and its label must have the same name"
        )
    if mixed := [key for key in partners if len(partners[key]) != len(classes.get(key, ())) and classes]:
        raise InputError(
            f"{partners[mixed[0]][0]}: its name states no class, but other masks have one file per class; "
            "name all masks in one way"
        )
    pairs = [
        Pair(by_key[key], tuple(files), name_of(key, by_key[key]), _part(key), tuple(classes.get(key, ())))
        for key, files in partners.items()
    ]
    tests = [pair for pair in pairs if pair.part == "test"]
    left += [Entry(f, "left out", "test data") for pair in tests for f in (pair.image, *pair.labels)]
    return made_layout([pair for pair in pairs if pair not in tests], left)


def _of_class(key: str, images: dict[str, Path]) -> tuple[str, str] | None:
    """The image and the class of a mask file named IMAGE/CLASS, CLASS/IMAGE or IMAGE_CLASS, with - or _."""
    folder, _, name = key.rpartition("/")
    first, _, rest = key.partition("/")
    if folder in images:
        return folder, name
    if (image := next((k for k in (rest, LABEL_ENDING.sub("", rest)) if k in images), None)) is not None:
        return image, first
    cuts = (at for at in range(len(key) - 1, 0, -1) if key[at] in "-_" and key[:at] in images)
    return next(((key[:at], key[at + 1 :]) for at in cuts if key[at + 1 :]), None)


def _own(key: str, images: Listing, tracked: bool) -> str:
    """The name that an image shares with its label."""
    if tracked:
        return re.sub(r"\D", "", Path(key).name)
    return re.sub(r"_\d{4}$", "", key) if images.folder.name == "imagesTr" else key


def name_of(key: str, file: Path) -> str:
    """A name of an image for use as a file name: its path in the folder, with - between the parts."""
    return "-".join((*Path(key).parent.parts, title(file)))


def _part(key: str) -> str:
    return PARTS.get(key.partition("/")[0].lower(), "") if "/" in key else ""
