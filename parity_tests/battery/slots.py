"""Converts optimizer state between torch.optim and optax through the weight map.

A slot (momentum, first and second moment) has the shape of its parameter, so it is converted like a weight. PyTorch
counts the steps of every parameter separately, optax once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from unet_spec import Graph
from unet_spec.weights import weight_map

SLOTS = {"momentum_buffer": "trace", "exp_avg": "mu", "exp_avg_sq": "nu"}
"""Maps PyTorch's names of slots to optax's."""


def from_flax(graph: Graph, state: nnx.State) -> dict[str, np.ndarray]:
    """An nnx state of the parameters (no buffers) as NumPy arrays with PyTorch's names and axes."""
    flat = {tuple(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state)}
    lines = [e for e in weight_map.entries(graph) if e.role == "parameter"]
    assert {e.flax for e in lines} == set(flat), "not the parameters of this network"
    return {e.pytorch: weight_map.rearrange(flat[e.flax], e.flax_axes, e.pytorch_axes) for e in lines}


def to_flax(graph: Graph, tensors: Mapping[str, np.ndarray], like: nnx.State) -> nnx.State:
    """The inverse: a state with the structure of `like`."""
    lines = {e.flax: e for e in weight_map.entries(graph) if e.role == "parameter"}
    flat = []
    for path, leaf in nnx.to_flat_state(like):
        e = lines[tuple(map(str, path))]
        array = weight_map.rearrange(tensors[e.pytorch], e.pytorch_axes, e.flax_axes)
        flat.append((path, leaf.replace(jnp.array(array))))
    return nnx.from_flat_state(flat)


def torch_slots(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, dict], int]:
    """Slot (PyTorch's name) to parameter to array, copied; and the steps taken (0 where the optimizer counts none)."""
    found: dict[str, dict] = {}
    steps = {0}
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state[parameter].items():
            if slot in SLOTS and value is not None:
                found.setdefault(slot, {})[name] = value.detach().numpy().copy()
            elif slot == "step":
                steps.add(int(value))
    return found, max(steps)


def load_torch_slots(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, slots: Mapping[str, Mapping], steps: int
) -> None:
    """Sets the slots of an optimizer that has taken no step yet."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        state = {slot: torch.from_numpy(np.array(values[name])) for slot, values in slots.items()}
        if "exp_avg" in slots:  # only Adam variants count steps, in a float32 scalar
            state["step"] = torch.tensor(float(steps))
        optimizer.state[parameter] = state


def optax_slots(graph: Graph, state: Any) -> tuple[dict[str, dict], int]:
    """The same from optax's state; slots that the optimizer lacks are left out."""
    found = {}
    for slot, theirs in SLOTS.items():
        value = optax.tree_utils.tree_get(state, theirs)
        if value is not None:
            found[slot] = from_flax(graph, value)
    counts = optax.tree_utils.tree_get_all_with_path(state, "count")
    return found, max((int(count) for _, count in counts), default=0)


def load_optax_slots(graph: Graph, state: Any, slots: Mapping[str, Mapping], steps: int) -> Any:
    """`state` (from `init`) with these slots and, in every counter, this number of steps."""
    for slot, values in slots.items():
        like = optax.tree_utils.tree_get(state, SLOTS[slot])
        state = optax.tree_utils.tree_set(state, **{SLOTS[slot]: to_flax(graph, values, like)})
    if optax.tree_utils.tree_get_all_with_path(state, "count"):
        state = optax.tree_utils.tree_set(state, count=jnp.asarray(steps, jnp.int32))
    return jax.tree.map(jnp.copy, state)  # counters must not share an array, since the trainer donates its state
