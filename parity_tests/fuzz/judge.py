"""What a command promises whatever its input, held against how it ended."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from .server import Ended

ALLOWED = ("in", "out", "home", "tmp", "stdout", "stderr")
"""Entries of a case's folder; of these only `out` may have changed when the command has ended, and caches in `home`."""
LINES, CHARACTERS = 8, 300
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BAR = re.compile(r"[▁-█━╸╺─│╭╮╰╯]")


def state(folder: Path) -> dict[str, str]:
    """What lies in a folder: paths to digests, or to where a link leads."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            key = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[key] = f"link {os.readlink(path)}"
            elif path.is_file():
                found[key] = f"{path.stat().st_size} {_digest(path)}"
            elif path.is_dir():
                found[key] = "folder"
    return found


def _digest(path: Path) -> str:
    if path.stat().st_size > 2**28:  # a file of holes
        return "large"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verdicts(ended: Ended, folder: Path, before: dict[str, str] | None, writes: bool, refused: bool) -> list[str]:
    """What is wrong with how a case ended; nothing where all is right.

    Args:
        ended: how.
        folder: of the case.
        before: `state` of its inputs; None where it may change them.
        writes: whether the command was given a place to write to.
        refused: whether the input had to be refused.
    """
    wrong = [ended.stopped] if ended.stopped else []
    if "Traceback (most recent call last)" in ended.err or "Exception in thread" in ended.err:
        wrong.append("traceback")
    elif not ended.stopped and ended.code not in (0, 1, 2):
        wrong.append(f"exit code {ended.code}")
    if before is not None and state(folder / "in") != before:
        wrong.append("inputs changed")
    outside = sorted(p.name for p in folder.iterdir() if p.name not in ALLOWED)
    if not ended.stopped:
        outside += [f"tmp/{p.name}" for p in (folder / "tmp").iterdir()]
    if outside:
        wrong.append(f"outside of OUT: {', '.join(outside)[:80]!r}")
    if _CONTROL.search(ended.err + ended.out):
        wrong.append("control characters")
    if ended.code not in (0, 1) and not ended.stopped and "traceback" not in wrong:
        wrong += message(ended.err.replace(str(folder), "HERE"))
    out = folder / "out"
    if ended.code == 0 and not ended.stopped:
        wrong += ["accepted"] if refused else []
        wrong += [f"not whole: {p}" for p in damaged(out)] if writes else []
        wrong += ["nothing written"] if writes and not any(out.iterdir()) else []
    elif not ended.stopped and writes:
        wrong += [f"left over: {p.name}"[:80] for p in leftovers(out)]
    return wrong


def message(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not _BAR.search(line)]
    if not lines:
        return ["no message"]
    long = max(map(len, lines))
    return [f"lines: {len(lines)} of up to {long}"] if len(lines) > LINES or long > CHARACTERS else []


def leftovers(out: Path) -> list[Path]:
    """Temporary files, and results of a command that failed; tiles that are kept for the next run are none."""
    return [p for p in sorted(out.iterdir()) if p.name.startswith(".") or p.suffix != ".part"]


def damaged(out: Path) -> list[str]:
    """Results that another program cannot read."""
    found = []
    for path in sorted(out.iterdir()):
        try:
            _read(path)
        except Exception as e:
            found.append(f"{path.name} ({type(e).__name__}: {str(e)[:80]})")
    return found


def _read(path: Path) -> None:
    import numpy as np

    if path.suffix == ".part":  # of --shard
        return
    if path.name.startswith("."):
        raise ValueError("left over")
    if path.suffix == ".zarr":
        import zarr

        assert np.asarray(zarr.open_array(path, mode="r")[...]).size
    elif path.is_dir():
        _read_folder(path)
    elif path.suffix == ".png":
        from PIL import Image

        Image.open(path).load()
    elif path.suffix in (".tif", ".tiff"):
        import tifffile

        assert tifffile.imread(path).size
    elif path.suffix == ".npy":
        assert np.load(path).size
    elif path.name.endswith((".nii", ".nii.gz")):
        import nibabel

        assert np.asarray(nibabel.load(path).dataobj).size
    elif path.suffix == ".json":
        json.loads(path.read_text())


def _read_folder(path: Path) -> None:
    from safetensors.numpy import load_file

    files = list(path.rglob("*"))
    assert files, "empty"
    for file in files:
        assert not re.fullmatch(r"\..*\.[0-9a-f]{12}(\..*)?", file.name), f"{file.name} left over"
        if file.suffix == ".safetensors":
            load_file(file)
        elif file.suffix == ".json":
            json.loads(file.read_text())


def counted(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))
