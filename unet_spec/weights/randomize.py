"""Tensors for a graph: initial values for training, and random ones for checks of parity."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from ..graph import Graph
from ..ops import Param
from ..ops.variants import bilinear_kernel


def initial_tensors(graph: Graph, seed: int, dtype: DTypeLike = np.float32) -> dict[str, np.ndarray]:
    """The initial values for training.

    Weights are drawn from a normal distribution with standard deviation sqrt(2 / N), where N is the fan-in (Ronneberger
    et al. 2015, section 3; He et al. 2015). Biases are 0, scales are 1, and interpolating up-convolutions have the
    weights of the interpolation.

    Args:
        graph: graph of the network.
        seed: the same seed gives the same tensors.
        dtype: dtype of the result.

    Returns:
        Every parameter and buffer by PyTorch name, in PyTorch's axis order.

    Example:
        >>> from unet_spec import preset
        >>> tensors = initial_tensors(preset("paper", widths=(4, 8)).graph, seed=0)
        >>> tensors["encoder.0.conv1.weight"].shape, tensors["head.bias"]
        ((4, 1, 3, 3), array([0., 0.], dtype=float32))
    """
    rng = np.random.default_rng(seed)

    def draw(param: Param) -> np.ndarray:
        if param.start == "bilinear":
            return bilinear_kernel(param.shape[0], param.shape[2:])
        return rng.normal(0.0, param.std, param.shape) if param.std else np.full(param.shape, param.constant)

    return {name: draw(param).astype(dtype) for name, param in graph.params.items()}


def random_tensors(graph: Graph, seed: int, dtype: DTypeLike = np.float32) -> dict[str, np.ndarray]:
    """Like `initial_tensors`, but every parameter and buffer is random, so that checks find more mistakes.

    Initial scales of 1 and shifts of 0 hide mistakes: swapped norms, statistics that were not loaded, a missing bias.
    So scales and variances lie in 0.5…1.5, shifts and means in ±0.5. Weights have the standard deviation of initial
    weights, which limits activations.

    Args:
        graph, seed, dtype: as in `initial_tensors`.

    Example:
        >>> from unet_spec import preset
        >>> bool(random_tensors(preset("paper", widths=(4, 8)).graph, seed=0)["head.bias"].all())
        True
    """
    rng = np.random.default_rng(seed)

    def draw(name: str) -> np.ndarray:
        param = graph.params[name]
        if param.std:
            return rng.normal(0.0, param.std, param.shape)
        return rng.uniform(0.5, 1.5, param.shape) if param.constant else rng.uniform(-0.5, 0.5, param.shape)

    return {name: draw(name).astype(dtype) for name in graph.params}
