"""Convolutions that PyTorch lacks. `unet_jax/nn/convolution.py` has the same in Flax.

Tensors are channels-first, (N, C, *spatial). Weights are (out, in, *window), those of transposed convolutions (in, out,
*window).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class StdConv(nn.modules.conv._ConvNd):
    """A convolution whose weight is standardised per output channel before use, with 1e-5 added to the variance.

    weight ← (weight − mean) / sqrt(variance + 1e-5) (Qiao et al. 2019, arXiv 1903.10520).
    """

    def __init__(self, channels_in: int, channels_out: int, window: tuple[int, ...], stride: tuple[int, ...]):
        pads, ones, zeros = tuple((n - 1) // 2 for n in window), (1,) * len(window), (0,) * len(window)
        super().__init__(channels_in, channels_out, window, stride, pads, ones, False, zeros, 1, False, "zeros")

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        axes = tuple(range(1, self.weight.dim()))
        variance, mean = torch.var_mean(self.weight, dim=axes, keepdim=True, unbiased=False)
        convolve: Any = F.conv2d if x.dim() == 4 else F.conv3d
        return convolve(x, (self.weight - mean) * torch.rsqrt(variance + 1e-5), None, self.stride, self.padding)


class CroppedConvTranspose(nn.modules.conv._ConvTransposeNd):
    """A transposed convolution whose output is cropped by `cut` pixels at the low and at the high end. PyTorch's
    `padding` and `output_padding` cannot express two different numbers."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        window: tuple[int, ...],
        stride: tuple[int, ...],
        cut: tuple[int, int],
        bias: bool,
    ):
        ones, zeros = (1,) * len(window), (0,) * len(window)
        super().__init__(channels_in, channels_out, window, stride, zeros, ones, True, zeros, 1, bias, "zeros")
        self.cut = cut

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *enlarged"]:
        transposed: Any = F.conv_transpose2d if x.dim() == 4 else F.conv_transpose3d
        y = transposed(x, self.weight, self.bias, self.stride)
        for axis in range(2, y.dim()):
            y = y.narrow(axis, self.cut[0], y.shape[axis] - sum(self.cut))
        return y
