"""Objects of a network on labelled images: computes their probabilities, and chooses the object settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from unet_spec import DataSpec, InputError, NetworkConfig

from ..datasets.dataset import Dataset
from ..datasets.label_rule import IGNORED
from ..inference.output import Output
from ..inference.predict import predict_output
from ..inference.stitch import Run
from ..objects.settings import Method, ObjectSettings
from ..objects.whole import objects_of
from .matching import instance_scores

if TYPE_CHECKING:
    from jaxtyping import Float, Integer, Shaped, UInt8

REACHES = (8, 128)
"""Minimum and maximum of the chosen `reach`."""


def object_maps(
    run: Run, config: NetworkConfig, data: DataSpec, dataset: Dataset
) -> list[UInt8[np.ndarray, "*spatial_k"]]:
    """For each image, the probabilities 0..255 from which objects are made. Ignored pixels are background.

    They are those of class 1, or (*spatial, K); for a network with a distance head, of all classes and the distance.

    Args:
        run, config, data: the network, as in `predict_image`.
        dataset: data set with labels.
    """
    maps = []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels or (), strict=True)):
        output = predict_output(run, np.asarray(image), config, data, facts=dataset.file_facts(index))
        maps.append(object_map(output, np.asarray(truth), config))
    return maps


def object_map(
    output: Float[np.ndarray, "*spatial k"], label: Integer[np.ndarray, "*spatial"], config: NetworkConfig
) -> UInt8[np.ndarray, "*spatial_k"]:
    """The map of one image, as `object_maps` gives it, of all that a network says of it (`predict_output`)."""
    values = Output("objects", "uint8", distance=config.distance_head).of(output)
    ignored = label == IGNORED
    values[ignored] = 0
    if values.ndim > ignored.ndim:
        values[ignored, 0] = 255
    return values


def choose_object_settings(
    maps: Sequence[Shaped[np.ndarray, "*spatial_k"]],
    instances: Sequence[Integer[np.ndarray, "*spatial"]],
    base: ObjectSettings | None = None,
) -> tuple[ObjectSettings, float]:
    """Chooses the object settings with the largest mean AP over IoU 0.5, 0.55, … 0.95.

    It is a coordinate search: two passes over the settings, in a fixed order, set each one to the best of a few values
    (the first among equals). `reach` is derived from the largest object.

    Args:
        maps: for each image, the probabilities as in `objects_of`.
        instances: for each image, the object numbers, 0 for background.
        base: start of the search; its border class, distance and spacing do not change. Default: the default settings.

    Returns:
        The settings, and their mean AP on these images.

    Raises:
        InputError: there is no object, or the shapes differ.

    Example:
        >>> from unet_data import choose_object_settings
        >>> truth = np.pad(np.kron([[1, 0], [0, 2]], np.ones((9, 9), int)), 2)
        >>> choose_object_settings([(truth > 0) * 0.4], [truth])[1]
        1.0
    """
    sizes = np.concatenate([np.bincount(np.unique(t, return_inverse=True)[1].ravel())[_first(t) :] for t in instances])
    if not len(sizes):
        raise InputError("these images contain no object, so no object settings can be chosen on them")
    dims = instances[0].ndim
    radius = math.sqrt(sizes.max() / math.pi) if dims == 2 else (sizes.max() * 0.75 / math.pi) ** (1 / 3)
    best = replace(base or ObjectSettings(), reach=int(np.clip(math.ceil(1.5 * radius), *REACHES)))

    def score(settings: ObjectSettings) -> float:
        found = [objects_of(m, settings, dims)[0] for m in maps]
        return float(np.nan_to_num(instance_scores(instances, found)["ap_mean"]))

    top = score(best)
    for _ in range(2):
        for change in _changes(best, sizes):
            settings = replace(best, **change)
            if (value := score(settings)) > top:
                best, top = settings, value
    return best, top


def _first(labels: np.ndarray) -> int:
    """Index of the first object among the sorted numbers."""
    return int((labels == 0).any())


def _changes(settings: ObjectSettings, sizes: np.ndarray) -> Iterator[dict[str, Any]]:
    """The changes to try, of one setting each."""
    yield from ({"method": method} for method in get_args(Method) if method != "predicted" or settings.distance)
    yield from ({"neck": neck} for neck in (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.0))
    yield from ({"core": core, "foreground": min(settings.foreground, core)} for core in (0.3, 0.4, 0.5, 0.6, 0.7))
    if settings.border is not None or settings.grow:
        yield from ({"grow": grow} for grow in (0, 1, 2, 3, 4))
        yield from ({"foreground": foreground} for foreground in (0.3, 0.4, 0.5, 0.6))
    yield from ({"smoothing": passes} for passes in (0, 1, 2))
    smallest = int(sizes.min())
    yield from ({"minimum_size": max(1, size)} for size in (1, smallest // 2, smallest, int(np.median(sizes)) // 10))
    yield from ({"fill_holes": size} for size in (0, int(np.median(sizes)) // 8))
