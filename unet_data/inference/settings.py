"""Settings of a prediction: the kind of result, limits and options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unet_spec import InputError
from unet_spec.tiling.tiles import per_axis

from ..io.facts import ReadSettings
from ..objects.settings import ObjectSettings
from .output import Output, OutputKind, OutputType
from .store import shard
from .views import Symmetry


@dataclass(frozen=True)
class PredictSettings:
    """Settings of `predict_file`. The defaults are those of `unet predict`.

    Attributes:
        output: "labels" (class numbers), "probabilities", "logits" or "objects" (numbers of objects), see `Output`.
        dtype: dtype of probabilities (uint8: 0 to 255, and always in a PNG) and logits.
        memory: memory limit of the process in bytes, within which the tile size with the least work is chosen. None:
            2 GiB for tiles, or half of the available memory if that is less; no limit with `tile`; the available
            memory for a network that cannot be tiled exactly.
        tile: size of the tiles in pixels, one number for all axes or one per axis, instead of a choice by memory.
        halo: output pixels discarded at inner tile edges. None: as many as an exact result needs; fewer give an
            approximation.
        strips: process the image row by row (in PyTorch or JAX); no pixel is computed twice.
        augment: test-time augmentation, see `unet_data.inference.views`.
        blend: average overlapping tiles, see `predict_blended`.
        shard: (i, n) computes only the i-th of n parts of the tiles; a run without shard then writes the result.
        samples, seed: number of segmentations to sample per image from networks with a latent variable, and the random
            seed. With 0 samples, one segmentation is computed from the mean. Samples are the pages of the result.
        overwrite: replace an existing target.
        objects: settings of the object separation. None: those stored with the network, else the defaults for its
            classes.
        table: also write measurements of the objects, to a .csv or .parquet.
        outlines: also write the objects' outlines, to a .geojson (QuPath), .zip (ImageJ ROIs) or .json (COCO).
        reading: how the image is read if there is a choice. None: as in training, if that is stored with the network.

    Raises:
        InputError: settings cannot be combined, or are out of range.

    Example:
        >>> from unet_data import PredictSettings
        >>> PredictSettings("probabilities", dtype="uint8", memory=2**31).shard is None
        True
    """

    output: OutputKind = "labels"
    dtype: OutputType = "float32"
    memory: int | None = None
    tile: int | tuple[int, ...] | None = None
    halo: int | None = None
    strips: bool = False
    augment: Symmetry | Literal["rotations"] | None = None
    blend: bool = False
    shard: tuple[int, int] | None = None
    samples: int = 0
    seed: int = 0
    overwrite: bool = False
    objects: ObjectSettings | None = None
    table: Path | None = None
    outlines: Path | None = None
    reading: ReadSettings | None = None

    def __post_init__(self) -> None:
        Output(self.output, self.dtype)  # raises if the dtype does not suit the output
        if self.samples < 0 or self.seed < 0:
            raise InputError(f"--samples is {self.samples} and --seed {self.seed}; neither may be negative")
        if self.shard is not None:
            shard(0, *self.shard)  # raises if there is no such part
        if self.strips and (self.augment or self.blend or self.tile is not None or self.halo is not None):
            raise InputError("--strips needs no tiles: leave out --tile, --halo, --blend and --augment")
        if self.samples and (self.strips or self.whole or self.augment or self.shard):
            raise InputError(
                "--samples cannot be combined with --strips, --blend, --augment or --shard: leave them out"
            )
        if self.output != "objects" and (self.objects or self.table or self.outlines):
            raise InputError("--table, --outlines and --object-settings need --output objects")
        if self.shard and self.whole:
            raise InputError("--blend and rotations need the whole image: leave out --shard")

    def written_to(self, target: Path) -> Output:
        """The output for a file of this name; for objects, the probabilities from which they are separated."""
        if self.output == "objects":
            return Output("objects", "uint8")
        png = target.suffix.lower() == ".png" and self.output == "probabilities"
        return Output(self.output, "uint8" if png else self.dtype)

    def tile_shape(self, dims: int) -> tuple[int, ...] | None:
        """`tile` for each of `dims` axes. Raises InputError if it is for another number of axes."""
        return None if self.tile is None else per_axis(self.tile, dims, "--tile")

    @property
    def whole(self) -> bool:
        """Whether the whole image must be in memory."""
        return self.blend or self.augment == "rotations"
