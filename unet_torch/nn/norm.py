"""Batch and group norm in PyTorch. `unet_jax/nn/norm.py` has the norm that differs from Flax's."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's batch norm, without the counter `num_batches_tracked` in the state_dict: a fixed momentum never reads
    it.

    With `use_scale` False, the norm has a bias only. Networks use the subclasses `BatchNorm2d` and `BatchNorm3d`, which
    also subclass PyTorch's, so that code that searches for `nn.BatchNorm2d` finds them.
    """

    def __init__(self, features: int, eps: float, momentum: float, use_scale: bool = True):
        super().__init__(features, eps, momentum)
        self._non_persistent_buffers_set.add("num_batches_tracked")
        if not use_scale:
            self.register_parameter("weight", None)

    def reset_parameters(self) -> None:
        """Statistics, scale and bias as in a new layer."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args: Any, **kwargs: Any):
        """Also accepts the state of PyTorch's BatchNorm: its counter is dropped, and a missing counter stays
        missing."""
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *args, **kwargs)
        if self.num_batches_tracked is not None and self.num_batches_tracked.is_meta:
            self.num_batches_tracked = torch.zeros((), dtype=torch.long, device=self.bias.device)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (4, 5):
            raise ValueError(f"expected (N, C, *spatial) with 2 or 3 spatial axes, got {tuple(input.shape)}")


class BatchNorm2d(BatchNorm, nn.BatchNorm2d):
    """`BatchNorm` of images (N, C, H, W)."""


class BatchNorm3d(BatchNorm, nn.BatchNorm3d):
    """`BatchNorm` of volumes (N, C, D, H, W)."""


class GroupNorm(nn.GroupNorm):
    """PyTorch's group norm, also for groups of one value, which F.group_norm refuses: the result is the bias."""

    def forward(self, input: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
