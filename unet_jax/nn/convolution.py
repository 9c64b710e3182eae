"""Convolutions in Flax NNX. `unet_torch/nn/convolution.py` has the same in PyTorch.

Arrays are channels-last, (N, *spatial, C). Kernels are (*window, in, out), those of transposed convolutions (*window,
out, in).
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
    """A tensor of the checkpoint that no optimizer changes. Its type puts it among the statistics."""


class Conv(nnx.Conv):
    """A convolution without groups or dilation. `padding`: for each axis, the number of zeros on either side.

    Same as `nnx.Conv`, except in a training step on one CPU: see `unet_jax.nn.cpu`.
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
        axes, dtype = conv_axes(inputs.ndim), jnp.promote_types(inputs.dtype, kernel.dtype)  # as in nnx.Conv
        x, kernel = inputs.astype(dtype), kernel.astype(dtype)
        options: Any = (self.strides, self.padding)
        return jax.lax.conv_general_dilated(x, kernel, *options, dimension_numbers=axes)


class UpConv(nnx.ConvTranspose):
    """A non-overlapping transposed convolution: stride and window are equal, so every output depends on one input
    pixel.

    The kernel is (*window, out, in), PyTorch's with its axes moved: y[s·i + k] = Σ_c x[i, c] · kernel[k, :, c] + bias.
    It is computed by matrix products: on a CPU, XLA runs and differentiates them much faster than its general
    transposed convolution (`python -m benchmarks.train` measures the step).
    """

    cpu_step = False

    def __call__(self, inputs: Float[Array, "n *spatial c"]) -> Float[Array, "n *enlarged k"]:
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = self._upsample_by_matmul(x, kernel)
        return y if bias is None else y + broadcast_channels(bias, y, self.cpu_step)

    def _upsample_by_matmul(self, x: Array, kernel: Array, axis: int = 1) -> Array:
        """(N, *spatial, in) times (*window, out, in), without bias. The window begins at this axis of `x`.

        One matrix product per row of the window: rows are contiguous in the result. One product for the whole window
        would need a transposed copy of the gradient.
        """
        *window, features, channels = kernel.shape
        if len(window) > 1:
            y = jnp.stack([self._upsample_by_matmul(x, part, axis + 1) for part in kernel], axis + 1)
            return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
        y = jnp.matmul(x.reshape(-1, channels), kernel.reshape(-1, channels).T, precision=self.precision)
        return y.reshape(*x.shape[:-2], -1, features)
