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
from ..settings import TrainSettings
from ..trainer import Trainer

TIMED = 5
"""Steps that are timed, at most, after a first one that is not."""

LONG_ENOUGH = 3.0
"""Seconds after which fewer of them are enough."""

LOOKS = 10
"""Measurements on the validation data in a run."""


def seconds_a_step(
    config: NetworkConfig,
    settings: TrainSettings,
    training: Dataset,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The median time of a step, in seconds, of a few steps that are then forgotten. Compiles the step, which the run
    takes from the cache of compiled programs where there is one (`unet_jax.compilation_cache`).

    Args:
        config: the network.
        settings: settings of the training.
        training: the images that the run trains on.
        clock: in seconds. `time.process_time` of a process on one core does not count what other programs take.

    Raises:
        InputError: as `train`: the step needs more memory than there is, or the data do not fit the network.

    Example:
        >>> from unet_data import membranes
        >>> from unet_jax import TrainSettings, preset
        >>> from unet_jax.training.planning.speed import seconds_a_step
        >>> settings = TrainSettings().replace(tile=28)
        >>> seconds_a_step(preset("paper", widths=(2, 4)), settings, membranes(2, 40, seed=0)) > 0
        True
    """
    settings = settings.replace(steps=1 + TIMED)
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
            if sum(seconds) > LONG_ENOUGH:
                break
    return statistics.median(seconds)


def seconds_a_measurement(
    config: NetworkConfig, settings: TrainSettings, validation: Dataset, step: float, objects: bool
) -> float:
    """An estimate of the time, in seconds, of one measurement on the validation data: a forward pass, a third of the
    step's work for as many pixels, and, for V_Rand and V_Info, four seconds a million pixels.

    Args:
        config: the network.
        settings: settings of the training.
        validation: the images that are measured.
        step: seconds of a training step.
        objects: whether V_Rand and V_Info are measured.
    """
    pixels = sum(math.prod(image.shape[:-1]) for image in validation.images)
    tile = settings.data.tile_shape(config)
    output = math.prod(config.geometry.output_shape(tile)) * settings.optimisation.batch
    return pixels / output * step / 3 + (4e-6 * pixels if objects else 0.0)


def steps_within(seconds: float, step: float, measurement: float) -> int:
    """Steps of a run that ends within so many seconds, at least one.

    Args:
        seconds: duration in seconds of the whole run.
        step: seconds of a training step.
        measurement: seconds of a measurement, of which a run has ten.

    Example:
        >>> from unet_jax.training.planning.speed import steps_within
        >>> steps_within(600, step=0.5, measurement=10)
        1000
    """
    return max(1, int((seconds - LOOKS * measurement) / step))
