"""Settings of a training run: frozen dataclasses, from which the command's flags and run.json are derived."""

from .data import DataSettings as DataSettings
from .groups import TrainSettings as TrainSettings
from .loss import OVERLAPPING_LOSSES as OVERLAPPING_LOSSES
from .loss import LossName as LossName
from .loss import LossSettings as LossSettings
from .optimisation import OptimisationSettings as OptimisationSettings
from .running import HardwareSettings as HardwareSettings
from .running import Measure as Measure
from .running import ValidationSettings as ValidationSettings
