"""Lists a folder: files that can be images or labels, and entries that are left out, with the reason."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unet_spec.errors import InputError

from ..io.decode import IMAGE_SUFFIXES

READ = (*IMAGE_SUFFIXES, ".npy", ".zarr")
"""File endings that can be read; an ending of two parts, such as .nii.gz, includes both."""

_MORE_ENDINGS = (".ome",)
"""Further parts of an ending that do not belong to the name."""

_UNREAD = "unsupported file ending"


@dataclass(frozen=True)
class Entry:
    """An entry of a folder, with its use or the reason why it is left out.

    Attributes:
        path: path of the entry.
        status: "paired" (an image with a label, or its label), "used" (an image without labels) or "left out".
        reason: the reason why it is left out.
    """

    path: Path
    status: Literal["paired", "used", "left out"]
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """The readable files of a folder and its subfolders by name, and the other entries."""

    folder: Path
    files: dict[str, Path]
    left_out: tuple[Entry, ...]

    @property
    def empty(self) -> bool:
        """Whether the folder has no entries."""
        return not self.files and not self.left_out


def list_folder(folder: Path, skip: Iterable[Path] = ()) -> Listing:
    """Lists a folder and its subfolders.

    Args:
        folder: the folder to list.
        skip: subfolders to leave out.

    Raises:
        InputError: the names of two files differ only in their ending or in the encoding of an accent (NFC, NFD).
    """
    found: list[Path] = []
    left: list[Entry] = []
    _walk(folder, set(skip), {folder.resolve()}, found, left)
    files: dict[str, Path] = {}
    for file in found:
        key = key_of(file, folder)
        if key in files:
            first, second = (each.relative_to(folder) for each in (files[key], file))
            raise InputError(f"{folder}: {first} and {second} have the same name; keep one of them")
        files[key] = file
    return Listing(folder, files, tuple(left))


def key_of(file: Path, folder: Path) -> str:
    """The name for pairing a file: its path in the folder without ending, in Unicode's NFC form."""
    relative = file.relative_to(folder)
    return unicodedata.normalize("NFC", (relative.parent / stem(relative)).as_posix())


def title(file: Path) -> str:
    """A file's name without its ending: "a.nii.gz" is "a", "a.ome.tif" is "a.ome"."""
    return unicodedata.normalize("NFC", file.name[: -len(_suffix(file)) or None])


def stem(file: Path) -> str:
    """The name for pairing a file: its title without further parts of the ending, such as .ome."""
    name = title(file)
    return next((name.removesuffix(part) for part in _MORE_ENDINGS if name.lower().endswith(part)), name)


def _suffix(file: Path) -> str:
    lower = file.name.lower()
    return next((ending for ending in READ if lower.endswith(ending)), file.suffix)


def _walk(folder: Path, skip: set[Path], seen: set[Path], found: list[Path], left: list[Entry]) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        left.append(Entry(folder, "left out", f"it cannot be opened ({e.strerror})"))
        return
    for entry in entries:
        if entry in skip:
            continue
        if reason := _reason(entry):
            left.append(Entry(entry, "left out", reason))
        elif entry.is_dir() and _suffix(entry) != ".zarr":
            if (real := entry.resolve()) in seen:
                left.append(Entry(entry, "left out", "a link to a folder that is already listed"))
                continue
            seen.add(real)
            _walk(entry, skip, seen, found, left)
        else:
            found.append(entry)


def _reason(entry: Path) -> str:
    """The reason why an entry cannot be an image; "" if it can be one."""
    if entry.name.startswith(".") or entry.name == "__MACOSX":
        return "hidden"
    if entry.is_symlink() and not entry.exists():
        return "a link to missing content: fetch it (git annex get, dvc pull)"
    if entry.is_dir():
        return ""
    if _suffix(entry) not in READ:
        return f"{_UNREAD} ({entry.suffix.lower() or 'none'})"
    if entry.name.lower().endswith("_seg.npy"):
        return "a file of Cellpose"
    return "" if entry.is_file() else "not a regular file"


def what_lies_there(folder: Path) -> str:
    """The content of a folder in words, for messages: "folders a, b; 3 .jpg, 1 .txt"."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry.name for entry in entries if entry.is_dir()]
    suffixes = Counter(entry.suffix.lower() or entry.name for entry in entries if not entry.is_dir())
    parts = [f"folders {', '.join(folders[:6])}{', …' if len(folders) > 6 else ''}"] if folders else []
    if len(entries) - len(folders) <= 3:
        parts += [entry.name for entry in entries if not entry.is_dir()]
    else:
        parts.append(", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)))
    return "; ".join(parts)


def account(entries: Sequence[Entry], verbose: bool = False, shown: int = 3) -> list[str]:
    """A report on the use of the entries of a data set, in lines: counts, and the first names of those left out.

    Args:
        entries: entries of the data set's folder.
        verbose: whether to name all entries that are left out.
        shown: otherwise, the number of names for each reason.
    """
    counts = Counter(entry.status for entry in entries)
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if entry.status == "left out" and entry.reason != "hidden":
            reasons.setdefault(entry.reason, []).append(f"{entry.path.parent.name}/{entry.path.name}")
    hidden = sum(entry.reason == "hidden" for entry in entries)
    parts = [f"{counts[status]} {status}" for status in ("paired", "used") if counts[status]]
    parts.append(f"{counts['left out'] - hidden} left out" + f" and {hidden} hidden" * bool(hidden))
    lines = ["files: " + ", ".join(parts)]
    for reason, names in reasons.items():
        listed = ", ".join(names if verbose else names[:shown])
        more = f", … (--verbose lists all {len(names)})" if not verbose and len(names) > shown else ""
        lines.append(f"left out, {reason}: {listed}{more}")
    return lines
