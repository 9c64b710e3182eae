"""Plans a training run: network and settings for the data, this machine and the given time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from unet_data import Dataset, Fingerprint, choose_spacing, fingerprint
from unet_spec import InputError, NetworkConfig

from ..devices.step_memory import StepTooLarge
from ..run.selection import measure_for
from ..settings import TrainSettings
from .rules import AUTO, Choice, data_rules, fixed_rules, levels, network_rules, padding, tile
from .speed import VALIDATIONS, seconds_per_step, seconds_per_validation, steps_within
from .volumes import Stages, staged_network, stages, volume_norm, volume_tile

MINUTES = 30.0
"""Minutes of a run without a given time or number of steps."""

FIRST_WIDTHS = (16, 32, 64)
"""Candidate widths of the first level; each level has twice as many feature maps as the previous one."""

MINIMUM_STEPS = 2000
"""Minimum number of steps, in the given time, for which a wider network is chosen."""

FEWEST_STEPS = 100
"""If fewer steps fit into the given time with the narrowest network, a step has fewer tiles."""

SIMILAR_PIXELS = 1.25
"""If the pixel sizes of two images differ by more than this factor, a warning says so."""

NETWORK_SETTINGS = ("widths", "padding", "norm", "norm_groups", "dropout")

STAGED = ("kernels", "strides")
"""Choices of a network with kernels and strides per axis; no flag sets them."""


@dataclass(frozen=True)
class TrainingPlan:
    """A plan of a training run: network, settings and reasons.

    Attributes:
        network, settings: arguments for `train`.
        choices: all choices with their reasons.
        figures: figures of the training images.
        step: seconds of a training step here; None if none was timed.
        minutes: estimated duration of the whole run in minutes; None if no step was timed.

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
    timed: Callable[[NetworkConfig, TrainSettings, Dataset], float] = seconds_per_step,
    announce: Callable[[], None] = lambda: None,
) -> TrainingPlan:
    """Plans a training run. Compiles and times a few steps, unless the number of steps is given.

    Args:
        network: a network with the channels and spatial dimensions of the data; used unchanged if `choose_network` is
            false.
        training, validation: the labelled images; None: no scores.
        settings: initial settings; the plan changes those that depend on data and machine.
        given: settings that the plan must not change, by name; also widths, padding, norm, norm_groups and dropout of
            the network.
        seconds: duration of the whole run in seconds; None: no limit, if the number of steps is given.
        choose_network: whether to choose depth, widths, padding and norm as well.
        timed: function that returns the seconds per step.
        announce: called before the first step is timed.

    Raises:
        InputError: images have no labels, a step with a single tile does not fit into memory, or given values do not
            fit.

    Example: see `TrainingPlan`.
    """
    given = dict(given or {})
    settings = settings.replace(**{name: value for name, value in given.items() if name not in NETWORK_SETTINGS})
    spacing = _spacing(training)
    if given.get("spacing") == "auto":
        del given["spacing"]
    draft = _Draft(network, settings, given, fingerprint(training))
    draft.take(spacing)
    if draft.figures.spacing_ratio > SIMILAR_PIXELS:
        warnings.warn(
            f"pixel sizes of the images differ by a factor of up to {draft.figures.spacing_ratio:.3g} along an axis, "
            "and images are not resampled: the network sees the same object in several sizes; to resample them, give "
            "a pixel size, as in --spacing 5,1,1",
            stacklevel=2,
        )
    if choose_network:
        draft.choose_network()
    for choice in (
        (volume_tile if draft.stages else tile)(draft.figures, draft.network),
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
    draft.settings.data.tile_shape(draft.network)  # raises InputError if the tile is too small
    announce()
    step = draft.fit_the_machine(training, seconds, choose_network, timed)
    select = measure_for(draft.settings, draft.network, training)
    validation_seconds = (
        0.0 if validation is None else seconds_per_validation(draft.network, draft.settings, validation, step, select)
    )
    steps = steps_within(seconds, step, validation_seconds)
    rate = f"{step:.2g} s per step on this machine" + (
        f" and {validation_seconds:.2g} s per validation" if validation is not None else ""
    )
    draft.take(Choice("steps", steps, f"{rate}: {seconds / 60:.3g} minutes"))
    draft.take(Choice("validate_every", max(1, steps // VALIDATIONS), f"{VALIDATIONS} validations"))
    minutes = (steps * step + VALIDATIONS * validation_seconds) / 60
    return TrainingPlan(draft.network, draft.settings, tuple(draft.choices), draft.figures, step, minutes)


@dataclass
class _Draft:
    """An unfinished plan."""

    network: Any  # a UNetConfig or a StagedUNetConfig if it is chosen
    settings: TrainSettings
    given: dict[str, Any]
    figures: Fingerprint

    def __post_init__(self) -> None:
        self.choices: list[Choice] = []
        self.stages: Stages | None = None

    def take(self, choice: Choice) -> None:
        """Applies a choice, or records that its value was given. A later choice of the same name replaces it."""
        if choice.name in self.given:
            choice = Choice(choice.name, self.given[choice.name], "given", given=True)
        change = {choice.name: choice.value}
        if choice.name in (*NETWORK_SETTINGS, *STAGED):
            self.network = self.network.replace(**change)
        else:
            self.settings = self.settings.replace(**change)
        places = [c.name for c in self.choices]
        if choice.name in places:
            self.choices[places.index(choice.name)] = choice
        else:
            self.choices.append(choice)

    def choose_network(self) -> None:
        """Chooses depth, padding, kernels and norm, with the smallest width."""
        if self._may_be_staged():
            given = self.given.get("widths")
            self.stages = stages(self.figures, given and len(given))
        count, reason = self._depth()
        first = Choice("widths", _widths(FIRST_WIDTHS[0], count), f"{reason}; {FIRST_WIDTHS[0]} is the narrowest")
        if self.stages:
            self._choose_staged(self.stages, first)
        else:
            self._choose_plain(first)
        self.choose_norm()

    def _choose_staged(self, own: Stages, widths: Choice) -> None:
        """Replaces the network by one with kernels and strides per axis."""
        self.network = staged_network(self.network, own, widths.value)
        self.take(widths)
        self.take(Choice("kernels", own.kernels, f"{own.reason}: no kernel along a coarse axis"))
        self.take(Choice("strides", own.strides, f"{own.reason}: each axis is halved on its own"))

    def _choose_plain(self, widths: Choice) -> None:
        """Chooses depth, group size and padding of a network whose axes are treated alike."""
        self.take(widths)
        groups = math.gcd(8, *self.network.widths)
        if groups != self.network.norm_groups or "norm_groups" in self.given:
            self.take(Choice("norm_groups", groups, "a divisor of every width, for group norm"))
        self.take(padding(self.figures))

    def _may_be_staged(self) -> bool:
        """Whether nothing is asked for that a network with kernels and strides per axis does not have."""
        unknown = {"padding", "norm_groups", "dropout"}.intersection(self.given) or self.given.get("norm") == "group"
        return not unknown and not getattr(self.network, "distance_head", False)

    def _depth(self) -> tuple[int, str]:
        """Number of levels, and the reason."""
        if self.stages:
            return len(self.stages.strides), self.stages.reason
        return levels(self.figures)

    def choose_norm(self) -> None:
        """Chooses norm and dropout for the current batch."""
        chosen = self.settings.optimisation
        together = chosen.batch // chosen.accumulate
        for choice in [volume_norm(together)] if self.stages else network_rules(self.figures, together):
            self.take(choice)

    def fit_the_machine(
        self,
        training: Dataset,
        seconds: float,
        choose_network: bool,
        timed: Callable[[NetworkConfig, TrainSettings, Dataset], float],
    ) -> float:
        """Chooses the widest network that can take MINIMUM_STEPS steps in the time, and a batch that fits into memory
        and, if it can, takes FEWEST_STEPS steps. Returns the seconds per step."""
        step = self._time(training, timed, choose_network)
        if not choose_network:
            return step
        if fewer := self._fewer_tiles(seconds / step):
            self.take(fewer)
            self.choose_norm()
            return self._time(training, timed, choose_network)
        if "widths" in self.given:
            return step
        count, reason = self._depth()
        narrow = _macs(self.network, self.settings)
        for first in reversed(FIRST_WIDTHS[1:]):
            wide = self.network.replace(widths=_widths(first, count))
            steps = seconds / (step * _macs(wide, self.settings) / narrow)
            if steps >= MINIMUM_STEPS:
                self.take(
                    Choice(
                        "widths",
                        wide.widths,
                        f"{reason}; at least {MINIMUM_STEPS} steps of this width fit into the time",
                    )
                )
                return self._time(training, timed, choose_network)
        return step

    def _fewer_tiles(self, steps: float) -> Choice | None:
        """The largest batch with which FEWEST_STEPS steps fit into the time, or 1, if only `steps` fit now; None to
        keep the batch. The time of a step is taken to follow the number of tiles."""
        batch = smaller = self.settings.optimisation.batch
        while steps * batch / smaller < FEWEST_STEPS and smaller > 1 and smaller % 2 == 0:
            smaller //= 2
        if smaller == batch or {"batch", "accumulate"}.intersection(self.given):
            return None
        reason = (
            f"only {steps:.0f} steps of {batch} tiles would fit into the time; more steps of fewer tiles reach more"
        )
        return Choice("batch", smaller, reason)

    def _time(
        self,
        training: Dataset,
        timed: Callable[[NetworkConfig, TrainSettings, Dataset], float],
        choose_network: bool,
    ) -> float:
        """The seconds per step. Halves the batch until it fits into memory."""
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


def _spacing(training: Dataset) -> Choice:
    """The pixel size to which the images were resampled, and the reason."""
    target = training.spacing or replace(choose_spacing(training), size=())
    return Choice("spacing", target.text, target.reason)


def _widths(first: int, count: int) -> tuple[int, ...]:
    return tuple(first << level for level in range(count))


def _macs(network: NetworkConfig, settings: TrainSettings) -> int:
    return sum(network.graph.macs(settings.data.tile_shape(network)).values())
