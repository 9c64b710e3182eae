"""How a network is trained: one frozen dataclass, which becomes the command's flags and the run's run.json."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from unet_jax.augment import Augmentation
from unet_spec import InputError, UNetConfig


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        steps: optimizer steps.
        batch: tiles a step; the paper takes one large tile.
        tile: size in pixels of the input tile per axis; the nearest smaller size that fits is taken. 0: 252 pixels for
            images, 68 for volumes, or the least that fits.
        optimizer: "adamw", or "sgd" with momentum as in the paper.
        learning_rate: at its peak. 0: 1e-3 for either optimizer.
        schedule: "cosine" (from the peak to 0, after `warmup`) or "constant".
        warmup: share of the steps in which the learning rate rises from 0.
        momentum: of sgd.
        weight_decay: adamw: decoupled; sgd: added to the gradient. Not applied to biases and norms.
        clip: largest norm of the gradient; 0: no limit.
        smoothing: of the labels, see `losses.cross_entropy`.
        validate_every: steps between two measurements on the validation data.
        log_every: steps between two lines of the log.
        seed: of weights, tiles, augmentation and dropout. The same seed repeats the run.
        augmentation: how tiles are varied.
    """

    steps: int = 2000
    batch: int = 1
    tile: int = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.02
    momentum: float = 0.99
    weight_decay: float = 1e-4
    clip: float = 1.0
    smoothing: float = 0.0
    validate_every: int = 250
    log_every: int = 10
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("tile", "learning_rate", "weight_decay", "clip", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name in ("warmup", "momentum", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in [0, 1)")

    def tile_shape(self, config: UNetConfig) -> tuple[int, ...]:
        """Input tile per axis, on the network's grid. Raises InputError where `tile` is below the least that fits."""
        wanted = self.tile or (252 if config.spatial_dims == 2 else 68)
        sizes = []
        for grid in config.geometry.grids:
            size = grid.below(wanted)
            if size is None and self.tile:
                raise InputError(f"tile is {self.tile}; the least that fits this network is {grid.minimum}")
            sizes.append(size or grid.minimum)
        return tuple(sizes)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> TrainSettings:
        """The inverse of `to_dict`. Raises InputError on unknown keys and wrong values."""
        try:
            values = dict(values)
            augmentation = Augmentation(**values.pop("augmentation", {}))
            return cls(**values, augmentation=augmentation)
        except TypeError as e:
            raise InputError(f"{where}: not the settings of a training run ({e})") from None
