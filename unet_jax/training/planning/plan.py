"""A plan of a training: network and settings that follow from the data, this machine and the time that there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unet_data import Dataset, Fingerprint, fingerprint
from unet_spec import InputError, NetworkConfig

from ..devices.step_memory import StepTooLarge
from ..run.selection import OBJECTS, measure_for
from ..settings import TrainSettings
from .rules import AUTO, Choice, data_rules, fixed_rules, levels, network_rules, padding, tile
from .speed import LOOKS, seconds_a_measurement, seconds_a_step, steps_within

MINUTES = 30.0
"""Of a run for which neither a time nor a number of steps is given."""

FIRST_WIDTHS = (16, 32, 64)
"""Feature maps of the first level that are chosen among; each level has twice as many as the one before."""

ENOUGH = 2000
"""Steps that a wider network must be able to take in the time."""

OF_THE_NETWORK = ("widths", "padding", "norm", "norm_groups", "dropout")


@dataclass(frozen=True)
class TrainingPlan:
    """A plan of a training: network, settings and reasons.

    Attributes:
        network, settings: arguments for `train`.
        choices: all choices with their reasons.
        figures: figures of the training images.
        step: seconds of a training step here; None if none was timed.
        minutes: duration in minutes of the whole run, about; None if no step was timed.

    Example:
        >>> from unet_data import membranes, split
        >>> from unet_jax import plan_training, preset
        >>> parts = split(membranes(6, 64, seed=0))
        >>> plan = plan_training(preset("paper"), *parts, given={"steps": 10}, seconds=None)
        >>> plan.network.padding, plan.settings.optimisation.batch, plan.settings.optimisation.steps
        ('same', 4, 10)
    """

    network: NetworkConfig
    settings: TrainSettings
    choices: tuple[Choice, ...]
    figures: Fingerprint
    step: float | None = None
    minutes: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The content of plan.json."""
        return {
            "network": self.network.to_dict(),
            "settings": self.settings.to_dict(),
            "choices": [vars(choice) for choice in self.choices],
            "figures": self.figures.to_dict(),
            "seconds_a_step": self.step,
            "minutes": self.minutes,
        }


def plan_training(
    network: NetworkConfig,
    training: Dataset,
    validation: Dataset | None = None,
    *,
    settings: TrainSettings = AUTO.settings,
    given: Mapping[str, Any] | None = None,
    seconds: float | None = 60 * MINUTES,
    choose_network: bool = True,
    timed: Callable[[NetworkConfig, TrainSettings, Dataset], float] = seconds_a_step,
    announce: Callable[[], None] = lambda: None,
) -> TrainingPlan:
    """Plans a training. Compiles and times a few steps, unless the number of steps is given.

    Args:
        network: channels and spatial dimensions of the data; where `choose_network` is false, the network itself.
        training, validation: the labelled images; None: no scores.
        settings: settings of which the plan changes what depends on data and machine.
        given: settings (and widths, padding, norm, norm_groups, dropout of the network) that stay as they are, by name.
        seconds: duration in seconds of the whole run; None: not limited, where the steps are given.
        choose_network: whether depth, widths, padding and norm follow from the data, too.
        timed: function that returns the seconds per step.
        announce: called before the first step is timed.

    Raises:
        InputError: images have no labels, a step with a single tile does not fit into memory, or given values do not
            fit.

    Example: see `TrainingPlan`.
    """
    given = dict(given or {})
    settings = settings.replace(**{name: value for name, value in given.items() if name not in OF_THE_NETWORK})
    draft = _Draft(network, settings, given, fingerprint(training))
    if choose_network:
        draft.choose_network()
    for choice in (
        tile(draft.figures, draft.network),
        *data_rules(draft.figures, settings),
        *fixed_rules(draft.settings),
    ):
        draft.take(choice)
    if seconds is None:
        if "steps" not in draft.given:
            raise InputError("give a time or a number of steps")
        draft.take(Choice("steps", draft.settings.optimisation.steps, ""))
        return TrainingPlan(draft.network, draft.settings, tuple(draft.choices), draft.figures)
    if "steps" in draft.given:
        raise InputError("give a time or a number of steps, not both")
    draft.settings.data.tile_shape(draft.network)  # refuses a tile that is too small
    announce()
    step = draft.fit_the_machine(training, seconds, choose_network, timed)
    objects = measure_for(draft.settings, draft.network, training) in OBJECTS
    measurement = (
        0.0 if validation is None else seconds_a_measurement(draft.network, draft.settings, validation, step, objects)
    )
    steps = steps_within(seconds, step, measurement)
    rate = f"{step:.2g} s per step on this machine" + (
        f" and {measurement:.2g} s per validation" if validation is not None else ""
    )
    draft.take(Choice("steps", steps, f"{rate}: {seconds / 60:.3g} minutes"))
    draft.take(Choice("validate_every", max(1, steps // LOOKS), f"{LOOKS} measurements"))
    minutes = (steps * step + LOOKS * measurement) / 60
    return TrainingPlan(draft.network, draft.settings, tuple(draft.choices), draft.figures, step, minutes)


@dataclass
class _Draft:
    """A plan in the making."""

    network: Any  # a UNetConfig where it is chosen
    settings: TrainSettings
    given: dict[str, Any]
    figures: Fingerprint

    def __post_init__(self) -> None:
        self.choices: list[Choice] = []

    def take(self, choice: Choice) -> None:
        """Applies a choice, or notes that its value was given. A later one of the same name takes its place."""
        if choice.name in self.given:
            choice = Choice(choice.name, self.given[choice.name], "given", given=True)
        change = {choice.name: choice.value}
        if choice.name in OF_THE_NETWORK:
            self.network = self.network.replace(**change)
        else:
            self.settings = self.settings.replace(**change)
        places = [c.name for c in self.choices]
        if choice.name in places:
            self.choices[places.index(choice.name)] = choice
        else:
            self.choices.append(choice)

    def choose_network(self) -> None:
        """Depth, padding and norm, with as few feature maps as there are."""
        count, reason = levels(self.figures)
        self.take(Choice("widths", _widths(FIRST_WIDTHS[0], count), f"{reason}; {FIRST_WIDTHS[0]} is the narrowest"))
        if (groups := math.gcd(8, *self.network.widths)) != self.network.norm_groups:
            self.take(Choice("norm_groups", groups, "a divisor of every width, for group norm"))
        self.take(padding(self.figures))
        self.choose_norm()

    def choose_norm(self) -> None:
        """Norm and dropout, for the batch that there is."""
        chosen = self.settings.optimisation
        for choice in network_rules(self.figures, chosen.batch // chosen.accumulate):
            self.take(choice)

    def fit_the_machine(
        self,
        training: Dataset,
        seconds: float,
        choose_network: bool,
        timed: Callable[[NetworkConfig, TrainSettings, Dataset], float],
    ) -> float:
        """The widest network of which the time holds enough steps, and the batch that fits into memory. Returns the
        seconds of a step."""
        step = self._time(training, timed, choose_network)
        if not choose_network or "widths" in self.given:
            return step
        count, reason = levels(self.figures)
        narrow = _macs(self.network, self.settings)
        for first in reversed(FIRST_WIDTHS[1:]):
            wide = self.network.replace(widths=_widths(first, count))
            steps = seconds / (step * _macs(wide, self.settings) / narrow)
            if steps >= ENOUGH:
                self.take(Choice("widths", wide.widths, f"{reason}; the time holds {ENOUGH} steps of this width"))
                return self._time(training, timed, choose_network)
        return step

    def _time(
        self,
        training: Dataset,
        timed: Callable[[NetworkConfig, TrainSettings, Dataset], float],
        choose_network: bool,
    ) -> float:
        """The seconds of a step; halves the batch while it does not fit into memory."""
        while True:
            try:
                return timed(self.network, self.settings, training)
            except StepTooLarge:
                batch = self.settings.optimisation.batch
                if batch == 1 or "batch" in self.given or batch % 2:
                    raise
                self.take(Choice("batch", batch // 2, f"{batch} do not fit into memory"))
                if choose_network:
                    self.choose_norm()


def _widths(first: int, count: int) -> tuple[int, ...]:
    return tuple(first << level for level in range(count))


def _macs(network: NetworkConfig, settings: TrainSettings) -> int:
    return sum(network.graph.macs(settings.data.tile_shape(network)).values())
