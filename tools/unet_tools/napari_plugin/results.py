"""Layers of results: classes with names and colours, numbered objects with measurements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unet_data.io.colours import colour

if TYPE_CHECKING:
    from jaxtyping import Shaped

LayerData = tuple[Any, dict[str, Any], Literal["image", "labels"]]
"""Data, arguments and kind of a layer, as napari's readers return it."""

PAINTED = "label {}"
"""Name of the class of a painted number."""

CLASSES = "unet_classes"
"""Key in a layer's metadata: class names by number, for the layer's colours."""

_PAINTED = re.compile(r"label (\d+)")


def class_numbers(names: Sequence[str]) -> list[int]:
    """The displayed number of each class: 3 for a class painted as "label 3", otherwise its index.

    Example:
        >>> class_numbers(["label 1", "label 3"]), class_numbers(["background", "nucleus"])
        ([1, 3], [0, 1])
    """
    matches = [_PAINTED.fullmatch(name) for name in names]
    if all(matches):
        return [int(match[1]) for match in matches if match]
    return list(range(len(names)))


def colours(numbers: Sequence[int]) -> dict[int | None, Any]:
    """Red, green, blue and opacity of each number, for napari's `DirectLabelColormap`. The colours are those of this
    project's label images; 0 is transparent."""
    shown: dict[int | None, Any] = {None: (0.0, 0.0, 0.0, 0.0), 0: (0.0, 0.0, 0.0, 0.0)}
    return shown | {n: (*(value / 255 for value in colour(n)), 1.0) for n in numbers if n}


def classes_layer(
    labels: Shaped[np.ndarray, "*shape"], names: Sequence[str], name: str, place: dict[str, Any]
) -> LayerData:
    """A layer of class numbers. The status bar shows the class name of the pixel under the cursor.

    Args:
        labels: class indices (*leading, *spatial).
        names: names of the classes.
        name: name of the layer.
        place: see `LayerImages.placed`.
    """
    numbers = class_numbers(names)
    shown = labels if numbers == list(range(len(names))) else np.asarray(numbers, np.uint8)[labels]
    features = {"index": numbers, "class": list(names)}
    metadata = {CLASSES: dict(zip(numbers, names, strict=True))}
    return shown, {"name": name, "features": features, "metadata": metadata, **place}, "labels"


def masks_layers(
    masks: Shaped[np.ndarray, "*shape k"], names: Sequence[str], name: str, place: dict[str, Any]
) -> list[LayerData]:
    """One layer per overlapping class."""
    layers: list[LayerData] = []
    for index, own in enumerate(names):
        features = {"index": [0, 1 + index], "class": ["", own]}
        metadata = {CLASSES: {1 + index: own}}
        arguments = {"name": f"{name}: {own}", "features": features, "metadata": metadata, **place}
        layers.append((masks[..., index] * np.uint8(1 + index), arguments, "labels"))
    return layers


def objects_layer(
    labels: Shaped[np.ndarray, "*shape"], columns: dict[str, np.ndarray], name: str, place: dict[str, Any]
) -> LayerData:
    """A layer of numbered objects, with their measurements as features.

    Args:
        labels: object numbers (*leading, *spatial), 0 for background.
        columns: columns of the table, with a row per object in the order of the numbers from 1.
        name, place: as in `classes_layer`.
    """
    count = len(next(iter(columns.values()))) if columns else 0
    features = {"index": np.arange(1, count + 1), **{key: value for key, value in columns.items() if key != "object"}}
    return labels, {"name": name, "features": features, **place}, "labels"


def probabilities_layers(
    values: Shaped[np.ndarray, "*shape_k"], names: Sequence[str], name: str, place: dict[str, Any], single: bool
) -> list[LayerData]:
    """Layers of probabilities: class 1 if there are two classes (`single`), otherwise one per class."""
    shown = {names[-1]: values} if single else {own: values[..., index] for index, own in enumerate(names)}
    limits = {"contrast_limits": (0.0, 1.0), "colormap": "magma"}
    return [(part, {"name": f"{name}: {own}", **limits, **place}, "image") for own, part in shown.items()]
