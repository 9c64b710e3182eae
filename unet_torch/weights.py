"""Weights in and out of a PyTorch model, as NumPy arrays under the names of the spec: those of its state_dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from unet_spec import InputError, check_tensors

if TYPE_CHECKING:
    from unet_torch.unet import UNet


def initialize(model: UNet, seed: int) -> None:
    """Draws every weight from N(0, sqrt(2 / N)), N the fan-in (the paper, section 3); biases 0, scales 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        state = model.state_dict()
        for name, param in model.config.graph.params.items():
            if state[name].is_meta:
                continue
            if param.std:
                state[name].copy_(torch.randn(param.shape, generator=generator) * param.std)
            else:
                state[name].fill_(param.constant)


def tensors(model: UNet) -> dict[str, np.ndarray]:
    """Copies of every parameter and buffer: PyTorch names, axis order and dtype. Raises InputError on bfloat16."""
    state = model.state_dict()
    check_tensors(model.config.graph, state, "the PyTorch model")  # type: ignore[arg-type]
    if brief := [name for name, t in state.items() if t.dtype == torch.bfloat16]:
        raise InputError(f"{brief[0]} is bfloat16, which NumPy does not have; convert the model with .float() first")
    # A copy: tensors on the CPU share their memory with .numpy(), and training would go on changing it.
    return {name: np.array(t.detach().cpu().numpy(), order="C", copy=True) for name, t in state.items()}


def load_tensors(model: UNet, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces every parameter and buffer by a copy, dtype kept. Raises InputError unless they are the model's."""
    check_tensors(model.config.graph, tensors, "the PyTorch model")
    state = {
        name: torch.from_numpy(np.array(tensors[name], order="C", copy=True)) for name in model.config.graph.params
    }
    model.load_state_dict(state, strict=True, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
