"""3x3 convolutions by Winograd's minimal filtering: 16 products for 2x2 outputs instead of 36.

F(2x2, 3x3) of Lavin and Gray 2016, arXiv 1509.09308: y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A for tiles d of 4x4 inputs that
overlap by two, with ∘ a matrix product over the channels. In exact arithmetic it equals the convolution; in float32 its
rounding error is about that of the direct sum (`parity_tests/jax/nn/cpu/test_convolution.py`).

The gradient for the input is such a convolution, too (`unet_jax.nn.cpu.convolution`). The gradient for the kernel has
long sums and would not become faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

Grid = list[list[Array]]
"""Arrays, indexed by row and column."""

_IN_CACHE = 8 * 2**20
"""Maximum size, in bytes, of an input whose transformed tiles, four times as large, fit into a CPU's last-level
cache."""
_SAVED, _SAVED_IN_MEMORY = 20, 60
"""Minimum of channels_in · channels_out / (channels_in + channels_out), the products saved per value moved, from which
Winograd is faster: if the tiles fit into the cache, and if they do not. The limits were measured with single layers on
two cores of x86-64; `python -m benchmarks.train` times a whole step."""
_SMALLEST = 5e6
"""Minimum number of multiplications in each of the sixteen matrix products; below, the overhead of sixteen products
costs more than Winograd saves."""


def is_profitable(shape: Sequence[int], channels_out: int) -> bool:
    """Whether Winograd applies to a valid 3x3 convolution of images (N, H, W, C) and beats the direct one on a CPU."""
    images, height, width, channels = shape
    if height % 2 or width % 2 or min(height, width) < 4:
        return False
    tiles = images * (height // 2 - 1) * (width // 2 - 1)
    saved = channels * channels_out / (channels + channels_out)
    enough = _SAVED if 4 * math.prod(shape) <= _IN_CACHE else _SAVED_IN_MEMORY
    return saved >= enough and tiles * channels * channels_out >= _SMALLEST


def winograd(x: Array, kernel: Grid, channels: int) -> Array:
    """The valid convolution of images (N, H, W, C), H and W even and at least 4: (N, H − 2, W − 2, K).

    kernel: three by three matrices, which are summed over their axis `channels`: (C, K) for 0, (K, C) for 1.
    """
    n, height, width, _ = x.shape
    tiles_down, tiles_across = height // 2 - 1, width // 2 - 1
    parts = x.reshape(n, height // 2, 2, width // 2, 2, -1)

    def of_tiles(i: int, j: int) -> Array:  # value (i, j) of every tile, (N, tiles down, tiles across, C)
        return parts[:, i // 2 : i // 2 + tiles_down, i % 2, j // 2 : j // 2 + tiles_across, j % 2]

    tiles = _both_axes(_of_input, [[of_tiles(i, j) for j in range(4)] for i in range(4)])
    weights = _both_axes(_of_kernel, kernel)
    dims, exact = (((3,), (channels,)), ((), ())), jax.lax.Precision.HIGHEST
    products = [
        [jax.lax.dot_general(t, w, dims, exact) for t, w in zip(*rows, strict=True)]
        for rows in zip(tiles, weights, strict=True)
    ]
    y = _both_axes(_of_output, products)
    return jnp.stack([jnp.stack(row, 3) for row in y], 2).reshape(n, height - 2, width - 2, -1)


def _of_input(d: Sequence[Array]) -> list[Array]:
    """Bᵀ d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _of_kernel(g: Sequence[Array]) -> list[Array]:
    """G g."""
    return [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]]


def _of_output(m: Sequence[Array]) -> list[Array]:
    """Aᵀ m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _both_axes(transform: Callable[[Sequence[Array]], list[Array]], grid: Grid) -> Grid:
    """A transform of columns, then of rows."""
    columns = [transform(column) for column in zip(*grid, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]
