"""Labels with one mask file per object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unet_spec.errors import InputError

from ..io.facts import FileFacts

_BELOW = "pixels covered by another object"
_OBJECTS = "each mask file of an image read as one object (--labels overlapping, if it is the mask of a class)"


def join_objects(paths: Sequence[Path], read: Callable[[Path], np.ndarray]) -> tuple[np.ndarray, FileFacts]:
    """Numbers objects 1, 2, … in the order of their files. Where two overlap, the later one is on top.

    Args:
        paths: the files, each of which is not 0 on its object.
        read: reads the label numbers of a file; all have the same shape.

    Raises:
        InputError: shapes differ.
    """
    numbers = np.zeros(read(paths[0]).shape, np.uint16 if len(paths) < 2**16 else np.int32)
    overlap = False
    for number, path in enumerate(paths, start=1):
        mask = read(path) != 0
        if mask.shape != numbers.shape:
            raise InputError(f"{path}: has shape {mask.shape} but {paths[0]} has {numbers.shape}; they must be equal")
        overlap |= bool(numbers[mask].any())
        numbers[mask] = number
    return numbers, FileFacts(str(numbers.dtype), left_out=(_BELOW,) * overlap, read_as=(_OBJECTS,))
