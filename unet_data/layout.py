"""Which files of a folder are images, which are labels, and which belong together."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unet_spec.errors import InputError

from .decode import IMAGE_SUFFIXES

LABEL_FOLDERS = ("labels", "masks")
_LABEL_ENDING = re.compile(r"[-_](masks?|labels?)$", re.IGNORECASE)
_EXPECTED = "expected images/ with labels/ or masks/, or *-volume.tif with *-labels.tif, or image files"


@dataclass(frozen=True)
class Layout:
    """pairs: (image file, label file or None), in name order. stacks: the ISBI naming, *-volume.tif, *-labels.tif."""

    pairs: tuple[tuple[Path, Path | None], ...]
    stacks: bool = False

    def for_each(self, read: Callable[[Path, Path | None], None]) -> None:
        """Calls read(image file, label file) for each pair. Raises InputError where it refuses any: what it says of the
        first one, and the names of the others, so that all can be mended at once."""
        first, names = "", []
        for image, label in self.pairs:
            try:
                read(image, label)
            except InputError as e:
                first = first or str(e)
                names.append(image.name)
        if first:
            more = ", ".join(names[1:6]) + (", ..." if len(names) > 6 else "")
            raise InputError(first + (f"; {len(names) - 1} more cannot be used either: {more}" if more else ""))


def find_layout(path: Path, arrays: bool = False) -> Layout:
    """Recognises what lies at `path`; the rules are those of `open_dataset`.

    arrays: whether .npy files and .zarr folders count as images too.

    Raises InputError where nothing is there, no layout fits, or an image or label has no partner.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not path.is_dir():
        return Layout(((path, None),))
    files = _image_files(path, arrays)
    volumes = _by_stem([file for file in files if _is_stack(file, "-volume")], path, "-volume")
    labels = _by_stem([file for file in files if _is_stack(file, "-labels")], path, "-labels")
    if volumes and (labels or len(volumes) == len(files)):
        return Layout(_stack_pairs(volumes, labels), stacks=True)
    if (path / "images").is_dir():
        return Layout(_folder_pairs(path, arrays))
    if not files:
        inside = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
        found = f"found {', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''}" if inside else "it is empty"
        raise InputError(f"{path}: has no images ({found}); {_EXPECTED} ({' '.join(IMAGE_SUFFIXES)})")
    if labels:
        raise InputError(f"{labels[min(labels)]}: has no volume; expected {min(labels)}-volume.tif beside it")
    stems = _by_stem(files, path)
    for stem, file in stems.items():
        if _LABEL_ENDING.sub("", stem) != stem and _LABEL_ENDING.sub("", stem) in stems:
            raise InputError(f"{file}: is a label among the images; put images into images/ and labels into labels/")
    return Layout(tuple((file, None) for file in stems.values()))


def _image_files(folder: Path, arrays: bool) -> list[Path]:
    """Image files by suffix in name order, without hidden ones (macOS leaves ._name.png beside name.png)."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    suffixes = (*IMAGE_SUFFIXES, ".npy") if arrays else IMAGE_SUFFIXES
    return [
        entry
        for entry in entries
        if (entry.suffix.lower() in suffixes and entry.is_file()) or (arrays and entry.suffix == ".zarr")
    ]


def _is_stack(file: Path, ending: str) -> bool:
    return file.suffix.lower() in (".tif", ".tiff") and file.stem.endswith(ending)


def _by_stem(files: list[Path], folder: Path, ending: str = "") -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for file in files:
        stem = file.stem.removesuffix(ending)
        if stem in stems:
            raise InputError(f"{folder}: {stems[stem].name} and {file.name} share a name; keep one of them")
        stems[stem] = file
    return stems


def _stack_pairs(volumes: dict[str, Path], labels: dict[str, Path]) -> tuple[tuple[Path, Path | None], ...]:
    if not labels:
        return tuple((volume, None) for volume in volumes.values())
    for stem, label in labels.items():
        if stem not in volumes:
            raise InputError(f"{label}: has no volume; expected {stem}-volume.tif beside it")
    for stem, volume in volumes.items():
        # The challenge hands out test-volume.tif without labels in the same folder; it is no training data.
        if stem not in labels and stem != "test":
            raise InputError(f"{volume}: has no labels; expected {stem}-labels.tif beside it")
    return tuple((volume, labels[stem]) for stem, volume in volumes.items() if stem in labels)


def _folder_pairs(path: Path, arrays: bool) -> tuple[tuple[Path, Path | None], ...]:
    images = _by_stem(_image_files(path / "images", arrays), path / "images")
    if not images and _image_files(path / "images", arrays=True):
        raise InputError(
            f"{path / 'images'}: holds .npy or .zarr, which are read by windows: add --loader grain (in Python, "
            "open_stored)"
        )
    if not images:
        raise InputError(f"{path / 'images'}: has no images; put {' '.join(IMAGE_SUFFIXES)} files there")
    folders = [path / name for name in LABEL_FOLDERS if (path / name).is_dir()]
    if len(folders) > 1:
        raise InputError(f"{path}: has both labels/ and masks/; keep the one to be used")
    if not folders:
        return tuple((image, None) for image in images.values())
    labels: dict[str, Path] = {}
    for stem, label in _by_stem(_image_files(folders[0], arrays), folders[0]).items():
        partner = stem if stem in images else _LABEL_ENDING.sub("", stem)
        if partner not in images:
            raise InputError(f"{label}: has no image; expected images/{partner}.png (or another image suffix)")
        if partner in labels:
            raise InputError(f"{label}: is a second label for {images[partner].name}, beside {labels[partner].name}")
        labels[partner] = label
    for stem, image in images.items():
        if stem not in labels:
            missing = sum(other not in labels for other in images)
            more = f" (and {missing - 1} more images have none)" if missing > 1 else ""
            raise InputError(f"{image}: has no label; expected {folders[0].name}/{stem}.png or {stem}_mask.png{more}")
    return tuple((image, labels[stem]) for stem, image in images.items())
