"""The folder of a bundle, written wholly or not at all, and never over anything else."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_spec import InputError

from .manifest import MANIFEST, is_bundle


def check_target(path: Path) -> None:
    """Raises InputError where writing would destroy something that is no bundle, or no part of it."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"cannot write a bundle to {path}: it is a file")
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if not present:
        return
    if not is_bundle(path):
        raise InputError(f"cannot write a bundle to {path}: it is not empty, and no bundle that could be replaced")
    known = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("files")
    foreign = sorted(present - {MANIFEST, *(known if isinstance(known, dict) else {})})
    if foreign:
        raise InputError(f"cannot replace the bundle {path}: {foreign[0]} does not belong to it; move it away first")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, renamed to it when the block ends well; the old one goes only then. Raises InputError
    for whatever the file system refuses."""
    path = path.absolute()
    new, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}") for _ in range(2))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as e:
        raise InputError(f"cannot write bundle {path}: {e.strerror or e}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
