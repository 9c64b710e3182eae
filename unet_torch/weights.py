"""Reads and writes the weights of a PyTorch model, as NumPy arrays under the names of its state_dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from ml_dtypes import bfloat16

from unet_spec import check_tensors, initial_tensors

if TYPE_CHECKING:
    from .network import Network


def initialize(model: Network, seed: int) -> None:
    """Fills the model, in place, with `unet_spec.initial_tensors`: the paper's initialisation."""
    state = model.state_dict()
    for name, array in initial_tensors(model.config.graph, seed).items():
        state[name].copy_(torch.from_numpy(array))


def tensors(model: Network) -> dict[str, np.ndarray]:
    """Copies of every parameter and buffer: PyTorch names, axis order and dtype. The counters that a conversion to
    SyncBatchNorm adds to batch norms are left out."""
    state = {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    check_tensors(model.config.graph, cast("dict[str, Any]", state), "the PyTorch model")
    return {name: to_array(t) for name, t in state.items()}


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A contiguous copy with the same dtype; bfloat16 is that of ml_dtypes."""
    tensor = tensor.detach().cpu()
    # A copy: tensors on the CPU share memory with .numpy(), so training would change the array.
    if tensor.dtype == torch.bfloat16:
        return np.array(tensor.contiguous().view(torch.int16).numpy(), order="C", copy=True).view(bfloat16)
    return np.array(tensor.numpy(), order="C", copy=True)


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A copy with the same dtype."""
    array = np.array(array, order="C", copy=True)
    if array.dtype == bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def load_tensors(model: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces every parameter and buffer by a copy with the same dtype. Raises InputError if names or shapes do not
    match."""
    check_tensors(model.config.graph, tensors, "the PyTorch model")
    state = {name: to_tensor(tensors[name]) for name in model.config.graph.params}
    model.load_state_dict(state, strict=True, assign=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(model.config.graph.params[name].role == "parameter")
