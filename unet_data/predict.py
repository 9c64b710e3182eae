"""From an image as it was read to logits, probabilities and labels of its size, in whatever runs the network."""

from __future__ import annotations

import numpy as np

from unet_data.prepare import prepare
from unet_data.stitch import Run, predict_tiled
from unet_spec import DataSpec, UNetConfig
from unet_spec.tiling import TilePlan, plan_tiles, tile_near

# Input pixels of a tile where nobody asked for a size: its activations at full width fit in a few GiB.
TILE_PIXELS = {2: 1024, 3: 128}


def default_plan(config: UNetConfig, image: tuple[int, ...]) -> TilePlan:
    """Tiles of some 1024² or 128³ input pixels, or the least that works; one tile where no tiling would be exact."""
    if not config.geometry.shift_invariant:
        return plan_tiles(config.geometry, image)
    return plan_tiles(config.geometry, image, tile_near(config.geometry, TILE_PIXELS[config.spatial_dims]))


def predict_image(
    run: Run, image: np.ndarray, config: UNetConfig, data: DataSpec, plan: TilePlan | None = None
) -> np.ndarray:
    """The logits (*spatial, K) float32 of an image (*spatial, C) of any size: prepared, tiled, stitched.

    `plan` None: `default_plan`. Raises InputError as `prepare`.
    """
    prepared = prepare(image[None], config, data)[0]
    return predict_tiled(run, prepared, plan or default_plan(config, prepared.shape[:-1]), config.out_channels)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis: (..., K) to (..., K). One channel z is the logit of class 1: (..., 1) to (..., 2)."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def labels(logits: np.ndarray) -> np.ndarray:
    """The most probable class (the first of equal ones): (..., K) to (...) uint8, or uint16 beyond 256 classes."""
    chosen = logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
    return chosen.astype(np.uint8 if logits.shape[-1] <= 256 else np.uint16)
