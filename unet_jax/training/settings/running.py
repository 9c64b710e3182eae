"""Settings of a run beside what it learns: validation, log, precision, memory and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_data.datasets.splitting import check_validate

from .checks import optional, require_choices, require_each, zero_is_none

Measure = Literal["auto", "iou", "dice", "pixel_accuracy", "v_rand", "v_info"]


@dataclass(frozen=True)
class ValidationSettings:
    """Which images validate, measuring on them, and the log.

    Attributes:
        validate: Images that validate and are never trained on: a share such as 0.2 (the last images), i/n for the i-th
            of n folds, a text file with a name in each line, or another folder. "last": the last sixth. "auto": the
            last sixth; where that lacks a class or divides a group, images or groups spread over the classes.
        group: Regular expression for the part of an image's name that says what it belongs to, such as "patient\\d+".
            Images of one group validate or train together. None: what precedes the last number of a name, where it has
            two or more.
        select: Measure on the validation data, the larger the better, that chooses best/. "auto": v_rand for membranes
            and cells, as ISBI 2012 ranks (stacks *-volume.tif with binary *-labels.tif), else iou. v_rand and v_info
            take about a second more for each image.
        validate_every: Steps between two measurements on the validation data. None (or 0): 250, or a tenth of the steps
            where that is less, so that a run has at least ten.
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
        """Steps between two measurements of a run of so many steps."""
        return self.validate_every or max(1, min(250, steps // 10))


@dataclass(frozen=True)
class HardwareSettings:
    """Precision, memory and devices.

    Attributes:
        precision: Arithmetic of the network; weights, statistics, sums of norms, loss and optimizer stay float32.
        remat: Compute activations again in the backward pass, to save memory.
        fsdp: Spread weights and optimizer over the devices instead of copying them to each.
        space: Devices that share each image, in rows and columns; the others share the batch.

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
