"""The rules for volumes whose axes differ in pixel size or in number of pixels, such as stacks of thick sections.

The U-Net of the paper halves every axis at every level. A stack of 20 planes, five times as far apart as the pixels
within a plane, can be halved once; so here each axis is halved on its own, and convolutions along a coarse axis begin
at the level where its pixels are about as large as those of the other axes. The rules follow Isensee et al. 2021
(nnU-Net, arXiv 1904.08128), which also takes a tile with the same physical length along all axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from unet_data import Fingerprint
from unet_spec import NetworkConfig, preset
from unet_spec.families.staged_unet import StagedUNetConfig

from .rules import AUTO, DEEPEST_SIZE, LEVELS, Choice

COARSE = 2.0
"""An axis whose pixels are more than this many times as large as the smallest is coarse: it has kernels of 1. Nor is it
halved, unless all finer axes are too small to be halved."""

VOXELS = 68**3
"""Maximum number of voxels in a tile."""


@dataclass(frozen=True)
class Stages:
    """Kernel sizes and strides of the levels, per axis, and the reason."""

    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    reason: str


def stages(figures: Fingerprint, count: int | None = None) -> Stages | None:
    """Kernels and strides for a volume; None for images, and for volumes whose axes are all treated alike.

    Each level halves the axes that then have at least 8 pixels, for the median volume, and of these only the finest.

    Args:
        figures: figures of the data set.
        count: number of levels; None if so many cannot be had. Default: as many as can be had, at most 4.
    """
    if len(figures.median) != 3:
        return None
    sizes, pixels = list(figures.median), list(figures.spacing or (1.0,) * 3)
    kernels: list[tuple[int, ...]] = []
    strides: list[tuple[int, ...]] = [(1, 1, 1)]
    while True:
        coarse = [pixel > COARSE * min(pixels) for pixel in pixels]
        before = kernels[-1] if kernels else (1, 1, 1)  # an axis that once has a kernel of 3 keeps it
        kernels.append(tuple(max(k, 1 if c else 3) for k, c in zip(before, coarse, strict=True)))
        large = [n // 2 >= DEEPEST_SIZE for n in sizes]
        if len(kernels) == (count or LEVELS[3]) or not any(large):
            break
        finest = min(pixel for pixel, is_large in zip(pixels, large, strict=True) if is_large)
        halved = [is_large and p <= COARSE * finest for p, is_large in zip(pixels, large, strict=True)]
        strides.append(tuple(2 if half else 1 for half in halved))
        sizes = [n // stride for n, stride in zip(sizes, strides[-1], strict=True)]
        pixels = [pixel * stride for pixel, stride in zip(pixels, strides[-1], strict=True)]
    alike = all(set(row) == {3} for row in kernels) and all(set(row) == {2} for row in strides[1:])
    if alike or len(kernels) < 2 or len(kernels) != (count or len(kernels)):
        return None
    size = "x".join(map(str, figures.median))
    if figures.spacing:
        stated = f"pixels of {'x'.join(f'{p / min(figures.spacing):.3g}' for p in figures.spacing)}"
    else:
        stated = "no file states a pixel size along z, y and x, so it is taken to be the same along all axes"
    return Stages(tuple(kernels), tuple(strides), f"volumes with a median size of {size}; {stated}")


def staged_network(network: NetworkConfig, own: Stages, widths: tuple[int, ...]) -> StagedUNetConfig:
    """A U-Net with max-pooling and transposed convolutions, as `network`, but with its own kernels and strides."""
    staged = preset("nnunet", in_channels=network.in_channels, out_channels=network.out_channels, spatial_dims=3)
    assert isinstance(staged, StagedUNetConfig)
    return staged.replace(
        widths=widths,
        kernels=own.kernels,
        strides=own.strides,
        downsampling="max",
        norm=AUTO.network["norm"],
        activation="relu",
        sides=0,
    )


def volume_norm(together: int) -> Choice:
    """Norm of a staged network, for `together` tiles in one forward pass."""
    if together > 1:
        return Choice("norm", AUTO.network["norm"], "several tiles pass together")
    return Choice(
        "norm",
        "instance",
        "batch norm sees one tile at a time in training, so its statistics differ from those in prediction",
    )


def volume_tile(figures: Fingerprint, network: NetworkConfig) -> Choice:
    """A tile that covers the median volume, shortened along the axis with the largest physical length until it has at
    most 68³ voxels; square in the plane where pixels are."""
    grids, pixels = network.geometry.grids, figures.spacing or (1.0,) * 3
    sizes = [grid.above(n) for grid, n in zip(grids, figures.median, strict=True)]
    while math.prod(sizes) > VOXELS:
        shorter = {axis: below for axis, grid in enumerate(grids) if (below := grid.below(sizes[axis] - 1))}
        if not shorter:
            break
        longest = max(shorter, key=lambda axis: sizes[axis] * pixels[axis])
        sizes[longest] = shorter[longest]
    covered = all(size >= n for size, n in zip(sizes, figures.median, strict=True))
    if not covered and pixels[1] == pixels[2] and grids[1] == grids[2]:
        sizes[1] = sizes[2] = min(sizes[1:])  # quarter turns of a square need no interpolation
    size = "x".join(map(str, figures.median))
    reason = f"covers a volume of {size}" if covered else f"a part of a volume of {size}, about as long along each axis"
    return Choice("tile", tuple(sizes), reason)
