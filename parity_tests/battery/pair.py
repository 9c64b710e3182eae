"""A network in three implementations with the same weights: the Flax twin, the PyTorch twin, the NumPy reference.

Twins are looked up in their modules at the time of the call, so that a test may replace any part of them. For the same
reason, nothing is cached between calls, and every jitted function is new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.network
import unet_jax.registry
import unet_jax.weights
import unet_torch.network
import unet_torch.registry
import unet_torch.weights
from unet_spec import Graph, NetworkConfig
from unet_spec.ops import InstanceNorm
from unet_spec.weights.randomize import random_tensors

from . import outputs
from .cases import Case

LARGE_MEAN = 30.0
"""Mean of an image with unit variance. At this mean, E[x²] − E[x]² in float32 loses ten bits; two passes lose five."""


@dataclass
class Pair:
    """The twins of one config, in evaluation mode until `train`. Each twin is built at its first use, since several
    checks need only one.

    Attributes:
        tensors: every parameter and buffer of the twins, by PyTorch name.
        training: whether the twins are in training mode when they are built.
    """

    config: NetworkConfig
    tensors: dict[str, np.ndarray]
    training: bool = False

    @cached_property
    def jax(self) -> unet_jax.network.Network:
        model = jax_twin(self.config, self.tensors)
        if self.training:
            model.train()
        return model

    @cached_property
    def torch(self) -> unet_torch.network.Network:
        return torch_twin(self.config, self.tensors).train(self.training)

    @property
    def graph(self) -> Graph:
        return self.config.graph

    def train(self) -> Pair:
        """Puts the twins into training mode."""
        self.training = True
        for built in ("jax", "torch"):
            if built in vars(self):
                getattr(self, built).train()
        return self

    def reference(
        self, image: np.ndarray, training: bool = False, masks: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """The logits in float64, whatever the dtype of the weights. `masks`: dropout masks by layer."""
        tensors = double(self.tensors) | {f"{name}.mask": mask for name, mask in (masks or {}).items()}
        return self.graph.forward(tensors, image.astype(np.float64), training)

    def references(
        self, image: np.ndarray, training: bool = False, masks: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """All outputs (see `outputs`) in float64."""
        tensors = double(self.tensors) | {f"{name}.mask": mask for name, mask in (masks or {}).items()}
        further = outputs.further_inputs(self.config, image.astype(np.float64))
        return outputs.of_reference(self.graph, tensors, image.astype(np.float64), further, training)


def double(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: t.astype(np.float64) for name, t in tensors.items()}


def build(config: NetworkConfig, dtype: str = "float64", seed: int = 0) -> Pair:
    """Twins in evaluation mode with every parameter and buffer random, of `dtype`."""
    tensors = random_tensors(config.graph, seed, dtype)
    return Pair(config, tensors)


def jax_twin(config: NetworkConfig, tensors: Mapping[str, np.ndarray]) -> unet_jax.network.Network:
    """The Flax twin with these tensors, in evaluation mode."""
    model = jax_shapes(config)
    unet_jax.weights.load_tensors(model, tensors)
    model.eval()
    return model


def jax_shapes(config: NetworkConfig) -> unet_jax.network.Network:
    """The Flax twin with shapes in place of arrays. Making arrays, only to replace them, takes most of the time."""
    return nnx.eval_shape(lambda: unet_jax.registry.create(config, None))


def torch_twin(config: NetworkConfig, tensors: Mapping[str, np.ndarray]) -> unet_torch.network.Network:
    """The PyTorch twin with these tensors, in evaluation mode."""
    model = unet_torch.registry.create(config, None)
    unet_torch.weights.load_tensors(model, tensors)
    return model.eval()


def image(case: Case, kind: str = "oblong", dtype: str = "float64", batch: int = 3) -> np.ndarray:
    """A batch (N, *spatial, C) with values that are exact in float32, so that every dtype has the same image.

    "oblong": another size on each axis, an odd batch. "offset": the same with a mean of LARGE_MEAN. "smallest": one
    image of the minimum size that fits; with "same" padding its deepest map is one pixel.
    """
    config, rng = case.config, np.random.default_rng(11)
    size = [g.minimum + (case.extra + axis) * g.step for axis, g in enumerate(config.geometry.grids)]
    if kind == "smallest":
        batch, size = 1, [g.minimum for g in config.geometry.grids]
        shapes = config.graph.shapes(tuple(size))
        if any(isinstance(n.op, InstanceNorm) and math.prod(shapes[n.name][:-1]) == 1 for n in config.graph):
            size[-1] *= 2  # PyTorch refuses to normalise a single pixel
    mean = LARGE_MEAN if kind == "offset" else 0.0
    return rng.normal(mean, 1.0, (batch, *size, config.in_channels)).astype(np.float32).astype(dtype)


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Channels-last NumPy to channels-first PyTorch, contiguous, a copy."""
    return torch.from_numpy(np.array(np.moveaxis(array, -1, 1), order="C"))


def from_torch(tensor: torch.Tensor) -> np.ndarray:
    """Channels-first PyTorch to channels-last NumPy; (N, C) stays."""
    return np.moveaxis(tensor.detach().cpu().numpy(), 1, -1)


def jax_forward(model: unet_jax.network.Network, image: np.ndarray) -> np.ndarray:
    """The logits of a model in evaluation mode, jitted."""
    graphdef, state = nnx.split(model)
    return np.asarray(jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, jnp.array(image)))


def torch_forward(model: unet_torch.network.Network, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return from_torch(model(to_torch(image)))


def jax_runner(model: unet_jax.network.Network, jit: bool = True) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from an image to all outputs of a model in evaluation mode; traced once for each size and dtype."""
    graphdef, state = nnx.split(model)

    def run(state: nnx.State, x: jax.Array, further: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return outputs.of_model(nnx.merge(graphdef, state), x, further)

    traced = jax.jit(run) if jit else run

    def call(image: np.ndarray) -> dict[str, np.ndarray]:
        further = {k: jnp.array(v) for k, v in outputs.further_inputs(model.config, image).items()}
        return {name: np.asarray(value) for name, value in traced(state, jnp.array(image), further).items()}

    return call


def torch_outputs(
    model: unet_torch.network.Network, image: np.ndarray, layout: Callable[[torch.Tensor], torch.Tensor] = lambda t: t
) -> dict[str, np.ndarray]:
    """All outputs of a model in evaluation mode, channels last."""
    further = {k: torch.from_numpy(v) for k, v in outputs.further_inputs(model.config, image).items()}
    with torch.no_grad():
        found = outputs.of_model(model, layout(to_torch(image)), further)
    return {name: from_torch(value) for name, value in found.items()}


def channels_last(tensor_or_model):
    """Changes the memory layout to (N, *spatial, C); shapes stay."""
    dims = (
        tensor_or_model.dim() if isinstance(tensor_or_model, torch.Tensor) else tensor_or_model.config.spatial_dims + 2
    )
    return tensor_or_model.to(memory_format=torch.channels_last if dims == 4 else torch.channels_last_3d)
