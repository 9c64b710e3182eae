"""Overlap-tile: an image of any size through a network, tile by tile, in whatever runs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unet_data.tiles import mirror_window
from unet_spec.errors import InputError
from unet_spec.tiling import TilePlan

Run = Callable[[np.ndarray], np.ndarray]
"""From (1, *tile, C) to the logits (1, *out, K) of that tile, both float32 (or float64 in a reference)."""


def predict_tiled(run: Run, image: np.ndarray, plan: TilePlan, out_channels: int) -> np.ndarray:
    """The logits (*spatial, K) of every pixel of an image (*spatial, C), in the image's dtype.

    `plan` comes from `unet_spec.tiling.plan_tiles` for the image's size and says which mirrored windows `run` sees and
    which part of each result is kept. Every pixel is written exactly once, so nothing is blended; where `plan.exact`,
    the result is that of the whole image in one piece. Only one tile is in memory at a time, besides the result.

    Raises InputError where the plan is for another size, or `run` gives another shape than the plan expects.
    """
    size = tuple(axis.image for axis in plan.axes)
    if image.shape[:-1] != size:
        raise InputError(f"the plan is for an image of {size} pixels, the image has {image.shape[:-1]}")
    expected = (1, *(axis.tile - 2 * axis.margin for axis in plan.axes), out_channels)
    result = np.empty((*size, out_channels), image.dtype)
    for tile in plan:
        window = mirror_window(image, tile.start, tile.shape)
        logits = run(np.ascontiguousarray(window[None]))
        if logits.shape != expected:
            raise InputError(f"the network gave {logits.shape} for a tile {(1, *window.shape)}; expected {expected}")
        result[tile.target] = logits[0][tile.source]
    return result
