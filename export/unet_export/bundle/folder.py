"""Checks before writing that a folder contains nothing but a bundle."""

from __future__ import annotations

from pathlib import Path

from unet_spec import InputError
from unet_spec.untrusted.strict_json import read_object

from .manifest import MANIFEST, SIGNATURE, is_bundle


def check_target(path: Path) -> None:
    """Raises InputError if writing would overwrite anything that is not part of a bundle."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"cannot write a bundle to {path}: it is a file")
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if not present:
        return
    if not is_bundle(path):
        raise InputError(f"cannot write a bundle to {path}: it is neither empty nor a bundle, so it is not replaced")
    known = read_object(path / MANIFEST).get("files")
    foreign = sorted(present - {MANIFEST, SIGNATURE, *(known if isinstance(known, dict) else {})})
    if foreign:
        raise InputError(
            f"cannot replace the bundle {path}: {foreign[0]} does not belong to it; move it elsewhere first"
        )
