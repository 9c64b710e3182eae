"""Convolutions of volumes by Winograd's minimal filtering in each plane.

The planes of the input that one plane of the output depends on are put beside each other as channels. Their convolution
is one of images, with longer sums, and `unet_jax.nn.cpu.winograd` transforms the output once instead of once for each
plane of the kernel. A loop over the planes keeps the transformed tiles in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from .winograd import winograd

_SAVED = 10
"""Minimum of channels_in · channels_out / (channels_in + channels_out), the products saved per value moved, with the
channels of all planes of the kernel as channels_in."""
_SMALLEST = 5e5
"""Minimum number of multiplications in each of a plane's sixteen matrix products. Both limits were measured with single
layers on x86-64; `python -m benchmarks.train --spatial-dims 3` times a whole step."""


def is_profitable_in_planes(shape: Sequence[int], kernel: Sequence[int]) -> bool:
    """Whether `in_planes` applies to volumes (N, D, H, W, C) and a kernel (d, h, w, C, K), and beats the direct sum.

    Kernels of one plane are convolutions of images.
    """
    height, width = shape[2:4]
    if kernel[0] == 1 or tuple(kernel[1:3]) != (3, 3) or height % 2 or width % 2 or min(height, width) < 4:
        return False
    tiles = (height // 2 - 1) * (width // 2 - 1)
    channels, features = kernel[0] * kernel[3], kernel[4]
    return channels * features / (channels + features) >= _SAVED and tiles * channels * features >= _SMALLEST


def in_planes(x: Array, kernel: Array) -> Array:
    """The valid convolution of volumes (N, D, H, W, C), H and W even and at least 4, by (d, 3, 3, C, K):
    (N, D − d + 1, H − 2, W − 2, K)."""
    images, depth = len(x), x.shape[1] - len(kernel) + 1
    beside = jnp.concatenate(list(kernel), 2)  # (3, 3, d · C, K)
    weights = [[beside[i, j] for j in range(3)] for i in range(3)]

    def plane(at: Array) -> Array:
        planes = jax.lax.dynamic_slice(x, (at // depth, at % depth, 0, 0, 0), (1, len(kernel), *x.shape[2:]))
        return winograd(jnp.concatenate([planes[:, i] for i in range(len(kernel))], -1), weights, channels=0)

    y = jax.lax.map(plane, jnp.arange(images * depth))
    return y.reshape(images, depth, *y.shape[2:])
