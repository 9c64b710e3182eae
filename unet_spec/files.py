"""Atomic writes of files and folders; the cache folder; sizes and errors as short texts."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, OutputError
from .untrusted.text import one_line

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or for a new folder.

    It is renamed to `path` when the block succeeds and removed when the block fails, so that `path` is never partial.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "result.txt"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("complete")
        >>> target.read_text()
        'complete'
    """
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        remove(temporary)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Like `replacing`, but creates the parent folder of `path` and reports errors in one line.

    Raises:
        OutputError: the block, or the file system, raised OSError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror or e}") from None


@contextmanager
def replacing_folder(path: Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """A new folder beside `path` that replaces it when the block succeeds. Only then the old folder is removed.

    The two folders are exchanged atomically if the system supports it. Otherwise the old one is renamed first, and
    renamed back if the second step fails.

    Args:
        path: path of the folder. If it is a link, the target of the link is replaced.
        check: called with `path` before and after the block; raises InputError if the folder must not be replaced.
            None: any folder may be replaced.

    Raises:
        OutputError: the file system refuses to write.
    """
    path = path.resolve()
    new = _beside(path)
    check = check or (lambda _: None)
    if path.exists():
        check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        yield new
        if path.exists():
            check(path)  # its content may have changed
            if not exchange(new, path):
                _swap(new, path)
        else:
            new.rename(path)
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror or e}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_files(folder: Path, contents: Mapping[str, bytes | None]) -> None:
    """Writes files of a folder atomically: a reader sees either all old or all new files. Creates the folder.

    Other files of the folder stay. If folders cannot be exchanged (a mount, a file system without support, folders
    within the folder), each file is still written atomically.

    Args:
        folder: folder of the files.
        contents: contents by file name; None removes the file.

    Raises:
        OSError: the file system refuses to write; the old files are unchanged.
    """
    folder, given = folder.resolve(), {name: content for name, content in contents.items() if content is not None}
    if folder.exists():
        others = [path for path in folder.iterdir() if path.name not in contents]
        plain = all(path.is_file() and not path.is_symlink() for path in others)
        if plain and _write_beside(folder, given, others):
            return
        for name, content in given.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
        for name in contents.keys() - given.keys():
            (folder / name).unlink(missing_ok=True)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as fresh:
        fresh.mkdir()
        for name, content in given.items():
            (fresh / name).write_bytes(content)


def _write_beside(folder: Path, contents: Mapping[str, bytes], others: Iterable[Path]) -> bool:
    """Replaces `folder` by a new one with these files and the others. Returns False if that is not possible."""
    fresh = _beside(folder)
    try:
        try:
            fresh.mkdir()
            shutil.copymode(folder, fresh)
            for path in others:
                os.link(path, fresh / path.name)
        except OSError:
            return False
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
        return exchange(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two existing files or folders atomically. Returns False if the system does not support it."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):
        return library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0
    if hasattr(library, "renamex_np"):
        return library.renamex_np(*names, _EXCHANGE) == 0
    return False


_AT_FDCWD, _EXCHANGE = -100, 2  # the flag is 2 on Linux and on macOS


def _swap(new: Path, path: Path) -> None:
    """Like `exchange`, in two steps; afterwards `new` is the old folder."""
    old = _beside(path)
    try:
        path.rename(old)
        new.rename(path)
    finally:  # also after an interrupt
        if old.exists():
            old.rename(new if path.exists() else path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}{path.suffix}")


def leftovers(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Temporary files of `replacing`, for these names, that a killed process left in the folder."""
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix
        for path in folder.glob(f".{stem}.*{suffix}"):
            if re.fullmatch(r"[0-9a-f]{12}", path.name.removeprefix(f".{stem}.").removesuffix(suffix)):
                yield path


def remove(path: Path) -> None:
    """Deletes a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def write_errors_as_input_error(path: Path, note: str = "") -> Iterator[None]:
    """Converts a full disk and other write errors to an error of one line that ends with `note`.

    Raises:
        OutputError: the block raised OSError.
    """
    try:
        yield
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full (or the file is larger than the file system allows)" if full else str(e.strerror or e)
        raise OutputError(f"{path}: cannot be written: {what}{note}") from None


def cache_folder() -> Path:
    """The cache folder: UNET_CACHE, or unet-twins in XDG_CACHE_HOME, or ~/.cache/unet-twins."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNET_CACHE") or Path(base) / "unet-twins")


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of an error's text, at most `limit` characters; its type's name if it has no text.

    Example:
        >>> first_line(ValueError("bad shape\\nand more"))
        'bad shape'
    """
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0], limit)


def format_bytes(count: int) -> str:
    """A number of bytes as text in MiB or GiB.

    Example:
        >>> format_bytes(1610612736), format_bytes(5242880)
        ('1.50 GiB', '5 MiB')
    """
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{math.ceil(count / 2**20)} MiB"


def parse_bytes(text: str) -> int:
    """An amount of memory such as "2GiB", "500M" or "1.5 g" in bytes; the units are powers of 1024.

    Raises:
        InputError: the text is not an amount of memory.

    Example:
        >>> parse_bytes("2GiB")
        2147483648
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    amount = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < amount < math.inf:
        raise InputError(f"{text!r} is not an amount of memory; write, for example, 500MiB or 2GiB")
    return int(amount)
