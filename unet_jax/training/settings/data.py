"""Settings of the data: tiles and labels, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_data.datasets.label_rule import LabelKind
from unet_data.labels.masks import parse_regions
from unet_data.labels.numbers import parse_numbers
from unet_data.spacing.target import parse_spacing
from unet_spec import InputError, NetworkConfig
from unet_spec.network import require
from unet_spec.weights.data_spec import NormalizationName

from .checks import not_negative, optional, require_choices, require_each, zero_is_none


@dataclass(frozen=True)
class DataSettings:
    """Tiles and labels, and how they are read.

    Attributes:
        tile: Size of the input tile in pixels, one number for all axes or one per axis, rounded down to a size that
            fits the network. None (or 0): 252 for images, 68 for volumes, or the network's minimum if that is larger.
        ignore: Number in the mask files, often 255, of pixels that no loss and no score counts.
        labels: Meaning of the numbers in the mask files: classes ("semantic"), objects ("instance"), or one mask per
            class ("overlapping"), where a pixel may have several classes. "auto": decided from the masks.
        objects: Also learn the border between touching objects, as a third class, and tune the separation of objects
            on the validation images. The labels must number the objects.
        normalization: How images are normalised, in training and in every program that runs the network. "dataset": by
            mean and standard deviation of the training images. "image": each image by its own mean and standard
            deviation. "percentile": each image by its own 1st and 99th percentiles. "ct": clipped to the 0.5th and
            99.5th percentiles of the foreground pixels (all classes but the first), then normalised by the mean and
            standard deviation of these pixels. "none": not normalised.
        class_numbers: Numbers of the classes in the mask files, background first, such as 1-3 or 255,0, if they are
            not 0, 1, … For labels that number objects: the number of the background. For overlapping classes: the
            numbers of each class, such as "whole=1-3;core=2,3".
        oversample: Share of the tiles that contain a rarer class, between 0 and 1. For each such tile, a class other
            than the most frequent one is drawn, then an image with that class, then one of its pixels.
        loader: "memory" holds all images in memory. "grain" is for data larger than memory: background processes read
            windows of the image files. Both give the same batches.
        workers: Number of processes of the grain loader. 0 reads in threads of the training process.
        spacing: Pixel size to which images are resampled, in training and in every program that runs the network and
            reads files: numbers along z, y, x in the unit of the files, such as "5,1,1". "auto": the median pixel size,
            if all files state theirs and these differ by more than 1 percent; else not resampled. "none": not
            resampled. In Python, `unet_data.resample_dataset` resamples the images before training.

    Example:
        >>> from unet_spec import preset
        >>> DataSettings(tile=100).tile_shape(preset("paper", widths=(2, 4, 8)))
        (100, 100)
        >>> DataSettings(tile=(100, 140)).tile_shape(preset("paper", widths=(2, 4, 8)))
        (100, 140)
    """

    tile: int | tuple[int, ...] | None = None
    ignore: int | None = None
    labels: LabelKind = "auto"
    objects: bool = False
    normalization: NormalizationName = "dataset"
    class_numbers: str = ""
    oversample: float = 0.0
    loader: Literal["memory", "grain"] = "memory"
    workers: int = 2
    spacing: str = "none"

    def __post_init__(self) -> None:
        if isinstance(self.tile, list | tuple):  # JSON has lists
            object.__setattr__(self, "tile", self.tile[0] if len(self.tile) == 1 else tuple(self.tile))
        zero_is_none(self, "tile")
        require_choices(self)
        require_each(self, "ignore", optional(not_negative), "a number, and not negative")
        sizes = self.tile if isinstance(self.tile, tuple) else (self.tile or 1,)
        require(bool(sizes) and min(sizes) > 0, "tile", self.tile, "one number or one per axis, each above 0")
        require_each(self, "oversample", lambda v: 0 <= v <= 1, "in 0 … 1")
        require_each(self, "workers", not_negative, "a number, and not negative")
        parse_spacing(self.spacing)
        (parse_regions if self.labels == "overlapping" else parse_numbers)(self.class_numbers)
        require(not self.objects or self.labels != "overlapping", "objects", True, "left out with labels overlapping")

    def tile_shape(self, config: NetworkConfig) -> tuple[int, ...]:
        """Input tile (pixels per axis) of a network. Raises InputError if `tile` is below the network's minimum, or has
        another number of axes."""
        dims = config.spatial_dims
        asked = self.tile if isinstance(self.tile, tuple) else (self.tile or (252 if dims == 2 else 68),) * dims
        if len(asked) != dims:
            raise InputError(f"tile is {asked}; this network has {dims} axes: give one number, or one per axis")
        sizes = []
        for grid, size in zip(config.geometry.grids, asked, strict=True):
            fitting = grid.below(size)
            if fitting is None and self.tile:
                raise InputError(f"tile is {self.tile}; the minimum of this network is {grid.minimum}")
            sizes.append(fitting or grid.minimum)
        return tuple(sizes)
