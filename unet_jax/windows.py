"""Layers whose windows touch and do not overlap, without XLA's operations for windows that do.

A max-pool and a transposed convolution by such windows are reshapes around a maximum and around one matrix product. The
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
        *window, features, _ = kernel.shape
        painted = jnp.tensordot(x, kernel, (-1, -1), precision=self.precision)  # (N, *spatial, *window, out)
        dims = len(window)
        order = [axis for d in range(dims) for axis in (1 + d, 1 + dims + d)]
        sizes = [n * w for n, w in zip(x.shape[1:-1], window, strict=True)]
        y = painted.transpose(0, *order, 1 + 2 * dims).reshape(x.shape[0], *sizes, features)
        return y if bias is None else y + spread(bias, y, self.cpu_step)
