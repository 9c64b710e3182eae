"""What differs between runs that share one compiled training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Float, Int32, UInt32

from ..settings import OptimisationSettings, TrainSettings

Values = Sequence[float] | np.ndarray


def schedule_span(settings: OptimisationSettings) -> np.ndarray:
    """The number of steps of the warm-up and of the whole run, (2,) int32."""
    warmup = min(round(settings.steps * settings.warmup), settings.steps - 1)
    return np.asarray([warmup, settings.steps], np.int32)


class RunValues(NamedTuple):
    """What differs between runs that share one compiled step. They are arguments of the step, so that the folds of a
    cross-validation, runs with other seeds and runs of other lengths need no further compilation.

    Example:
        >>> from unet_jax import RunValues, TrainSettings
        >>> RunValues.of(TrainSettings().replace(steps=300, warmup=0.1), mean=[120.0], std=[30.0]).span.tolist()
        [30, 300]
    """

    mean: Float[Array, " c"]
    """Mean of each channel, in the images' own units, float32."""
    std: Float[Array, " c"]
    """Standard deviation of each channel, in the images' own units, float32."""
    seed: UInt32[Array, " words"]
    """Data of the random key (`jax.random.key_data`) of augmentation and dropout."""
    span: Int32[Array, " 2"]
    """The number of steps of the warm-up and of the whole run."""

    @classmethod
    def of(cls, settings: TrainSettings, mean: Values, std: Values) -> RunValues:
        """The values of a run, as NumPy arrays.

        Args:
            settings: the seed, the steps and the warm-up.
            mean: mean of each channel (C,), in the images' own units. Images become (x − mean) / std in float32.
            std: standard deviation of each channel (C,), in the images' own units.
        """
        seed = jax.random.key_data(jax.random.key(settings.optimisation.seed))
        moments = (np.asarray(value, np.float32) for value in (mean, std))
        return cls(*moments, np.asarray(seed), schedule_span(settings.optimisation))  # type: ignore[arg-type]
