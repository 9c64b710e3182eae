"""Settings of a run: validation, log, precision, memory and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_data.datasets.splitting import check_validate

from .checks import optional, require_choices, require_each, zero_is_none

Measure = Literal["auto", "iou", "dice", "pixel_accuracy", "v_rand", "v_info", "ap_mean", "loss"]


@dataclass(frozen=True)
class ValidationSettings:
    """Validation images, scores and the log.

    Attributes:
        validate: Images held out for validation: a share such as 0.2 (the last images), i/n for fold i of n, a text
            file with one name per line, or another folder. "last": the last sixth. "auto": the last sixth; if that
            lacks a class or splits a group, images or groups that cover the classes.
        group: Regular expression for the part of a name that images of one group share, such as "patient\\d+". A group
            is never split between training and validation. None: the name up to its last number, if it contains two
            numbers or more.
        select: Validation score by which best/ is chosen. "auto": ap_mean for networks that learn a border class or
            distances (--objects, --distance-head), v_rand for membranes and cells, as in ISBI 2012 (stacks
            *-volume.tif with binary *-labels.tif), otherwise iou. ap_mean is the mean AP of objects over IoU 0.5 to
            0.95; it needs labels that number objects. loss is the validation loss. v_rand and v_info take about a
            second more per image.
        validate_every: Steps between two validations. None (or 0): 250, or a tenth of all steps if that is less.
        log_every: Steps between two lines of the log.

    Example:
        >>> from unet_jax import TrainSettings, ValidationSettings
        >>> settings = TrainSettings(validation=ValidationSettings(select="dice"))
        >>> settings.validation.steps_between(600), settings.validation.steps_between(9000)
        (60, 250)
    """

    validate: str = "auto"
    group: str | None = None
    select: Measure = "auto"
    validate_every: int | None = None
    log_every: int = 10

    def __post_init__(self) -> None:
        zero_is_none(self, "validate_every")
        require_choices(self)
        require_each(self, "validate_every", optional(lambda v: v >= 1), "at least 1")
        require_each(self, "log_every", lambda v: v >= 1, "at least 1")
        check_validate(self.validate, self.group)

    def steps_between(self, steps: int) -> int:
        """Steps between two validations in a run of `steps` steps."""
        return self.validate_every or max(1, min(250, steps // 10))


@dataclass(frozen=True)
class HardwareSettings:
    """Precision, memory and devices.

    Attributes:
        precision: Number type of the network's arithmetic. Weights, statistics, sums of norms, loss and optimizer stay
            float32.
        remat: Recompute activations in the backward pass, to save memory.
        fsdp: Shard weights and optimizer state over the devices, instead of copying them to each.
        space: Number of devices that each image is divided over, in rows and columns. The batch is divided over the
            other devices.

    Example:
        >>> from unet_jax import HardwareSettings, TrainSettings
        >>> settings = TrainSettings(hardware=HardwareSettings(precision="bfloat16", remat=True))
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    fsdp: bool = False
    space: int = 1

    def __post_init__(self) -> None:
        require_choices(self)
        require_each(self, "space", lambda v: v >= 1, "at least 1")
