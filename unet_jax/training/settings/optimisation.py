"""Settings of the optimisation: steps, batches, optimizer and learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_spec.network import require

from .checks import below_one, not_negative, optional, require_choices, require_each, zero_is_none


@dataclass(frozen=True)
class OptimisationSettings:
    """Steps, batches, optimizer and learning rate.

    Attributes:
        steps: Number of optimizer steps.
        batch: Tiles per step. The paper uses one large tile.
        accumulate: Number of parts that each batch is split into, to save memory. Losses and gradients of the parts
            are averaged; batch norm sees one part at a time.
        optimizer: "adamw", or "sgd" with momentum as in the paper.
        learning_rate: Peak learning rate. None (or 0): 1e-3.
        schedule: Learning-rate schedule. "cosine" warms up to the peak, then decays to 0 along half a cosine;
            "constant" stays at the peak.
        warmup: Share of the steps for the warm-up of the cosine schedule, in which the learning rate rises from 0.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of kernels; biases and norms have none. Decoupled in AdamW, added to the gradient in
            SGD.
        clip: Maximum norm of the gradient; larger gradients are scaled down. None (or 0): no limit.
        ema: Decay of an exponential moving average of weights and norm statistics. Validation and checkpoints then
            use the average. None (or 0): no average.
        seed: Random seed of weights, tiles, augmentation and dropout. The same seed repeats the run.
        weights: Weights to start from: a checkpoint folder, or the name of an installed network such as nuclei. Layers
            that do not fit, such as a head for other classes, are initialised at random and reported. None: all
            layers are initialised at random.
        freeze: Parts of the network that are not trained, such as encoder. Their batch norms keep their statistics.

    Example:
        >>> OptimisationSettings(steps=300, batch=4, clip=None).schedule
        'cosine'
        >>> OptimisationSettings(batch=4, accumulate=3)
        Traceback (most recent call last):
        unet_spec.errors.InputError: batch is 4; it must be a multiple of accumulate, 3
    """

    steps: int = 2000
    batch: int = 1
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.02
    momentum: float = 0.99
    weight_decay: float = 1e-4
    clip: float | None = 1.0
    ema: float | None = None
    seed: int = 0
    weights: str | None = None
    freeze: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "freeze", tuple(self.freeze))  # run.json has a list
        zero_is_none(self, "learning_rate clip ema")
        require_choices(self)
        require_each(self, "steps batch accumulate", lambda v: v >= 1, "at least 1")
        require_each(self, "learning_rate clip", optional(not_negative), "a number, and not negative")
        require_each(self, "weight_decay seed", not_negative, "a number, and not negative")
        require_each(self, "seed", lambda v: v < 2**63, "below 2**63")  # JAX takes 64 bits with a sign
        require_each(self, "warmup momentum", below_one, "in [0, 1)")
        require_each(self, "ema", optional(below_one), "in [0, 1)")
        require(self.batch % self.accumulate == 0, "batch", self.batch, f"a multiple of accumulate, {self.accumulate}")
