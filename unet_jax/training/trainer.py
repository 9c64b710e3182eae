"""The state of a training run on the devices, the jitted step and the batches."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from unet_data import Dataset, Sampler
from unet_data.datasets.border_weights import cells_of, weight_maps
from unet_data.datasets.stored import normalised
from unet_data.datasets.window_weights import window_weights
from unet_data.labels.distances import border_distances
from unet_data.normalize import Normalization, full_scale
from unet_spec import DataSpec

from ..network import Network
from .devices.mesh import gather, make_mesh, process_rows, put_batch, shard_state
from .devices.step_memory import compile_within_memory
from .loader import batches, block_signals
from .run.diagnose import NotFinite, first_not_finite
from .run.hooks import NO_HOOKS, Hooks
from .run.values import RunValues
from .settings import TrainSettings
from .step import TrainState, initial_state, make_prepare, make_step, shared_step


class Trainer:
    """Takes training steps. Raises InputError if the devices cannot share the batch or the tile.

    Attributes:
        tile: size of the input tile (pixels per axis).
        state: the state after the steps so far, on all devices.
    """

    def __init__(self, model: Network, settings: TrainSettings, training: Dataset, hooks: Hooks = NO_HOOKS):
        if training.nodata is not None and settings.data.ignore is None:
            settings = settings.replace(ignore=0)  # any number: labels without data are already IGNORED
        self.settings, self.tile = settings, settings.data.tile_shape(model.config)
        self._hooks = hooks
        self.mesh = make_mesh(settings, self.tile)
        self._graphdef, state = initial_state(model, settings)
        training, mean, std = _normalisation_in_step(training, model.data)
        self._values = RunValues.of(settings, mean, std)
        self._prepare = make_prepare(settings, self.tile, None, hooks.augment)
        if self.mesh is None and (hooks.loss, hooks.augment) == (None, None):
            self._step = shared_step(self._graphdef, settings, self.tile)
        else:
            self._step = make_step(self._graphdef, settings, self.tile, self.mesh, state, hooks)
        self.state: TrainState = shard_state(self.mesh, state, settings.hardware.fsdp)
        weights, loss = None, settings.loss
        if loss.weighted:
            maps = window_weights if training.stored else weight_maps
            weights = maps(training, loss.border_weight, loss.border_sigma, loss.balance)
        distances = None
        if model.config.distance_head:
            distances = [border_distances(cells_of(training, index)) for index in range(len(training))]
        output, window = model.config.geometry.output_shape(self.tile), settings.augmentation.window(self.tile)
        batch, seed = settings.optimisation.batch, settings.optimisation.seed
        oversample = settings.data.oversample
        self._sampler = Sampler(training, window, output, batch, seed, weights, oversample, distances)

    def compile(self) -> bool:
        """Compiles the step for one CPU. Raises InputError if it needs more memory than is available.

        Returns whether it did; on other devices the first step compiles.
        """
        if self.mesh is not None:
            return False
        before, shapes = self._step, [jax.ShapeDtypeStruct(*each) for each in self._sampler.shapes()]
        self._step = compile_within_memory(self._step, self.state, self._values, shapes)
        return self._step is not before

    def batches(self, first: int) -> Generator[tuple[int, tuple[Array, ...]]]:
        """Yields step number, from 1, and batch on the devices, after the first `first` steps. The next batch is
        prepared and sent while the current one trains."""
        steps = self.settings.optimisation.steps
        host = batches(self._sampler, self.settings, first, process_rows(self.mesh, self.settings.optimisation.batch))

        def make() -> tuple[Array, ...]:
            return put_batch(self.mesh, next(host))

        with closing(host), ThreadPoolExecutor(1, initializer=block_signals, initargs=(self.settings,)) as pool:
            coming = pool.submit(make) if first < steps else None
            for step in range(first, steps):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(make) if step + 1 < steps else None
                yield step + 1, batch

    def step(self, batch: tuple[Array, ...]) -> None:
        """Takes one step; returns before the devices have finished it."""
        self.state, _ = self._step(self.state, self._values, *batch)

    def loss_and_failure(self) -> tuple[float, int]:
        """The sum of the losses since the last line of the log, and the index of the first step that was not finite,
        or −1. Waits for the devices."""
        return tuple(gather(self.mesh, self.state[name]).item() for name in ("loss", "failed"))

    def state_before_failure(self) -> TrainState:
        """The state without the failure mark, from which training can continue."""
        return self.state | {"failed": jnp.full_like(self.state["failed"], -1)}

    def weights_to_validate(self) -> tuple[Any, Any]:
        """Weights and statistics (nnx states of NumPy arrays), or their moving averages if the settings have ema."""
        weights = self.state.get("ema", {name: self.state[name] for name in ("params", "stats")})
        weights = gather(self.mesh, weights)
        return weights["params"], weights["stats"]

    def image_names(self, step: int) -> list[str]:
        """Names of the images in the batch of a step, counted from 0."""
        return [self._sampler.dataset.names[index] for index, _ in self._sampler.places(step)]

    def cause_of_failure(self, step: int) -> NotFinite | None:
        """The first values of a step, counted from 0, that are not finite. None if the computation fails, for example
        because it needs more memory than the step."""
        try:
            state = gather(self.mesh, {"params": self.state["params"], "stats": self.state["stats"]})
            batch = self._prepare(self._values, jnp.int32(step), self._sampler.batch(step))
            return first_not_finite(
                self._graphdef, self.settings, state["params"], state["stats"], *batch, self._hooks.loss
            )
        except Exception:
            return None


def _normalisation_in_step(training: Dataset, data: DataSpec) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """The images for the sampler, and mean and standard deviation, in their units, with which the step normalises them.
    Images with any other normalisation are normalised here, before tiles are cut."""
    if data.normalization == "dataset" and data.nodata is None:
        unit = full_scale(training.images[0].dtype)
        mean, std = (np.multiply(v, unit) for v in (data.mean, data.std))
        return training, mean, std
    images = tuple(normalised(image, Normalization.of(data, image)) for image in training.images)
    zeros = np.zeros(training.channels)
    return replace(training, images=images), zeros, zeros + 1
