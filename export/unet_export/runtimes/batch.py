"""Shared code of the runtimes: checks of batches, threads, copies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError, NetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped


class Reopened:
    """What a runtime needs to be pickled and copied: a copy opens the model again, with the same arguments.

    Attributes:
        opened: The constructor's arguments; of a file its absolute path.
    """

    opened: tuple[Any, ...]

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), self.opened


def anywhere(source: bytes | str | os.PathLike[str]) -> bytes | str:
    """A path that holds in other folders and processes, too; bytes as they are."""
    return source if isinstance(source, bytes) else os.path.abspath(source)


def model_input(config: NetworkConfig, images: Shaped[np.ndarray, ...]) -> Float32[np.ndarray, "n c *spatial"]:
    """Checks images (N, *spatial, C) and lays them out as the model takes them: (N, C, *spatial), contiguous.

    Raises InputError on another dtype than float32, number of axes or channels, a size off the grid (naming the
    nearest), and an empty batch.
    """
    if images.dtype != np.float32:
        raise InputError(f"the network takes float32 images, not {images.dtype}")
    config.graph.check_image(images.shape)
    if not len(images):
        raise InputError(f"an image batch of shape {images.shape} contains no image")
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def thread_count(threads: int | None) -> int:
    """`threads`, or for None the cores that this process may use. Raises InputError for fewer than one."""
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; it must be at least 1")
    return threads or usable_cores()


def usable_cores() -> int:
    """Cores that this process may use: a container or a scheduler often grants fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
