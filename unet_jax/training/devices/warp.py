"""Samples image, label and weight at the coordinates of a warp.

Two algorithms with the same result. `sample` reads every neighbour of every pixel, which is fast on CPUs and GPUs. A
TPU moves 4 KiB, a tile of its memory, for each gathered number; `sample_by_blocks` therefore gathers once per pixel: a
block of the image that contains all neighbours in all channels.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Float, Integer

LANES = 128
"""Numbers per row of a TPU's registers, the maximum size of a block."""

Sampled = tuple[Float[Array, "*tile c"], Integer[Array, " *tile"], Float[Array, " *tile"] | None]


def sample(
    image: Float[Array, "*window c"],
    label: Integer[Array, " *window"],
    weight: Float[Array, " *window"] | None,
    where: Float[Array, " axes *tile"],
) -> Sampled:
    """Image and weight, linearly interpolated, and the label of the nearest pixel, at the coordinates `where`; the
    window is mirrored at its edges."""
    at = tuple(where)
    channels = [map_coordinates(image[..., c], at, 1, mode="mirror") for c in range(image.shape[-1])]
    labels = map_coordinates(label, at, 0, mode="mirror")
    return jnp.stack(channels, -1), labels, None if weight is None else map_coordinates(weight, at, 1, mode="mirror")


def block_edge(channels: int, axes: int) -> int:
    """Edge length, in pixels, of the largest block that fits into a row; below 2, `sample_by_blocks` cannot be used."""
    return int((LANES // channels) ** (1 / axes) + 1e-9)


def sample_by_blocks(
    image: Float[Array, "*window c"],
    label: Integer[Array, " *window"],
    weight: Float[Array, " *window"] | None,
    where: Float[Array, " axes *tile"],
) -> Sampled:
    """Same as `sample`, up to rounding. Labels must be below 2²⁴, since they are converted to float32."""
    window, axes = label.shape, label.ndim
    maps = [image.astype(jnp.float32), label[..., None].astype(jnp.float32)]
    stack = jnp.concatenate(maps if weight is None else [*maps, weight[..., None]], -1)
    edge = block_edge(stack.shape[-1], axes)
    if edge < 2 or min(window) < 2:
        return sample(image, label, weight, where)
    rows, counts = _blocks(stack, edge)
    lane = np.arange(LANES)
    map_of, pixel = np.divmod(lane, edge**axes)
    local = np.unravel_index(pixel, (edge,) * axes)
    # Coordinates in one row per pixel: the gathered blocks keep the layout that the memory of a TPU has.
    flat = where.reshape(axes, -1, 1)
    number: Array | int = 0
    linear = nearest = jnp.ones((), jnp.float32)
    for axis, n in enumerate(window):
        position = _mirrored(flat[axis], n)
        first = jnp.clip(jnp.floor(position), 0, n - 2)
        share, block = position - first, first.astype(jnp.int32) // (edge - 1)
        number = number * counts[axis] + block
        place = first.astype(jnp.int32) - block * (edge - 1)
        lower, upper = local[axis] == place, local[axis] == place + 1
        linear = linear * jnp.where(lower, 1 - share, jnp.where(upper, share, 0))
        nearest = nearest * jnp.where(share < 0.5, lower, upper)
    values = rows.at[jnp.squeeze(jnp.asarray(number), -1)].get(mode="promise_in_bounds")
    tile, channels = where.shape[1:], image.shape[-1]

    def total(factors: Array, k: int) -> Array:
        return jnp.where(map_of == k, factors * values, 0).sum(-1).reshape(tile)

    return (
        jnp.stack([total(linear, k) for k in range(channels)], -1).astype(image.dtype),
        total(nearest, channels).astype(label.dtype),
        None if weight is None else total(linear, channels + 1),
    )


def _blocks(stack: Float[Array, "*window k"], edge: int) -> tuple[Float[Array, "blocks lanes"], list[int]]:
    """Blocks of `edge` pixels per side that share their outermost pixels with their neighbours, one block per row,
    padded with zeros; and the number of blocks along each axis."""
    step, axes = edge - 1, stack.ndim - 1
    counts: list[int] = []
    for axis in range(axes):
        n = stack.shape[2 * axis]
        count = math.ceil((n - 1) / step)
        counts.append(count)
        padding = [(0, 0)] * stack.ndim
        padding[2 * axis] = (0, count * step + 1 - n)
        padded = jnp.pad(stack, padding)
        before = (slice(None),) * 2 * axis
        parts = [padded[(*before, slice(i, i + (count - 1) * step + 1, step))] for i in range(edge)]
        stack = jnp.stack(parts, 2 * axis + 1)
    order = [*range(0, 2 * axes, 2), 2 * axes, *range(1, 2 * axes, 2)]  # in a row, one map after the other
    rows = stack.transpose(order).reshape(math.prod(counts), -1)
    return jnp.pad(rows, [(0, 0), (0, LANES - rows.shape[1])]), counts


def _mirrored(position: Float[Array, " *tile"], n: int) -> Float[Array, " *tile"]:
    """The position mirrored at both ends into 0 … n − 1."""
    folded = jnp.abs(position) % (2 * (n - 1))
    return jnp.minimum(folded, 2 * (n - 1) - folded)
