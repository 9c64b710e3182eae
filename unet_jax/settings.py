"""How a network is trained: one frozen dataclass, which becomes the command's flags and the run's run.json."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from unet_data.labels import LabelKind
from unet_jax.augment import Augmentation
from unet_spec import InputError, NetworkConfig

LossName = Literal["cross_entropy", "dice", "cross_entropy+dice", "focal", "tversky"]
Measure = Literal["auto", "iou", "dice", "pixel_accuracy", "v_rand", "v_info"]


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
        warmup: share of the steps in which cosine's learning rate rises from 0; a constant one does not.
        momentum: of sgd.
        weight_decay: adamw: decoupled; sgd: added to the gradient. Not applied to biases and norms.
        clip: largest norm of the gradient; 0: no limit.
        loss: cross_entropy, dice, cross_entropy+dice (their sum), focal or tversky; see `unet_jax.losses`.
        focal_gamma: γ of the focal loss; 0 is the cross entropy.
        tversky_alpha, tversky_beta: weights of false positives and of false negatives in the Tversky loss; Dice has 0.5
            and 0.5.
        smoothing: of the labels, in the cross entropy. No other loss has it.
        border_weight: w0 of the paper's border weights, 10 there (see `unet_data.border_weights`); 0: none. Weights are
            of the cross entropy and the focal loss; Dice and Tversky count every pixel alike.
        border_sigma: their σ in pixels.
        balance: whether pixels weigh inversely to the share of their class; of the same losses.
        ignore: a label number, as the mask files hold it (255, in many), whose pixels count in no loss and no score.
        labels: what unet train takes the label numbers for: those of classes ("semantic") or of objects ("instance");
            "auto": what `unet_data.labels` decides by the numbers that are found.
        ema: decay of an exponential moving average of the weights and of the norms' statistics, which is then what is
            measured and written; 0: none.
        accumulate: parts of a batch that go through the network one after the other; loss and gradient are their means,
            and each part's loss is that of a batch of its own.
        precision: of the network's arithmetic; weights, statistics, norms' sums, loss and optimizer stay float32.
        remat: whether activations are computed again in the backward pass rather than kept.
        fsdp: whether weights and optimizer are spread over the devices rather than copied to each.
        space: devices that share each image, in rows and columns; the others share the batch.
        select: the measure on the validation data, the larger the better, by which best/ is chosen. "auto": v_rand for
            membranes and cells, as ISBI 2012 ranks (stacks *-volume.tif with binary *-labels.tif), else iou. v_rand
            and v_info take about a second more an image.
        loader: "memory", or "grain" for data that do not fit: images stay in their files, and windows of them are read
            by `workers`. The batches are the same.
        workers: processes of the grain loader; 0: threads of the training itself.
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
    loss: LossName = "cross_entropy"
    focal_gamma: float = 2.0
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    smoothing: float = 0.0
    border_weight: float = 0.0
    border_sigma: float = 5.0
    balance: bool = False
    ignore: int | None = None
    labels: LabelKind = "auto"
    ema: float = 0.0
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    fsdp: bool = False
    space: int = 1
    select: Measure = "auto"
    loader: Literal["memory", "grain"] = "memory"
    workers: int = 2
    validate_every: int = 250
    log_every: int = 10
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "log_every", "accumulate", "space"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        not_negative = ("tile", "learning_rate", "weight_decay", "clip", "seed", "border_weight", "workers")
        for name in (*not_negative, "focal_gamma", "tversky_alpha", "tversky_beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be a number, and not negative")
        if self.seed >= 2**63:  # JAX takes 64 bits with a sign
            raise InputError(f"seed is {self.seed}; it must be below 2**63")
        if self.ignore is not None and self.ignore < 0:
            raise InputError(f"ignore is {self.ignore}; it must not be negative")
        for name in ("warmup", "momentum", "smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in [0, 1)")
        if not 0 < self.border_sigma < math.inf:
            raise InputError(f"border_sigma is {self.border_sigma}; it must be above 0")
        for name, allowed in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "constant")),
            ("loss", get_args(LossName)),
            ("precision", ("float32", "bfloat16")),
            ("select", get_args(Measure)),
            ("loader", ("memory", "grain")),
            ("labels", get_args(LabelKind)),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(allowed)}")
        for name in ("smoothing", "border_weight", "balance"):
            without = ("dice", "tversky", "focal") if name == "smoothing" else ("dice", "tversky")
            if getattr(self, name) and self.loss in without:
                raise InputError(
                    f"{name} is {getattr(self, name)}, which the loss {self.loss} does not have; set it to "
                    f"{type(getattr(self, name))()}, or take cross_entropy or cross_entropy+dice"
                )
        if self.batch % self.accumulate:
            raise InputError(f"batch is {self.batch}; it must be a multiple of accumulate, {self.accumulate}")

    @property
    def weighted(self) -> bool:
        """Whether pixels have weights of their own."""
        return bool(self.border_weight or self.balance)

    def tile_shape(self, config: NetworkConfig) -> tuple[int, ...]:
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
