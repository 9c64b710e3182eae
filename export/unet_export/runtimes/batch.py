"""Shared code of the runtimes: checks of batches, threads, copies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError, NetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped


class Reopened:
    """Base class for pickling and copying a runtime: a copy opens the model again, with the same arguments.

    Attributes:
        opened: The constructor's arguments; files are absolute paths.
    """

    opened: tuple[Any, ...]

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), self.opened


def absolute(source: bytes | str | os.PathLike[str]) -> bytes | str:
    """Makes a path absolute, for other processes; bytes are returned unchanged."""
    return source if isinstance(source, bytes) else os.path.abspath(source)


def model_input(config: NetworkConfig, images: Shaped[np.ndarray, ...]) -> Float32[np.ndarray, "n c *spatial"]:
    """Checks images (N, *spatial, C) and transposes them to the model's layout: (N, C, *spatial), contiguous.

    Raises InputError on a dtype other than float32, a wrong number of axes or channels, a size off the grid (the
    message names the nearest), and an empty batch.
    """
    if images.dtype != np.float32:
        raise InputError(f"the network takes float32 images, not {images.dtype}")
    config.graph.check_image(images.shape)
    if not len(images):
        raise InputError(f"an image batch of shape {images.shape} contains no image")
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def thread_count(threads: int | None) -> int:
    """`threads`, or, if it is None, the number of cores that this process may use. Raises InputError for fewer than
    one."""
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; it must be at least 1")
    return threads or usable_cores()


def usable_cores() -> int:
    """Number of cores that this process may use; containers and schedulers often allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
