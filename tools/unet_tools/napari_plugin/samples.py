"""Sample data: synthetic images with labels."""

from __future__ import annotations

import numpy as np

from unet_data import Dataset, cells, membranes

from .results import LayerData, classes_layer


def sample_membranes() -> list[LayerData]:
    """Cell membranes as in electron micrographs of nerve tissue: an image of 384 x 384, with its classes."""
    return _layers(membranes(1, 384, seed=0), "membranes")


def sample_cells() -> list[LayerData]:
    """Cells in phase contrast: an image of 384 x 384, with the number of each cell."""
    data = cells(1, 384, 0, "phase-contrast")
    assert data.instances is not None
    numbers = data.instances[0].astype(np.uint32)
    return [*_layers(data, "cells")[:1], (numbers, {"name": "cells truth"}, "labels")]


def sample_volume() -> list[LayerData]:
    """Cell membranes in a volume of 48 x 96 x 96. The distance between planes is 4 times the pixel size."""
    layers = _layers(membranes(1, (48, 96, 96), seed=0, spatial_dims=3), "volume")
    for _, arguments, _ in layers:
        arguments["scale"] = (4.0, 1.0, 1.0)
    return layers


def _layers(data: Dataset, name: str) -> list[LayerData]:
    assert data.labels is not None
    truth = classes_layer(data.labels[0].astype(np.uint8), data.class_names, f"{name} truth", {})
    return [(data.images[0][..., 0], {"name": name}, "image"), truth]
