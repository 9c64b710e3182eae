"""The content of the wheel: which files may be in it, that they are the repository's, and how large it is."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from unet_spec import InputError

PACKAGES = {
    "unet_spec": "unet_spec",
    "unet_data": "unet_data",
    "unet_jax": "unet_jax",
    "unet_torch": "unet_torch",
    "unet_export": "export/unet_export",
    "unet_tools": "tools/unet_tools",
}
"""Packages of the wheel, and their folders in the repository."""

LIMIT = 2 * 2**20
"""Bytes that the wheel may have."""


@dataclass(frozen=True)
class Content:
    """Files of a wheel with their sizes in bytes, uncompressed; and the size of the wheel."""

    files: dict[str, int]
    size: int

    def listing(self) -> str:
        """A line a file, the largest first."""
        lines = [f"{size:>9,}  {name}" for name, size in sorted(self.files.items(), key=lambda f: (-f[1], f[0]))]
        total = f"{self.size:,} bytes packed, {sum(self.files.values()):,} bytes in {len(self.files)} files"
        return "\n".join([total, "", *lines]) + "\n"


def check_wheel(wheel: Path, root: Path, limit: int = LIMIT) -> Content:
    """Compares the wheel with the repository.

    Args:
        wheel: the file.
        root: root of the repository that it was built from.
        limit: bytes that it may have.

    Returns:
        What it holds.

    Raises:
        InputError: a file that is in no package, that differs from the repository's, or is not under its name there; a
            package without files; a licence that is missing; too large a wheel.
    """
    files: dict[str, int] = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            files[entry.filename] = entry.file_size
            top, _, rest = entry.filename.partition("/")
            if top.endswith(".dist-info"):
                continue
            if top not in PACKAGES:
                raise InputError(f"{wheel.name} holds {entry.filename}, which is in none of {', '.join(PACKAGES)}")
            source = root / PACKAGES[top] / rest
            if not source.is_file():
                raise InputError(f"{wheel.name} holds {entry.filename}, and the repository has no {source}")
            if source.read_bytes() != archive.read(entry):
                raise InputError(f"{wheel.name}: {entry.filename} is not the repository's {source}")
    if missing := [name for name in PACKAGES if f"{name}/__init__.py" not in files]:
        raise InputError(f"{wheel.name} lacks {', '.join(missing)}")
    if not any(name.endswith("/licenses/LICENSE") for name in files):
        raise InputError(f"{wheel.name} holds no LICENSE")
    if (size := wheel.stat().st_size) > limit:
        largest = max(files, key=lambda name: files[name])
        raise InputError(f"{wheel.name} has {size:,} bytes, at most {limit:,}; its largest file is {largest}")
    return Content(files, size)
