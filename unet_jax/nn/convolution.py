"""Convolutions in Flax NNX. `unet_torch/nn/convolution.py` has the same in PyTorch.

Arrays are channels-last, (N, *spatial, C). Kernels are (*window, in, out), of transposed convolutions (*window, out,
in).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from .cpu.convolution import conv
from .cpu.reductions import broadcast_channels
from .spatial import conv_axes


class Fixed(nnx.BatchStat):
    """A tensor of the checkpoint that no optimizer changes; it is kept with the running statistics."""


class Conv(nnx.Conv):
    """A convolution without groups or dilation; `padding`: pairs of zeros a side, per axis.

    It is `nnx.Conv`, except in a training step on one CPU: see `unet_jax.nn.cpu`.
    """

    cpu_step = False

    def __call__(self, inputs: Float[Array, "n *spatial c"], *options: Any) -> Float[Array, "n *out k"]:
        if not self.cpu_step:
            return super().__call__(inputs, *options)
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = conv(x, kernel, self.strides, cast(Sequence[tuple[int, int]], self.padding))
        return y if bias is None else y + broadcast_channels(bias, y, staged=True)


class StdConv(nnx.Conv):
    """A convolution whose kernel is standardised per output channel before use, with 1e-5 added to the variance.

    kernel ← (kernel − mean) / sqrt(variance + 1e-5) (Qiao et al. 2019, arXiv 1903.10520).
    """

    def __call__(self, inputs: Float[Array, "n *spatial c"], *_: Any) -> Float[Array, "n *out k"]:
        kernel = self.kernel[...]
        axes = tuple(range(kernel.ndim - 1))
        centred = kernel - kernel.mean(axes, keepdims=True)
        kernel = centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + 1e-5)
        axes, dtype = conv_axes(inputs.ndim), jnp.promote_types(inputs.dtype, kernel.dtype)  # as nnx.Conv has it
        x, kernel = inputs.astype(dtype), kernel.astype(dtype)
        options: Any = (self.strides, self.padding)
        return jax.lax.conv_general_dilated(x, kernel, *options, dimension_numbers=axes)


class UpConv(nnx.ConvTranspose):
    """A non-overlapping transposed convolution: its stride is its window, so that every output has one source.

    Kernel (*window, out, in), as PyTorch's with its axes moved: y[s·i + k] = Σ_c x[i, c] · kernel[k, :, c] + bias.
    It is computed as matrix products, which XLA runs, and differentiates, much faster on a CPU than its general
    transposed convolution (`python -m benchmarks.train` measures the step).
    """

    cpu_step = False

    def __call__(self, inputs: Float[Array, "n *spatial c"]) -> Float[Array, "n *enlarged k"]:
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = self._upsample_by_matmul(x, kernel)
        return y if bias is None else y + broadcast_channels(bias, y, self.cpu_step)

    def _upsample_by_matmul(self, x: Array, kernel: Array, axis: int = 1) -> Array:
        """(N, *spatial, in) by (*window, out, in), the window beginning at this axis of `x`: without bias.

        One matrix product for each row of the window, since rows lie in memory as they do in the result. With one for
        the whole window, the gradient must be put into another order first.
        """
        *window, features, channels = kernel.shape
        if len(window) > 1:
            y = jnp.stack([self._upsample_by_matmul(x, part, axis + 1) for part in kernel], axis + 1)
            return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
        y = jnp.matmul(x.reshape(-1, channels), kernel.reshape(-1, channels).T, precision=self.precision)
        return y.reshape(*x.shape[:-2], -1, features)
