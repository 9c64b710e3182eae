"""Times a training step on this machine, with the real step and real images."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from contextlib import closing

import jax

from unet_data import Dataset
from unet_spec import NetworkConfig

from ...registry import create
from ..devices.step_memory import out_of_memory_as_input_error
from ..loop import data_spec
from ..run.selection import AP, OBJECTS
from ..settings import TrainSettings
from ..trainer import Trainer

TIMED_STEPS = 5
"""Maximum number of timed steps, after a first step that is not timed."""

TIMING_SECONDS = 3.0
"""Seconds of timed steps after which timing stops."""

VALIDATIONS = 10
"""Number of validations in a run."""


def seconds_per_step(
    config: NetworkConfig,
    settings: TrainSettings,
    training: Dataset,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The median time of a training step, in seconds, from a few steps whose results are discarded. Compiles the step;
    the run then takes it from the cache of compiled programs, if one is used (`unet_jax.compilation_cache`).

    Args:
        config: the network.
        settings: settings of the training.
        training: the images that the run trains on.
        clock: a clock in seconds. On one core, `time.process_time` excludes the time of other programs.

    Raises:
        InputError: the step needs more memory than is available, or the data do not fit the network.

    Example:
        >>> from unet_data import membranes
        >>> from unet_jax import TrainSettings, preset
        >>> from unet_jax.training.planning.speed import seconds_per_step
        >>> settings = TrainSettings().replace(tile=28)
        >>> seconds_per_step(preset("paper", widths=(2, 4)), settings, membranes(2, 40, seed=0)) > 0
        True
    """
    settings = settings.replace(steps=1 + TIMED_STEPS)
    model = create(config, settings.optimisation.seed)
    model.data = data_spec(config, settings, training)
    trainer = Trainer(model, settings, training)
    trainer.compile()
    seconds: list[float] = []
    note = f"in a step of {settings.optimisation.batch} tile(s); use a smaller batch, tile or network"
    with closing(trainer.batches(0)) as batches, out_of_memory_as_input_error(note):
        for number, batch in batches:
            began = clock()
            trainer.step(batch)
            jax.block_until_ready(trainer.state["step"])
            if number > 1:
                seconds.append(clock() - began)
            if sum(seconds) > TIMING_SECONDS:
                break
    return statistics.median(seconds)


def seconds_per_validation(
    config: NetworkConfig, settings: TrainSettings, validation: Dataset, step: float, select: str
) -> float:
    """Estimates the time, in seconds, of one validation: a forward pass, which takes a third of a training step for as
    many pixels, and, per million pixels, four seconds for V_Rand and V_Info and one for mean AP.

    Args:
        config: the network.
        settings: settings of the training.
        validation: the validation images.
        step: seconds of a training step.
        select: the measure that chooses best/, as of `measure_for`.
    """
    pixels = sum(math.prod(image.shape[:-1]) for image in validation.images)
    tile = settings.data.tile_shape(config)
    output = math.prod(config.geometry.output_shape(tile)) * settings.optimisation.batch
    more = 4e-6 if select in OBJECTS else 1e-6 if select == AP else 0.0
    return pixels / output * step / 3 + more * pixels


def steps_within(seconds: float, step: float, validation_seconds: float) -> int:
    """Number of steps of a run that takes at most `seconds`; at least 1.

    Args:
        seconds: duration in seconds of the whole run.
        step: seconds of a training step.
        validation_seconds: seconds of a validation; a run has ten.

    Example:
        >>> from unet_jax.training.planning.speed import steps_within
        >>> steps_within(600, step=0.5, validation_seconds=10)
        1000
    """
    return max(1, int((seconds - VALIDATIONS * validation_seconds) / step))
