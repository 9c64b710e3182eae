"""Settings of the data: tiles and labels, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_data.datasets.label_rule import LabelKind
from unet_data.labels.masks import parse_regions
from unet_data.labels.numbers import parse_numbers
from unet_spec import InputError, NetworkConfig
from unet_spec.network import require
from unet_spec.weights.data_spec import NormalizationName

from .checks import not_negative, optional, require_choices, require_each, zero_is_none


@dataclass(frozen=True)
class DataSettings:
    """Tiles and labels, and how they are read.

    Attributes:
        tile: Size of the input tile in pixels per axis, rounded down to a size that fits the network. None (or 0):
            252 for images, 68 for volumes, or the minimum of the network where that is larger.
        ignore: Label, as a number in the mask files (often 255), of pixels that count in no loss and no score.
        labels: Meaning of the numbers in the mask files: "semantic", classes; "instance", objects; "overlapping", one
            mask for each of several classes, of which a pixel may have several; "auto" decides by the numbers.
        objects: Also learn the border between touching objects, as a third class, and choose on the validation images
            how objects are made. For labels that number objects.
        normalization: How images are normalised, in training and by every program that runs the network. "dataset": by
            mean and standard deviation of the training images; "image": each by its own; "percentile": each by its own
            1st and 99th percentiles; "ct": clipped to the 0.5th and 99.5th percentiles of all classes but the first,
            then by their mean and standard deviation; "none": not at all.
        class_numbers: Numbers of the classes in the mask files, the background first, where they are not 0, 1, …: such
            as 1-3 or 255,0; of objects, the number of the background; of classes that overlap, the numbers of each:
            "whole=1-3;core=2,3".
        oversample: Share of the tiles whose output is drawn to have a pixel of a class that is not the commonest: a
            class, an image that has it and one of its pixels, at random. For classes that are rare.
        loader: "memory", or "grain" for data larger than memory: images stay in their files, and background processes
            read windows of them. Both give the same batches.
        workers: Processes of the grain loader; 0 reads in threads of the training process.

    Example:
        >>> from unet_spec import preset
        >>> DataSettings(tile=100).tile_shape(preset("paper", widths=(2, 4, 8)))
        (100, 100)
    """

    tile: int | None = None
    ignore: int | None = None
    labels: LabelKind = "auto"
    objects: bool = False
    normalization: NormalizationName = "dataset"
    class_numbers: str = ""
    oversample: float = 0.0
    loader: Literal["memory", "grain"] = "memory"
    workers: int = 2

    def __post_init__(self) -> None:
        zero_is_none(self, "tile")
        require_choices(self)
        require_each(self, "tile ignore", optional(not_negative), "a number, and not negative")
        require_each(self, "oversample", lambda v: 0 <= v <= 1, "in 0 … 1")
        require_each(self, "workers", not_negative, "a number, and not negative")
        (parse_regions if self.labels == "overlapping" else parse_numbers)(self.class_numbers)
        require(not self.objects or self.labels != "overlapping", "objects", True, "left out with labels overlapping")

    def tile_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        """Input tile (pixels per axis) of a network. Raises InputError where `tile` is below the network's minimum."""
        size = self.tile or (252 if config.spatial_dims == 2 else 68)
        sizes = []
        for grid in config.geometry.grids:
            fitting = grid.below(size)
            if fitting is None and self.tile:
                raise InputError(f"tile is {self.tile}; the minimum of this network is {grid.minimum}")
            sizes.append(fitting or grid.minimum)
        return tuple(sizes)
