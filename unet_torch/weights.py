"""Weights in and out of a PyTorch model, as NumPy arrays under the names of the spec: those of its state_dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from unet_spec import InputError, check_tensors, initial_tensors

if TYPE_CHECKING:
    from unet_torch.network import Network


def initialize(model: Network, seed: int) -> None:
    """Fills the model, in place, with `unet_spec.initial_tensors`: the paper's initialisation."""
    state = model.state_dict()
    for name, array in initial_tensors(model.config.graph, seed).items():
        state[name].copy_(torch.from_numpy(array))


def tensors(model: Network) -> dict[str, np.ndarray]:
    """Copies of every parameter and buffer: PyTorch names, axis order and dtype. Raises InputError on bfloat16."""
    state = model.state_dict()
    check_tensors(model.config.graph, state, "the PyTorch model")  # type: ignore[arg-type]
    if brief := [name for name, t in state.items() if t.dtype == torch.bfloat16]:
        raise InputError(f"{brief[0]} is bfloat16, which NumPy does not have; convert the model with .float() first")
    # A copy: tensors on the CPU share their memory with .numpy(), and training would go on changing it.
    return {name: np.array(t.detach().cpu().numpy(), order="C", copy=True) for name, t in state.items()}


def load_tensors(model: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces every parameter and buffer by a copy, dtype kept. Raises InputError unless they are the model's."""
    check_tensors(model.config.graph, tensors, "the PyTorch model")
    state = {
        name: torch.from_numpy(np.array(tensors[name], order="C", copy=True)) for name in model.config.graph.params
    }
    model.load_state_dict(state, strict=True, assign=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(model.config.graph.params[name].role == "parameter")
