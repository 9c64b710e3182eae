"""Fully sharded data parallelism (FSDP2): which parts of a network are gathered together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from .network import Network


def sharding_units(model: Network) -> Iterator[nn.Module]:
    """The parts that are each sharded as one: every block of the encoder, the decoder and the like, and the head.

    A list of modules counts as its items, to any depth. No parameter belongs to two units, and all belong to one.
    """
    yield from _units(model)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _units(child)
        elif next(child.parameters(), None) is not None:
            yield child


def shard(model: Network, **options: Any) -> Network:
    """The same model, in place, with `torch.distributed.fsdp.fully_shard` around every unit and the whole.

    options: options of `fully_shard`, such as mesh, mp_policy and reshard_after_forward. Names in the state_dict stay;
        a tensor
    there is a DTensor: `.full_tensor()` gives what `unet_torch.weights` and `save_pretrained` need.
    """
    from torch.distributed.fsdp import fully_shard

    for unit in sharding_units(model):
        fully_shard(unit, **options)
    fully_shard(model, **options)
    return model
