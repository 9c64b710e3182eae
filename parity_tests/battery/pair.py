"""A network three times, with the same numbers in each: the Flax twin, the PyTorch twin, the NumPy reference.

Twins are reached through the modules that define them, at the time of the call, so that a test may replace any part of
them. Nothing is kept between calls, and every jitted function is a new one, for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.unet
import unet_jax.weights
import unet_torch.unet
import unet_torch.weights
from parity_tests.battery.cases import Case
from unet_spec import Graph, UNetConfig
from unet_spec.randomize import random_tensors

LARGE_MEAN = 30.0
"""Of an image with unit variance. E[x²] − E[x]² in float32 loses ten bits at this mean; two passes lose five."""


@dataclass
class Pair:
    """The twins of one config.

    Attributes:
        tensors: every parameter and buffer, by PyTorch name; what the twins were loaded with.
    """

    config: UNetConfig
    tensors: dict[str, np.ndarray]
    jax: unet_jax.unet.UNet
    torch: unet_torch.unet.UNet

    @property
    def graph(self) -> Graph:
        return self.config.graph

    def train(self) -> Pair:
        self.jax.train()
        self.torch.train()
        return self

    def reference(
        self, image: np.ndarray, training: bool = False, masks: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """The logits in float64, whatever the dtype of the weights."""
        tensors = double(self.tensors) | {f"{name}.mask": mask for name, mask in (masks or {}).items()}
        return self.graph.forward(tensors, image.astype(np.float64), training)


def double(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: t.astype(np.float64) for name, t in tensors.items()}


def build(config: UNetConfig, dtype: str = "float64", seed: int = 0) -> Pair:
    """Twins in evaluation mode with every parameter and buffer random, of `dtype`."""
    tensors = random_tensors(config.graph, seed, dtype)
    return Pair(config, tensors, jax_twin(config, tensors), torch_twin(config, tensors))


def jax_twin(config: UNetConfig, tensors: Mapping[str, np.ndarray]) -> unet_jax.unet.UNet:
    """The Flax twin with these tensors, in evaluation mode."""
    # Shapes only, and no arrays to be replaced: building them one by one takes most of the time.
    model = nnx.eval_shape(lambda: unet_jax.unet.UNet(config, None))
    unet_jax.weights.load_tensors(model, tensors)
    model.eval()
    return model


def torch_twin(config: UNetConfig, tensors: Mapping[str, np.ndarray]) -> unet_torch.unet.UNet:
    """The PyTorch twin with these tensors, in evaluation mode."""
    model = unet_torch.unet.UNet(config, None)
    unet_torch.weights.load_tensors(model, tensors)
    return model.eval()


def image(case: Case, kind: str = "oblong", dtype: str = "float64", batch: int = 3) -> np.ndarray:
    """A batch (N, *spatial, C) with values that float32 holds exactly, so that every dtype is given the same image.

    "oblong": another size on each axis, an odd batch. "offset": the same with a mean of LARGE_MEAN. "smallest": one
    image of the least size that fits; in a network with "same" padding its deepest map is one pixel.
    """
    config, rng = case.config, np.random.default_rng(11)
    size = [g.minimum + (case.extra + axis) * g.step for axis, g in enumerate(config.geometry.grids)]
    if kind == "smallest":
        batch, size = 1, [g.minimum for g in config.geometry.grids]
        if config.norm == "instance" and config.padding == "same":
            size[-1] *= 2  # PyTorch refuses to normalise a single pixel
    mean = LARGE_MEAN if kind == "offset" else 0.0
    return rng.normal(mean, 1.0, (batch, *size, config.in_channels)).astype(np.float32).astype(dtype)


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Channels-last NumPy to channels-first PyTorch, contiguous, a copy."""
    return torch.from_numpy(np.array(np.moveaxis(array, -1, 1), order="C"))


def from_torch(tensor: torch.Tensor) -> np.ndarray:
    """Channels-first PyTorch to channels-last NumPy."""
    return np.moveaxis(tensor.detach().cpu().numpy(), 1, -1)


def jax_forward(model: unet_jax.unet.UNet, image: np.ndarray) -> np.ndarray:
    """The logits of a model in evaluation mode, jitted."""
    graphdef, state = nnx.split(model)
    return np.asarray(jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, jnp.array(image)))


def torch_forward(model: unet_torch.unet.UNet, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return from_torch(model(to_torch(image)))


def channels_last(tensor_or_model):
    """In the memory layout (N, *spatial, C), under unchanged shapes."""
    dims = (
        tensor_or_model.dim() if isinstance(tensor_or_model, torch.Tensor) else tensor_or_model.config.spatial_dims + 2
    )
    return tensor_or_model.to(memory_format=torch.channels_last if dims == 4 else torch.channels_last_3d)
