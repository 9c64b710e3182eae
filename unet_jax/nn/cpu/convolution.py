"""Convolution for a training step on one CPU: the fastest of several exact algorithms for the given shapes.

XLA's own convolution is fast in 2-D without padding. Images are therefore padded first, and volumes are convolved plane
by plane. With one input channel, a 3x3 convolution is the weighted sum of nine shifted images, which XLA fuses with
bias and activation; with many channels, Winograd's algorithm is used: of images by `unet_jax.nn.cpu.winograd`, of
volumes by `unet_jax.nn.cpu.volumes`. The gradient for the input is again such a convolution. Both gradients are defined
by `jax.custom_vjp`, so forward-mode derivatives do not exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add

import jax
import numpy as np
from jax import Array
from jax import numpy as jnp

from ..spatial import conv_axes
from .volumes import in_planes, is_profitable_in_planes
from .winograd import is_profitable, winograd

_FEW = 9
"""Maximum number of shifted images. XLA recomputes each one where it is used; with more, that costs more than it
saves."""


def conv(x: Array, kernel: Array, strides: int | Sequence[int] | None, padding: Sequence[tuple[int, int]]) -> Array:
    """The convolution of (N, *spatial, C) by (*window, C, K). `padding`: for each axis, the number of zeros on either
    side."""
    window, steps = kernel.shape[:-2], np.broadcast_to(strides or 1, kernel.ndim - 2).tolist()
    if set(steps) == {1}:
        if set(window) == {1} and not np.any(padding):
            return jnp.tensordot(x, kernel.reshape(kernel.shape[-2:]), 1, precision=jax.lax.Precision.HIGHEST)
        if len(window) in (2, 3) and x.dtype != jnp.bfloat16:
            return convolve(jnp.pad(x, ((0, 0), *padding, (0, 0))), kernel)
    return jax.lax.conv_general_dilated(x, kernel, steps, padding, dimension_numbers=conv_axes(x.ndim))


def convolve(x: Array, kernel: Array) -> Array:
    """The valid convolution with stride 1 of images (N, H, W, C) by (h, w, C, K), or volumes (N, D, H, W, C) by
    (d, h, w, C, K): (N, *spatial, K)."""
    if kernel.ndim == 4:
        return _convolve_images(x, kernel)
    if is_profitable_in_planes(x.shape, kernel.shape):
        return _convolve_volumes(x, kernel)
    return _sum_of_images(x, kernel)


def _sum_of_images(x: Array, kernel: Array) -> Array:
    """The sum of the convolutions of all planes, as images, by each plane of the kernel."""
    y = reduce(add, (_convolve_images(planes, k) for planes, k in zip(_planes(x, len(kernel)), kernel, strict=True)))
    return y.reshape(len(x), -1, *y.shape[1:])


def _planes(x: Array, depth: int) -> list[Array]:
    """For each plane of a kernel with `depth` planes, the planes of all volumes that it is multiplied by, as images."""
    count = x.shape[1] - depth + 1
    return [x[:, i : i + count].reshape(-1, *x.shape[2:]) for i in range(depth)]


@jax.custom_vjp
def _convolve_volumes(x: Array, kernel: Array) -> Array:
    return in_planes(x, kernel)


def _volumes_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    depth = len(kernel)
    padded = jnp.pad(g, ((0, 0), (depth - 1, depth - 1), (2, 2), (2, 2), (0, 0)))
    turned = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    if is_profitable_in_planes(padded.shape, turned.shape):
        of_input = in_planes(padded, turned)
    else:
        of_input = jax.vjp(lambda x: _sum_of_images(x, kernel), x)[1](g)[0]
    return of_input, jnp.stack([_of_kernel(planes, g.reshape(-1, *g.shape[2:])) for planes in _planes(x, depth)])


_convolve_volumes.defvjp(lambda x, kernel: (_convolve_volumes(x, kernel), (x, kernel)), _volumes_backward)


def direct(x: Array, kernel: Array) -> Array:
    """XLA's own convolution, for images."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@jax.custom_vjp
def _convolve_images(x: Array, kernel: Array) -> Array:
    if x.shape[-1] == 1 and math.prod(kernel.shape[:2]) <= _FEW:
        height, width = (n - k + 1 for n, k in zip(x.shape[1:3], kernel.shape, strict=False))
        shifts = np.ndindex(kernel.shape[:2])
        return reduce(add, (x[:, i : i + height, j : j + width] * kernel[i, j, 0] for i, j in shifts))
    if kernel.shape[:2] == (3, 3) and is_profitable(x.shape, kernel.shape[-1]):
        return winograd(x, [[kernel[i, j] for j in range(3)] for i in range(3)], channels=0)
    return direct(x, kernel)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _convolve_images(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    return _of_input(*saved, g), _of_kernel(saved[0], g)


_convolve_images.defvjp(_forward, _backward)


def _of_input(x: Array, kernel: Array, g: Array) -> Array:
    padded = (*g.shape[:1], *(n + 4 for n in g.shape[1:3]), g.shape[3])
    if kernel.shape[:2] == (3, 3) and is_profitable(padded, x.shape[3]):
        turned = [[kernel[2 - i, 2 - j] for j in range(3)] for i in range(3)]
        return winograd(jnp.pad(g, ((0, 0), (2, 2), (2, 2), (0, 0))), turned, channels=1)
    _, of_input = jax.vjp(lambda x: direct(x, kernel), x)
    return of_input(g)[0]


def _of_kernel(x: Array, g: Array) -> Array:
    """The gradient for the kernel, (h, w, C, K): a convolution by `g` in which images and channels are exchanged.

    XLA derives the same from `direct`, but copies `g`.
    """
    return direct(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)).transpose(1, 2, 0, 3)
