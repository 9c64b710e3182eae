"""Tensors for a graph: as training starts from, and as a parity check needs them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from unet_spec.graph import Graph
from unet_spec.ops import Param
from unet_spec.ops.variants import bilinear_kernel


def initial_tensors(graph: Graph, seed: int, dtype: DTypeLike = np.float32) -> dict[str, np.ndarray]:
    """Weights drawn from N(0, sqrt(2 / N)), N the fan-in (the paper, section 3; He et al. 2015); biases 0, scales 1;
    interpolating up-convolutions start as interpolation."""
    rng = np.random.default_rng(seed)

    def draw(param: Param) -> np.ndarray:
        if param.start == "bilinear":
            return bilinear_kernel(param.shape[0], param.shape[2:])
        return rng.normal(0.0, param.std, param.shape) if param.std else np.full(param.shape, param.constant)

    return {name: draw(param).astype(dtype) for name, param in graph.params.items()}


def random_tensors(graph: Graph, seed: int, dtype: DTypeLike = np.float32) -> dict[str, np.ndarray]:
    """Every parameter and buffer random, none at a value that hides a mistake.

    A check at fresh initialisation cannot see what multiplies by one or adds zero: swapped norms, statistics that were
    not loaded, a forgotten bias. So scales and variances lie in 0.5…1.5, shifts and means in ±0.5, weights keep He's
    spread, which keeps activations in range.
    """
    rng = np.random.default_rng(seed)

    def draw(name: str) -> np.ndarray:
        param = graph.params[name]
        if param.std:
            return rng.normal(0.0, param.std, param.shape)
        return rng.uniform(0.5, 1.5, param.shape) if param.constant else rng.uniform(-0.5, 0.5, param.shape)

    return {name: draw(name).astype(dtype) for name in graph.params}
