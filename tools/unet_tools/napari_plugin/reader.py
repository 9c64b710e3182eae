"""Opens a bundle: its golden image, and the classes of the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unet_data.inference.output import Output
from unet_spec import InputError

from .results import LayerData, classes_layer, masks_layers

NETWORK = "unet_network"
"""Key in a layer's metadata: the folder of its network."""


def bundle_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """napari's reader hook. Accepts a bundle's folder or its manifest.json.

    Args:
        path: one path; lists of paths are not accepted.

    Returns:
        `read_bundle`, or None.
    """
    if not isinstance(path, str):
        return None
    from unet_export import is_bundle

    return read_bundle if is_bundle(_folder(path)) else None


def read_bundle(path: str) -> list[LayerData]:
    """Reads the golden image of a bundle and the classes of the float64 reference as layers, from which the widget
    "Segment" finds the bundle.

    Args:
        path: the folder, or its manifest.json.

    Raises:
        InputError: the bundle is damaged.
    """
    from unet_export import open_bundle
    from unet_export.bundle.golden import Golden

    bundle = open_bundle(_folder(path))
    config, data, golden = bundle.config, bundle.data, Golden.load(bundle)
    image, name = golden.image, bundle.folder.resolve().name
    rgb = image.shape[-1] == 3 and config.spatial_dims == 2 and image.dtype == np.uint8
    metadata = {NETWORK: str(bundle.folder.resolve())}
    if rgb or image.shape[-1] == 1:
        layers: list[LayerData] = [(image if rgb else image[..., 0], {"rgb": rgb, "name": name}, "image")]
    else:
        layers = [(image[..., c], {"name": f"{name} channel {c}"}, "image") for c in range(image.shape[-1])]
    inside = tuple(slice(0, n) for n in image.shape[:-1])
    output = Output("labels", overlapping=data.overlapping, distance=config.distance_head)
    classes = output.of(golden.logits[0][inside])
    if classes.shape[: len(inside)] != image.shape[:-1]:
        raise InputError(f"{bundle.folder}: its golden image and its output do not have one size")
    build = masks_layers if data.overlapping else lambda *given: [classes_layer(*given)]
    layers += build(classes, data.names(config), f"{name} reference", {})
    for _, arguments, _ in layers:
        arguments["metadata"] = {**arguments.get("metadata", {}), **metadata}
    return layers


def _folder(path: str) -> Path:
    given = Path(path)
    return given.parent if given.name == "manifest.json" else given
