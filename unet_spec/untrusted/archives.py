"""Readers of untrusted archives: NumPy's .npz, and the instructions of a pickle.

Memory is limited: sizes are summed, and the objects of a pickle counted, before anything is unpacked. No instruction of
a pickle is executed.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..files import first_line, format_bytes

MAX_MEMBERS = 100_000
MAX_NODES = 2_000_000
"""Maximum objects of a pickle, counted for each reference. A checkpoint of 10,000 tensors has about 300,000."""
MAX_DEPTH = 100


def check_members(archive: zipfile.ZipFile, where: object, limit: int) -> None:
    """Raises InputError if a zip has more than MAX_MEMBERS members, or they unpack to more than `limit` bytes."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS or len({e.filename for e in entries}) < len(entries):
        raise InputError(
            f"{where}: a zip with {len(entries)} members, or two with the same name; it is not a normal file"
        )
    if (total := sum(e.file_size for e in entries)) > limit:
        raise InputError(
            f"{where}: a zip that unpacks to {format_bytes(total)}; at most {format_bytes(limit)} are read"
        )


def read_npz(path: str | os.PathLike[str], names: Iterable[str], most: int = 2**32) -> dict[str, np.ndarray]:
    """Arrays of numbers from an .npz file.

    Args:
        path: the file.
        names: names of the arrays.
        most: maximum bytes of all arrays in memory.

    Raises:
        InputError: the file is missing, damaged or not an .npz, lacks an array, contains objects instead of numbers, or
            declares more than `most` bytes.

    Example:
        >>> np.savez("golden.npz", image=np.zeros((4, 4)))
        >>> read_npz("golden.npz", ["image"])["image"].shape
        (4, 4)
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path, most)
            return {name: _array(archive, f"{name}.npy", path) for name in names}
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror or e}") from None
    except Exception as e:  # zipfile, zlib and numpy raise nearly everything on damaged bytes
        raise InputError(f"{path}: not a readable .npz file ({first_line(e)})") from None


def _array(archive: zipfile.ZipFile, member: str, path: object) -> np.ndarray:
    size = archive.getinfo(member).file_size
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > size:
        raise InputError(f"{path}: {member} does not contain plain numbers, or fewer than it declares")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def check_pickle(file: IO[bytes], where: object) -> None:
    """Parses the instructions of one pickle without executing them, and counts the objects that they would make.

    A list that contains one list ten times, which contains another ten times, and so on, needs a kilobyte, but to
    print, copy or hash it would take forever. So objects are counted for each reference.

    Raises:
        InputError: there are more than `MAX_NODES` objects, they are nested deeper than `MAX_DEPTH`, an object contains
            itself, or the file is not a pickle.
    """
    try:
        _check_counts(_children(file))
    except InputError as e:
        raise InputError(f"{where}: {e}") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as e:  # pickletools on damaged bytes
        raise InputError(
            f"{where}: not a PyTorch file of plain tensors; no code in it was run ({first_line(e, 80)})"
        ) from None


_TOO_LARGE = f"its pickle makes more than {MAX_NODES:,} objects; no code in it was run"


def _children(file: IO[bytes]) -> list[list[int]]:
    """The objects in each object that the instructions make, in the order of the instructions."""
    children: list[list[int]] = []
    stack: list[int | None] = []  # None is a mark
    memo: dict[Any, int | None] = {}
    references = 0

    def popped(above_mark: bool, count: int) -> list[int]:
        taken = []
        if above_mark:
            while (item := stack.pop()) is not None:
                taken.append(item)
        taken += [item for _ in range(count) if (item := stack.pop()) is not None]
        return taken

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            stack.append(None)
        elif name in ("POP", "POP_MARK"):
            popped(name == "POP_MARK", int(name == "POP"))
        elif name in ("APPEND", "BUILD", "SETITEM", "APPENDS", "SETITEMS", "ADDITEMS"):
            marked = name.endswith("S")
            taken = popped(marked, 0 if marked else 2 if name == "SETITEM" else 1)
            references += len(taken)
            children[_whole(stack[-1])] += taken
        elif name not in ("PROTO", "FRAME", "STOP"):
            before = [item.name for item in opcode.stack_before]
            marked = "mark" in before
            taken = popped(marked, 0 if marked else len(before))
            references += len(taken)
            children.append(taken)
            stack.append(len(children) - 1)
        if len(children) + references > MAX_NODES:
            raise InputError(_TOO_LARGE)
    return children


def _whole(item: int | None) -> int:
    if item is None:
        raise ValueError("a mark where an object should be")
    return item


def _check_counts(children: list[list[int]]) -> None:
    """Raises InputError as `check_pickle`. An object's count is one plus the counts of the objects in it."""
    counts, depths = [0] * len(children), [0] * len(children)  # 0: not computed; −1: in progress
    for root in range(len(children)):
        stack = [root] if not counts[root] else []
        while stack:
            node = stack[-1]
            if counts[node] == 0:
                counts[node] = -1
                for child in children[node]:
                    if counts[child] == -1:
                        raise InputError("its pickle contains an object within itself; no code in it was run")
                    if not counts[child]:
                        stack.append(child)
                continue
            stack.pop()
            if counts[node] == -1:
                counts[node] = 1 + sum(counts[child] for child in children[node])
                depths[node] = 1 + max((depths[child] for child in children[node]), default=0)
                if counts[node] > MAX_NODES:
                    raise InputError(_TOO_LARGE)
                if depths[node] > MAX_DEPTH:
                    raise InputError(f"its pickle is nested deeper than {MAX_DEPTH}; no code in it was run")


__all__ = ["check_members", "check_pickle", "read_npz"]
