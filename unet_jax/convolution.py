"""The convolution of all networks, and what a training step on a CPU does differently.

XLA's CPU code is slow in three places of a U-Net's step: convolutions (`unet_jax.cpu_convolution`), sums over all
pixels of a channel, which are the gradient of every bias and the statistics of every norm, and the gradient of a 1x1
convolution's kernel. `make_step` therefore sets the attribute `cpu_step` of these layers, where it compiles for one
CPU: `model.set_attributes(cpu_step=True)`. The numbers are the same to float32 rounding. Everywhere else the layers are
XLA's own operations and `Conv` is `nnx.Conv`, in training and in evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from unet_jax.cpu_convolution import convolve


class Conv(nnx.Conv):
    """A convolution without groups or dilation, on (N, *spatial, C); `padding`: pairs of zeros a side, per axis."""

    cpu_step = False

    def __call__(self, inputs: Array) -> Array:
        if not self.cpu_step:
            return super().__call__(inputs)
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = self._convolved(x, kernel)
        return y if bias is None else y + spread(bias, y, True)

    def _convolved(self, x: Array, kernel: Array) -> Array:
        window, strides = kernel.shape[:-2], np.broadcast_to(self.strides or 1, kernel.ndim - 2).tolist()
        zeros = cast(Sequence[tuple[int, int]], self.padding)
        if set(strides) == {1}:
            if set(window) == {1} and not np.any(zeros):
                return jnp.tensordot(x, kernel.reshape(kernel.shape[-2:]), 1, precision=jax.lax.Precision.HIGHEST)
            if len(window) in (2, 3) and x.dtype != jnp.bfloat16:
                return convolve(jnp.pad(x, ((0, 0), *zeros, (0, 0))), kernel)
        return jax.lax.conv_general_dilated(x, kernel, strides, zeros, dimension_numbers=conv_axes(x.ndim))


def conv_axes(ndim: int) -> tuple[str, str, str]:
    """`dimension_numbers` of arrays with so many axes, channels last."""
    spatial = "DHW"[-(ndim - 2) :]
    return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"


def spread(values: Array, like: Array, in_two_steps: bool) -> Array:
    """One value a channel (C,), to be added to or multiplied with `like` (N, *spatial, C).

    In two steps: as (N, …, 1, C), so that the gradient is summed over the last spatial axis first and then over the
    others, which XLA's CPU code does much faster than all of them at once.
    """
    if not in_two_steps:
        return values
    return jax.lax.optimization_barrier(jnp.broadcast_to(values, (*like.shape[:-2], 1, like.shape[-1])))


def channel_mean(x: Array, in_two_steps: bool) -> Array:
    """The mean of each channel, (N, *spatial, C) to (C,). In two steps: as in `spread`."""
    if in_two_steps:
        x = jax.lax.optimization_barrier(x.mean(-2))
    return x.mean(tuple(range(x.ndim - 1)))
