"""What to compute of a file, and how far that may go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unet_spec import InputError

from ..io.facts import ReadSettings
from ..objects.settings import ObjectSettings
from .output import Output, OutputKind, OutputType
from .store import shard
from .views import Symmetry


@dataclass(frozen=True)
class PredictSettings:
    """What `predict_file` computes of an image. The defaults are those of `unet predict`.

    Attributes:
        output: "labels" (class numbers), "probabilities", "logits" or "objects" (numbers of objects), see `Output`.
        dtype: of probabilities (uint8: 0 to 255, and always in a PNG) and logits.
        memory: bytes that the process may have in memory in total; the tiles that cost the least work in it are
            planned. None: 2 GiB for tiles, half of what is available if that is less; no limit for a `tile` and for a
            network that cannot be tiled exactly.
        tile: pixels per axis of a tile, instead of a plan by memory.
        halo: outputs to drop at inner edges of tiles. None: as many as exactness takes; fewer are an approximation.
        strips: compute strip by strip (in PyTorch or JAX); nothing is computed twice.
        augment: test-time augmentation, see `unet_data.inference.views`.
        blend: average overlapping tiles, see `predict_blended`.
        shard: (i, n) computes the i-th of n parts of the tiles and leaves the result to a run without shard.
        samples, seed: hypotheses to draw of each image, in networks with a latent variable; 0: that of the mean. They
            are the pages of the result.
        overwrite: replace a target that exists.
        objects: how objects are made. None: as is stored with the network, else the defaults for its classes.
        table: also write measurements of the objects, to a .csv or .parquet.
        outlines: also write the objects' outlines, to a .geojson (QuPath), .zip (ImageJ ROIs) or .json (COCO).
        reading: how the image is read where its file leaves a choice. None: as in training, where that is stored with
            the network.

    Raises:
        InputError: settings that exclude each other, or are out of range.

    Example:
        >>> from unet_data import PredictSettings
        >>> PredictSettings("probabilities", dtype="uint8", memory=2**31).shard is None
        True
    """

    output: OutputKind = "labels"
    dtype: OutputType = "float32"
    memory: int | None = None
    tile: int | None = None
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
        Output(self.output, self.dtype)  # raises where a dtype cannot hold it
        if self.samples < 0 or self.seed < 0:
            raise InputError(f"--samples is {self.samples} and --seed {self.seed}; neither may be negative")
        if self.shard is not None:
            shard(0, *self.shard)  # raises where it does not exist
        if self.strips and (self.augment or self.blend or self.tile is not None or self.halo is not None):
            raise InputError("--strips needs no tiles: leave out --tile, --halo, --blend and --augment")
        if self.samples and (self.strips or self.whole or self.augment or self.shard):
            raise InputError("--samples draws whole segmentations: leave out --strips, --blend, --augment and --shard")
        if self.output != "objects" and (self.objects or self.table or self.outlines):
            raise InputError("--table, --outlines and --object-settings are of objects: add --output objects")
        if self.shard and self.whole:
            raise InputError("--blend and rotations need the image in one piece: leave out --shard")

    def written_to(self, target: Path) -> Output:
        """What is written to a file of this name; of objects, the probabilities that they are made of."""
        if self.output == "objects":
            return Output("objects", "uint8")
        png = target.suffix.lower() == ".png" and self.output == "probabilities"
        return Output(self.output, "uint8" if png else self.dtype)

    @property
    def whole(self) -> bool:
        """Whether an image is in memory as a whole."""
        return self.blend or self.augment == "rotations"
