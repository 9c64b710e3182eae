"""Computes a network strip by strip in PyTorch: see `unet_spec.tiling.strips`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unet_spec.tiling import strip_runtime
from unet_spec.tiling.strip_runtime import Framework, Margins
from unet_spec.tiling.strips import Strip


def _pad(x: Tensor, margins: Margins) -> Tensor:
    return F.pad(x, [zeros for pair in reversed(margins) for zeros in pair])


def _max_pool(x: Tensor, window: tuple[int, ...]) -> Tensor:
    return F.max_pool2d(x, window) if len(window) == 2 else F.max_pool3d(x, window)


def _along(x: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    weights = torch.as_tensor(matrix, dtype=x.dtype, device=x.device)
    return torch.movedim(torch.movedim(x, axis, -1) @ weights.T, -1, axis)


def _conv(x: Tensor, module: Any, stride: tuple[int, ...], margins: Margins) -> Tensor:
    (before, after), *others = margins
    if before or after:
        x = _pad(x, ((before, after), *((0, 0) for _ in others)))
    convolve = F.conv2d if len(stride) == 2 else F.conv3d
    return convolve(x, module.weight, module.bias, stride, (0, *(zeros for zeros, _ in others)))


class StripRuntime(strip_runtime.StripRuntime):
    """Runs a model in evaluation mode on images of any height; arrays are (N, C, *spatial)."""

    name, framework = "torch", Framework(2, 1, torch.cat, _pad, _max_pool, _along, _conv, torch.clone)

    def __init__(self, model: Any):
        super().__init__(model)
        self.model, parameter = model, next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype

    @torch.inference_mode()
    def run(self, strip: Strip, image: np.ndarray, maps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        x = torch.from_numpy(image).movedim(-1, 1).to(self.device, self.dtype).contiguous()
        return self.advance(self.model, (strip.steps, strip.free), x, maps, strip.matrices), maps

    def numpy(self, x: Tensor) -> np.ndarray:
        x = x.cpu()
        return np.moveaxis((x.float() if x.dtype == torch.bfloat16 else x).numpy(), 1, -1)
