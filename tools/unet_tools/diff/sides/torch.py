"""A PyTorch module as one side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from .capture import Handler, around_torch
from .module import Layout, ModuleSide


class TorchSide(ModuleSide):
    """A PyTorch module as one side. Buffers, hooks, the random state and `.grad` are restored."""

    channels_first = True

    def __init__(self, model: nn.Module, name: str, layout: Layout = "channels"):
        own = getattr(model, "channels_last", ())  # a network may declare modules that are not in PyTorch's order
        super().__init__(model, name, dict.fromkeys(own, "same") if own and layout == "channels" else layout)

    def around(self, model: nn.Module, handler: Handler) -> AbstractContextManager[dict[str, nn.Module]]:
        return around_torch(model, handler)

    @contextmanager
    def fresh(self, gradient: bool = False) -> Iterator[nn.Module]:
        before = {name: b.clone() for name, b in self.model.named_buffers()} if self._changes() else {}
        try:
            with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(gradient):
                torch.manual_seed(0)
                yield self.model
        finally:
            for name, value in before.items():
                self.model.get_buffer(name).data.copy_(value)

    def _changes(self) -> bool:
        return any(module.training for module in self.model.modules())

    def is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor)

    def numpy(self, array: torch.Tensor) -> np.ndarray:
        array = array.detach().cpu()
        # A copy, since the module may change the array in place. NumPy has no bfloat16.
        return np.array((array.float() if array.dtype == torch.bfloat16 else array).numpy(), copy=True)

    def native(self, array: np.ndarray, like: tuple[torch.dtype | None, torch.device]) -> torch.Tensor:
        dtype, device = like
        tensor = torch.from_numpy(np.array(array, order="C", copy=True))
        if dtype is not None and tensor.is_floating_point() == dtype.is_floating_point:
            tensor = tensor.to(dtype)
        return tensor.to(device)

    def like(self, array: torch.Tensor | None) -> tuple[torch.dtype | None, torch.device]:
        if array is not None:
            return array.dtype, array.device
        first = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        return (None, torch.device("cpu")) if first is None else (first.dtype, first.device)

    def eps(self, array: torch.Tensor) -> float:
        return torch.finfo(array.dtype).eps if array.is_floating_point() else 0.0

    def weights(self, path: str) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in self.model.get_submodule(path).named_parameters(recurse=False)}

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        return array.clone()

    def vjp(
        self, function: Callable[[Any, list], list], arrays: list, cotangents: Callable[[list], list]
    ) -> tuple[list, dict[str, np.ndarray]]:
        parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        variables = [a.detach().clone().requires_grad_() for a in arrays]
        with self.fresh(gradient=True) as model:
            outputs = function(model, variables)
            pairs = [(o, c) for o, c in zip(outputs, cotangents(outputs), strict=True) if o.requires_grad]
            variables += parameters.values()
            gradients: Any = [None] * len(variables)
            if pairs and variables:
                tops, weights = zip(*pairs, strict=True)
                gradients = torch.autograd.grad(tops, variables, weights, allow_unused=True)
        full = [torch.zeros_like(v) if g is None else g for g, v in zip(gradients, variables, strict=True)]
        named = zip(parameters, full[len(arrays) :], strict=True)
        return full[: len(arrays)], {name: self.numpy(g) for name, g in named}
