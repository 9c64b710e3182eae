"""Labels with a class between touching objects, from labels that number objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unet_spec.errors import InputError

from .border_weights import two_nearest
from .dataset import Dataset
from .label_rule import IGNORED

BORDER_CLASSES = ("background", "object", "border")
BORDER_WIDTH = 2


def with_border(dataset: Dataset, width: int = BORDER_WIDTH) -> Dataset:
    """The same data set with three classes: background, object, and border.

    A pixel belongs to the border if two objects lie within `width` pixels of it; its own object has distance 0. So the
    border is the facing rims of touching objects and the gap between them.

    Args:
        dataset: with labels that number objects, in memory.
        width: maximum distance in pixels.

    Raises:
        InputError: the labels do not number objects, or they are not in memory.

    Example:
        >>> from unet_data import Dataset, with_border
        >>> cells = np.array([[1, 1, 1, 2, 2, 2, 0]])
        >>> data = Dataset((np.zeros((1, 7, 1), np.uint8),), ((cells > 0).astype(np.int32),), ("a",),
        ...                ("background", "cell"), "example", instances=(cells,))
        >>> with_border(data, 2).labels[0].tolist()
        [[1, 2, 2, 2, 2, 1, 0]]
    """
    if dataset.instances is None or dataset.labels is None:
        raise InputError(f"{dataset.source}: a border class needs labels that give each object its own number")
    if dataset.stored:
        raise InputError(f"{dataset.source}: a border class needs labels in memory; leave out --loader grain")
    labels = []
    for label, cells in zip(dataset.labels, dataset.instances, strict=True):
        _, second = two_nearest(np.asarray(cells), float(width))
        labels.append(np.where((second <= width) & (label != IGNORED), 2, label).astype(np.int32))
    return replace(
        dataset,
        labels=tuple(labels),
        class_names=BORDER_CLASSES,
        source=f"{dataset.source}, with a class for the border ({width} pixels wide) between objects",
    )
