"""Layers whose windows touch and do not overlap, without XLA's operations for windows that do.

A max-pool and a transposed convolution by such windows are reshapes around a maximum and around matrix products. The
arithmetic is the same; on a CPU the step is much faster, since XLA computes the general ones, and their gradients,
value by value (`python -m unet_tools.bench_train` measures the step).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.convolution import spread


def max_pool(x: Array, window: Sequence[int]) -> Array:
    """The maximum of each window, (N, *spatial, C) to (N, *spatial // window, C). What fills no window is left out.

    Of equal values the first has the gradient, and NaN is the greatest, as in torch.nn.MaxPool2d.
    """
    sizes = [size // w for size, w in zip(x.shape[1:-1], window, strict=True)]
    x = x[:, *(slice(n * w) for n, w in zip(sizes, window, strict=True))]
    parts = x.reshape(x.shape[0], *(n for pair in zip(sizes, window, strict=True) for n in pair), x.shape[-1])
    places = [parts[:, *(at for p in place for at in (slice(None), p))] for place in np.ndindex(*window)]
    found = places[0]
    for value in places[1:]:
        found = jnp.where((value > found) | jnp.isnan(value), value, found)
    return found


class UpConv(nnx.ConvTranspose):
    """A transposed convolution with strides as large as its window: each input value paints one window.

    Kernel (*window, out, in), as PyTorch's with its axes moved: y[s·i + k] = Σ_c x[i, c] · kernel[k, :, c] + bias.
    """

    cpu_step = False  # see `unet_jax.convolution`

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        window: Sequence[int],
        rngs: nnx.Rngs,
        dtype: DTypeLike,
        use_bias: bool = True,
    ):
        super().__init__(
            channels_in,
            channels_out,
            tuple(window),
            strides=tuple(window),
            padding="VALID",
            use_bias=use_bias,
            transpose_kernel=True,
            kernel_init=nnx.initializers.zeros,
            param_dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, inputs: Array) -> Array:
        """(N, *spatial, in) to (N, *spatial · window, out)."""
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = self._painted(x, kernel)
        return y if bias is None else y + spread(bias, y, self.cpu_step)

    def _painted(self, x: Array, kernel: Array, axis: int = 1) -> Array:
        """(N, *spatial, in) by (*window, out, in), the window beginning at this axis of `x`: without bias.

        One matrix product for each row of the window, since rows lie in memory as they do in the result. With one for
        the whole window, the gradient must be put into another order first.
        """
        *window, features, channels = kernel.shape
        if len(window) > 1:
            y = jnp.stack([self._painted(x, part, axis + 1) for part in kernel], axis + 1)
            return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
        y = jnp.matmul(x.reshape(-1, channels), kernel.reshape(-1, channels).T, precision=self.precision)
        return y.reshape(*x.shape[:-2], -1, features)
