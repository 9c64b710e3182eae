"""Converts image layers of napari to network inputs: planes or volumes, channels last."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data.inference.network import OpenNetwork
from unet_data.io.facts import PLAIN, FileFacts
from unet_data.io.images import as_image
from unet_spec import InputError

if TYPE_CHECKING:
    from jaxtyping import Shaped

CHANNEL = ("c", "channel", "channels")
"""Labels of a channel axis."""

KINDS = {2: "planes (height, width)", 3: "volumes (depth, height, width)"}


@dataclass(frozen=True)
class LayerImages:
    """The images in one layer, or in several layers with one channel each.

    Attributes:
        layers: layers of napari, or any objects with `data`, `name`, `rgb`, `multiscale` and the attributes of a
            layer's position.
        dims: 2 for planes, 3 for volumes.
        channel_axis: axis of the channels in the layer's data; None: none, except for RGB.

    Raises:
        InputError: the layers do not fit together, or have too few axes.

    Example:
        >>> from types import SimpleNamespace
        >>> layer = SimpleNamespace(data=np.zeros((5, 40, 30), np.uint8), name="stack", rgb=False, multiscale=False)
        >>> planes = LayerImages((layer,), dims=2)
        >>> len(planes), planes[0].shape, planes.shape
        (5, (40, 30, 1), (5, 40, 30))
    """

    layers: tuple[Any, ...]
    dims: int
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        first = self.layers[0]
        if any(layer.rgb for layer in self.layers) and len(self.layers) > 1:
            raise InputError("RGB layers cannot be channels of one image; choose grey layers, or one RGB layer alone")
        for layer in self.layers[1:]:
            if _array(layer).shape != _array(first).shape:
                raise InputError(
                    f"the layers {first.name} {_array(first).shape} and {layer.name} {_array(layer).shape} cannot "
                    "be channels of one image, since their shapes differ"
                )
        if len(self.shape) < self.dims:
            raise InputError(
                f"the network takes {KINDS[self.dims]}; the layer {first.name} has {len(self.shape)} "
                f"{'axis' if len(self.shape) == 1 else 'axes'} without its channels"
            )

    @property
    def name(self) -> str:
        """Name of the first layer."""
        return self.layers[0].name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer without channels: (*leading, *spatial)."""
        shape = _array(self.layers[0]).shape
        if self.layers[0].rgb:
            return tuple(shape[:-1])
        return tuple(n for axis, n in enumerate(shape) if axis != self.channel_axis)

    @property
    def leading(self) -> tuple[int, ...]:
        """The axes before those of an image, such as time."""
        return self.shape[: len(self.shape) - self.dims]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Size of an image in pixels per axis."""
        return self.shape[len(self.shape) - self.dims :]

    def __len__(self) -> int:
        return math.prod(self.leading)

    def place(self, index: int) -> tuple[int, ...]:
        """Position of an image along the leading axes."""
        return tuple(int(i) for i in np.unravel_index(index, self.leading)) if self.leading else ()

    def __getitem__(self, index: int) -> Shaped[np.ndarray, "*spatial c"]:
        """An image, uint8, uint16 or float32. Raises InputError: NaN, infinite values, or values too large."""
        at: list[Any] = list(self.place(index)) + [slice(None)] * self.dims
        if self.channel_axis is not None:
            at.insert(self.channel_axis, slice(None))
        parts = [np.asarray(_array(layer)[tuple(at)]) for layer in self.layers]
        if self.layers[0].rgb:
            pixels = parts[0][..., :3]
        elif self.channel_axis is not None:
            taken = sum(not isinstance(each, slice) for each in at[: self.channel_axis])
            pixels = np.moveaxis(parts[0], self.channel_axis - taken, -1)
        else:
            pixels = np.stack(parts, -1)
        return as_image(np.ascontiguousarray(pixels), f"the layer {self.name}")

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def placed(self) -> dict[str, Any]:
        """Attributes for a layer of results: pixel size, units, position and names of the axes."""
        layer, attributes = self.layers[0], {}
        for name in ("scale", "translate", "units", "axis_labels"):
            if (value := getattr(layer, name, None)) is not None:
                attributes[name] = tuple(v for axis, v in enumerate(value) if axis != self.channel_axis)
        if self.channel_axis is None:
            turned = {name: getattr(layer, name, None) for name in ("rotate", "shear", "affine")}
            attributes |= {name: value for name, value in turned.items() if value is not None}
        return attributes

    @property
    def facts(self) -> FileFacts:
        """The pixel size of an image, if the layer has one: its scale, in a unit other than "pixel"."""
        place = self.placed()
        units = {str(unit) for unit in place.get("units", ())[-self.dims :]}
        if "scale" not in place or len(units) != 1 or units == {"pixel"}:
            return PLAIN
        return FileFacts(spacing=tuple(map(float, place["scale"][-self.dims :])), unit=units.pop())


def images_for(layers: Sequence[Any], network: OpenNetwork) -> LayerImages:
    """The network inputs from the layers that the user chose.

    Args:
        layers: one layer, or one per channel. The channel axis of a single layer is the one with a channel label, or
            the only axis before or after the spatial ones whose length is the network's number of channels.
        network: the network, whose dimensions and channels determine the axes.

    Raises:
        InputError: no axis or more than one axis can be the channel axis, or there are too few axes.
    """
    config, first = network.config, layers[0]
    count, dims = config.in_channels, config.spatial_dims
    if len(layers) > 1:
        if len(layers) != count:
            raise InputError(f"{len(layers)} image layers are selected; the network takes {count} channel(s)")
        return LayerImages(tuple(layers), dims)
    if count == 1 or first.rgb or network.reading.channels == "repeat":
        return LayerImages((first,), dims)
    return LayerImages((first,), dims, channel_axis(first, dims, count))


def channel_axis(layer: Any, dims: int, count: int) -> int:
    """The axis of a layer with `count` channels. Raises InputError if it is ambiguous or missing."""
    shape = _array(layer).shape
    labels = [str(label).lower() for label in getattr(layer, "axis_labels", None) or ()]
    fitting = [axis for axis, n in enumerate(shape) if n == count and len(shape) > dims]
    named = [axis for axis in fitting if axis < len(labels) and labels[axis] in CHANNEL]
    outer = [axis for axis in fitting if axis < len(shape) - dims or axis == len(shape) - 1]
    candidates = named or outer
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InputError(
            f"the layer {layer.name} {shape} has {len(candidates)} axes of {count}, the network's channels: label the "
            "right one 'channel' (layer.axis_labels)"
        )
    raise InputError(
        f"the network takes {count} channels; the layer {layer.name} {shape} has no axis of that length: select "
        f"{count} image layers in the layer list, in the order of the channels"
    )


def _array(layer: Any) -> Any:
    """The pixels of a layer; for a pyramid, its full resolution."""
    return layer.data[0] if layer.multiscale else layer.data
