"""Settings of the loss and its pixel weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unet_spec import InputError

from .checks import below_one, not_negative, require_choices, require_each

LossName = Literal["cross_entropy", "dice", "cross_entropy+dice", "focal", "tversky"]

OVERLAPPING_LOSSES = ("cross_entropy", "dice", "cross_entropy+dice")
"""Losses that support overlapping classes."""


@dataclass(frozen=True)
class LossSettings:
    """The loss and its pixel weights.

    Attributes:
        loss: Training loss; cross_entropy+dice is the sum of both.
        focal_gamma: Exponent γ of the focal loss; 0 gives the cross entropy.
        tversky_alpha: Weight α of false positives in the Tversky loss. α = β = 0.5 gives the Dice loss.
        tversky_beta: Weight β of false negatives in the Tversky loss.
        smoothing: Label smoothing of the cross entropy. Other losses do not support it.
        border_weight: Extra weight w0 of background pixels between two close objects; 10 in the paper, 0 for none. For
            the cross entropy and the focal loss.
        border_sigma: Width σ of the border weight in pixels: how fast it decreases with the distance from the objects.
        distance_weight: For a network with a distance head: weight of the squared error of the distance, relative to
            the loss of the classes.
        balance: Weight each class inversely to its share of the pixels. For the cross entropy and the focal loss.

    Example:
        >>> LossSettings(border_weight=10.0).weighted, LossSettings("dice").weighted
        (True, False)
    """

    loss: LossName = "cross_entropy"
    focal_gamma: float = 2.0
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    smoothing: float = 0.0
    border_weight: float = 0.0
    border_sigma: float = 5.0
    distance_weight: float = 1.0
    balance: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        names = "focal_gamma tversky_alpha tversky_beta border_weight distance_weight"
        require_each(self, names, not_negative, "a number, and not negative")
        require_each(self, "smoothing", below_one, "in [0, 1)")
        require_each(self, "border_sigma", lambda v: 0 < v < math.inf, "above 0")
        for name in ("smoothing", "border_weight", "balance"):
            without = ("dice", "tversky", "focal") if name == "smoothing" else ("dice", "tversky")
            if getattr(self, name) and self.loss in without:
                raise InputError(
                    f"{name} is {getattr(self, name)}, which the loss {self.loss} does not support; set it to "
                    f"{type(getattr(self, name))()}, or use cross_entropy or cross_entropy+dice"
                )

    @property
    def weighted(self) -> bool:
        """Whether each pixel has its own weight."""
        return bool(self.border_weight or self.balance)
