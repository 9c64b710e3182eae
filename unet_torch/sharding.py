"""Fully sharded data parallelism (FSDP2): the units in which a network is sharded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from .network import Network


def sharding_units(model: Network) -> Iterator[nn.Module]:
    """The sharding units: every block of the encoder, the decoder and similar lists, and the head.

    Lists of modules are replaced by their items, to any depth. Every parameter belongs to exactly one unit.
    """
    yield from _units(model)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _units(child)
        elif next(child.parameters(), None) is not None:
            yield child


def shard(model: Network, **options: Any) -> Network:
    """Applies `torch.distributed.fsdp.fully_shard` to every unit and to the model, in place, and returns the model.

    options: options of `fully_shard`, such as mesh, mp_policy and reshard_after_forward. Names in the state_dict do not
        change; its tensors become DTensors, and `.full_tensor()` gives what `unet_torch.weights` and `save_pretrained`
        need.
    """
    from torch.distributed.fsdp import fully_shard

    for unit in sharding_units(model):
        fully_shard(unit, **options)
    fully_shard(model, **options)
    return model
