"""Compilation by XLA: compiler options, the cache of compiled programs on disk, and compile times."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax

_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
_VECTORS = {"xla_cpu_prefer_vector_width": "512"}


@cache
def compiler_options(platform: str | None = None, long_vectors: bool = False) -> dict[str, str]:
    """Options for `jax.jit(…, compiler_options=…)` on the outermost function; empty on other backends than CPU.

    They exclude the library YNNPACK, which newer versions of XLA use for convolutions without padding and which is much
    slower than XLA's own code. Options that this version of XLA does not know are left out.

    Args:
        platform: platform to compile for: "cpu", "gpu" or "tpu"; None: JAX's default.
        long_vectors: use the CPU's longest vectors, up to 512 bits; XLA's default limit is 256. Training steps of
            images become about 2 % faster, those of volumes 5 % slower (two cores of x86-64 with AVX-512).

    Example:
        >>> import jax
        >>> from unet_jax import compiler_options
        >>> float(jax.jit(lambda x: 2 * x, compiler_options=compiler_options())(1.5))
        3.0
    """
    if (platform or jax.default_backend()) != "cpu":
        return {}
    options = _CONVOLUTIONS | (_VECTORS if long_vectors else {})
    return {name: value for name, value in options.items() if _known(name, value)}


def _known(name: str, value: str) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except RuntimeError:
        return False
    return True


LARGEST_CACHE = 2 * 2**30
"""Maximum size, in bytes, of a folder of `compilation_cache`; the oldest programs are removed first."""

_taken: list[str] = []
"""One entry for each program that JAX took from its cache on the disk."""


def _listen(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _taken.append(event)


jax.monitoring.register_event_listener(_listen)


@contextlib.contextmanager
def compilation_cache(folder: Path | None) -> Iterator[None]:
    """Within the block, JAX caches programs that take a second or more to compile in a folder.

    The cache is off, with a warning, if the folder cannot be written or if other users may write to it, since its files
    are run as machine code.

    Args:
        folder: created if missing; above 2 GiB, the oldest programs are removed. None: no cache.

    Example:
        >>> from pathlib import Path
        >>> import jax
        >>> from unet_jax import compilation_cache
        >>> with compilation_cache(Path("programs")):
        ...     float(jax.jit(lambda x: 2 * x)(1.5))
        3.0
    """
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    if folder is not None and (reason := _unusable(folder)):
        warnings.warn(f"compiled programs are not cached in {folder}: {reason}", stacklevel=3)
        folder = None
    if folder is not None:
        _remove_oldest(folder)
    before = getattr(jax.config, "jax_compilation_cache_dir", None)
    reset_cache()  # JAX opens its folder once
    jax.config.update("jax_compilation_cache_dir", None if folder is None else str(folder))
    try:
        yield
    finally:
        reset_cache()
        jax.config.update("jax_compilation_cache_dir", before)


def _unusable(folder: Path) -> str | None:
    """Creates the folder. Returns the reason why it cannot be used, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as e:
        return e.strerror or str(e)
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & stat.S_IWOTH):
        return "it belongs to another user, or all users may write to it"
    return None if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"


def _remove_oldest(folder: Path) -> None:
    files = sorted((file for file in folder.glob("*-cache") if file.is_file()), key=lambda f: f.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total <= LARGEST_CACHE:
            break
        total -= file.stat().st_size
        file.unlink(missing_ok=True)


class Compiling:
    """Reports the beginning of a compilation and, once, how long it took.

    Args:
        what: name of the program, for messages. step: step of the training. report: receives {"step", "compiling"} at
            once and, at `end`, {"step", "compiled": seconds, "kept": whether it came from the cache}.
    """

    def __init__(self, what: str, step: int, report: Callable[[dict[str, Any]], None]):
        self._step, self._report, self._ended = step, report, False
        self._start, self._before = time.perf_counter(), len(_taken)
        report({"step": step, "compiling": what})

    def end(self) -> None:
        """Ends the timing; a second call does nothing."""
        if not self._ended:
            self._ended = True
            seconds = time.perf_counter() - self._start
            self._report({"step": self._step, "compiled": seconds, "kept": len(_taken) > self._before})
