"""Files and zarr stores by URL, such as s3://bucket/image.zarr, through fsspec.

A URL is represented by a Path (Path("s3://bucket/a.zarr") is "s3:/bucket/a.zarr"), so that its name, ending and parents
are available as for local files. Credentials, endpoints and options are configured as for fsspec: by the environment
(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3_ANON, ...) and files in ~/.config/fsspec.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unet_spec.errors import InputError, OutputError
from unet_spec.files import first_line

from .signed import hidden, secret_of, signed_filesystem, unsigned

_SCHEME = re.compile(r"[a-z][a-z0-9+]+:")
_IDENTIFYING = ("size", "ETag", "etag", "Last-Modified", "LastModified", "mtime", "updated")
"""Names under which file systems state what changes with a file's content."""

_LISTABLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes of stores to which results can be written."""


def url_of(path: str | Path) -> str | None:
    """The URL that a path represents, without query and login (see `signed`); None for a local file.

    Example:
        >>> url_of(Path("s3://bucket/a.zarr") / "0"), url_of("images/a.zarr")
        ('s3://bucket/a.zarr/0', None)
    """
    first, _, rest = str(unsigned(path)).partition("/")
    if not _SCHEME.fullmatch(first) or not rest or Path(first).exists():
        return None
    return f"{first}//{rest.lstrip('/')}" if first != "file:" else f"{first}///{rest.lstrip('/')}"


def shown(path: Path) -> str:
    """A path for messages: its URL if it represents one."""
    return url_of(path) or str(path)


def import_fsspec() -> Any:
    """The package fsspec. Raises InputError if it is not installed."""
    try:
        import fsspec
    except ModuleNotFoundError:
        raise InputError("URLs need fsspec, which is not installed; pip install 'unet-twins[remote]'") from None
    return fsspec


@contextmanager
def reported(path: Path, doing: str = "read") -> Iterator[None]:
    """Reports failures of a remote file system in one line.

    Args:
        path: a path that represents a URL.
        doing: "read" or "written", for the message.

    Raises:
        InputError: nothing was found, or reading failed.
        OutputError: writing failed.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as e:
        status = getattr(e.__cause__, "status", 404)
        if status in (404, 410):
            raise InputError(f"{shown(path)}: no such file or folder") from None
        secret = secret_of(unsigned(path))
        why = "; the signature in its query may have expired" if secret.query else ""
        why += "; are the user and the password right?" if secret.login else ""
        raise InputError(f"{shown(path)}: its server refuses the request (HTTP {status}){why}") from None
    except Exception as e:  # the libraries of object stores share no base class
        kind = InputError if doing == "read" else OutputError
        raise kind(f"{shown(path)}: cannot be {doing} ({type(e).__name__}: {hidden(first_line(e))})") from None


def filesystem(path: Path) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path within it.

    Raises:
        InputError: the scheme is unknown, or the package that it needs is not installed.
    """
    url = url_of(path)
    try:
        if secret := secret_of(unsigned(path)):
            import_fsspec()
            return signed_filesystem(secret), str(url)
        return import_fsspec().core.url_to_fs(url)
    except ImportError as e:
        raise InputError(
            f"{url}: {first_line(e)}; pip install 'unet-twins[remote]' installs the packages for s3 and gs"
        ) from None
    except ValueError as e:
        raise InputError(f"{url}: {first_line(e)}") from None


def zarr_store(path: Path, read_only: bool) -> Any:
    """A zarr store for a URL."""
    from zarr.storage import FsspecStore

    fs, root = filesystem(path)
    if not fs.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    elif not fs.asynchronous:
        fs = type(fs)(*fs.storage_args, **fs.storage_options, asynchronous=True)
    return FsspecStore(fs, path=root, read_only=read_only)


def absolute(path: Path) -> Path:
    """The absolute path, for use in other processes; a URL is unchanged."""
    return path if url_of(path) is not None else path.absolute()


def exists(path: Path) -> bool:
    """Whether a file or folder exists at a path, local or remote.

    Raises:
        InputError: a remote file system does not answer.
    """
    if url_of(path) is None:
        return path.exists()
    with reported(path):
        fs, root = filesystem(path)
        return bool(fs.exists(root))


def size(path: Path) -> int | None:
    """Bytes of a remote file; None if it does not exist or is a folder."""
    with reported(path):
        fs, root = filesystem(path)
        try:
            found = fs.info(root)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None


def names(path: Path) -> set[str]:
    """Names of the entries of a remote folder; empty if it does not exist."""
    with reported(path):
        fs, root = filesystem(path)
        fs.invalidate_cache(root)
        try:
            return {entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(root, detail=False)} - {""}
        except FileNotFoundError:
            return set()


def identity(path: Path) -> list[Any]:
    """Values that change if an image is replaced: size and time of a local file or folder; at a URL, a hash of the
    metadata of a zarr, and the size, time and checksum of a file as far as the store states them."""
    if url_of(path) is None:
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns]
    with reported(path):
        fs, root = filesystem(path)
        if not any(part.endswith(".zarr") for part in path.parts):
            found = fs.info(root)
            return [url_of(path), *(str(found.get(name)) for name in _IDENTIFYING)]
        digest = hashlib.sha256()
        for name in ("zarr.json", ".zattrs", ".zarray"):
            try:
                digest.update(fs.cat_file(f"{root}/{name}"))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return [url_of(path), digest.hexdigest()]


def read(path: Path) -> bytes:
    """The content of a remote file. Raises InputError if it cannot be read."""
    with reported(path):
        fs, root = filesystem(path)
        return fs.cat_file(root)


def write(path: Path, data: bytes) -> None:
    """Writes a remote file atomically. Raises OutputError."""
    with reported(path, "written"):
        fs, root = filesystem(path)
        fs.pipe_file(root, data)


def create(path: Path, data: bytes) -> bool:
    """Writes a remote file unless it exists. Returns whether it was written.

    If two processes write at the same time, only one succeeds, provided that the store supports this.

    Raises:
        OutputError: the file cannot be written.
    """
    with reported(path, "written"):
        fs, root = filesystem(path)
        if fs.exists(root):
            return False
        try:
            fs.pipe_file(root, data, mode="create")
        except FileExistsError:
            return False
        return True


def remove(path: Path) -> None:
    """Deletes a remote file, or a folder with its content, if it exists."""
    with reported(path, "written"):
        fs, root = filesystem(path)
        if fs.exists(root):
            fs.rm(root, recursive=True)
        fs.invalidate_cache(root)


def check_writable(path: Path) -> None:
    """Raises InputError if results cannot be written to a URL of this scheme, such as https."""
    scheme = str(path).partition(":")[0]
    if scheme not in _LISTABLE:
        raise InputError(
            f"{shown(path)}: results cannot be written to {scheme}; give a local file or {_LISTABLE[0]}://"
        )
