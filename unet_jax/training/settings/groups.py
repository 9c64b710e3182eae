"""All settings of a training run, in groups."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unet_data import ReadSettings
from unet_spec import InputError
from unet_spec.network import require

from ..augmentation.augment import Augmentation
from .data import DataSettings
from .loss import OVERLAPPING_LOSSES, LossSettings
from .optimisation import OptimisationSettings
from .running import HardwareSettings, ValidationSettings


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run, in groups. Setting names are unique; `replace`, run.json and the flags use them.

    Attributes:
        data: Tiles and labels, and how they are read.
        optimisation: Steps, batches, optimizer and learning rate.
        loss: The loss and its pixel weights.
        validation: Validation images, scores and the log.
        hardware: Precision, memory and devices.
        augmentation: Random changes of the training images.
        reading: How image files are read if there is a choice.

    Example:
        >>> settings = TrainSettings(loss=LossSettings("dice")).replace(steps=300, tile=124)
        >>> settings.optimisation.steps, settings.data.tile, settings.loss.loss
        (300, 124, 'dice')
    """

    data: DataSettings = field(default_factory=DataSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    reading: ReadSettings = field(default_factory=ReadSettings)

    def __post_init__(self) -> None:
        if self.data.labels != "overlapping":
            return
        allowed = f"{' or '.join(OVERLAPPING_LOSSES)}, as classes overlap"
        require(self.loss.loss in OVERLAPPING_LOSSES, "loss", self.loss.loss, allowed)
        for name in ("smoothing", "border_weight", "balance"):
            if value := getattr(self.loss, name):
                without = type(value)()
                raise InputError(f"{name} is {value}, which overlapping classes do not support; set it to {without}")
        if self.validation.select not in ("auto", "iou", "dice", "loss"):
            raise InputError(f"select is {self.validation.select}; overlapping classes have only iou, dice and loss")

    def replace(self, **changes: Any) -> TrainSettings:
        """A copy with other settings, by name (`steps=300`), or with other groups (`data=DataSettings()`).

        Raises InputError on unknown names and wrong values.
        """
        groups = {}
        for each in dataclasses.fields(self):
            group = getattr(self, each.name)
            if isinstance(changes.get(each.name), type(group)):
                group = changes.pop(each.name)
            names = [own.name for own in dataclasses.fields(group) if own.name in changes]
            groups[each.name] = dataclasses.replace(group, **{name: changes.pop(name) for name in names})
        if changes:
            raise InputError(f"unknown settings: {', '.join(changes)}")
        return TrainSettings(**groups)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as in run.json; those of the augmentation are under "augmentation"."""
        groups = dataclasses.asdict(self)
        augmentation = groups.pop("augmentation")
        return {name: value for group in groups.values() for name, value in group.items()} | {
            "augmentation": augmentation
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> TrainSettings:
        """The inverse of `to_dict`; absent settings take their defaults.

        Args:
            values: settings by name.
            where: name of the file, for messages.

        Raises:
            InputError: unknown names or wrong values.
        """
        try:
            values = dict(values)
            augmentation = Augmentation(**values.pop("augmentation", {}))
            return cls().replace(**values, augmentation=augmentation)
        except (TypeError, InputError) as e:
            raise InputError(f"{where}: not the settings of a training run ({e})") from None
