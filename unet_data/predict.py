"""From an image as it was read to logits, probabilities and labels of its size, in whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unet_data.prepare import prepare
from unet_data.stitch import Run, predict_tiled
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.tiling import TilePlan, plan_tiles, tile_near

# Input pixels of a tile where nobody asked for a size: its activations at full width fit in a few GiB.
TILE_PIXELS = {2: 1024, 3: 128}


def default_plan(config: NetworkConfig, image: tuple[int, ...]) -> TilePlan:
    """Tiles of some 1024² or 128³ input pixels, or the least that works; one tile where no tiling would be exact."""
    if not config.geometry.shift_invariant:
        return plan_tiles(config.geometry, image)
    return plan_tiles(config.geometry, image, tile_near(config.geometry, TILE_PIXELS[config.spatial_dims]))


def predict_image(
    run: Run, image: np.ndarray, config: NetworkConfig, data: DataSpec, plan: TilePlan | None = None
) -> np.ndarray:
    """The logits (*spatial, K) float32 of an image (*spatial, C) of any size: prepared, tiled, stitched.

    `plan` None: `default_plan`. Raises InputError as `prepare`.
    """
    prepared = prepare(image[None], config, data)[0]
    return predict_tiled(run, prepared, plan or default_plan(config, prepared.shape[:-1]), config.out_channels)


def sample_image(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    image: np.ndarray,
    config: NetworkConfig,
    data: DataSpec,
    noise: np.ndarray,
    plan: TilePlan | None = None,
) -> np.ndarray:
    """The logits (S, *spatial, K) float32 of S hypotheses of an image (*spatial, C), in a network with a latent
    variable. What does not depend on the noise is computed once.

    run: (images (1, *tile, C), noise (S, features)) to (S, *out, K), such as a runtime's `run`. noise: (S, features)
    float32, of `unet_spec.latent.draw_noise`. plan: as in `predict_image`; all tiles of a hypothesis have its noise.
    """

    def together(windows: np.ndarray) -> np.ndarray:
        hypotheses = np.moveaxis(run(windows, noise), 0, -2)
        return hypotheses.reshape(1, *hypotheses.shape[:-2], -1)

    prepared = prepare(image[None], config, data)[0]
    plan = plan or default_plan(config, prepared.shape[:-1])
    logits = predict_tiled(together, prepared, plan, len(noise) * config.out_channels)
    return np.moveaxis(logits.reshape(*plan.image, len(noise), config.out_channels), -2, 0)


OutputKind = Literal["labels", "probabilities", "logits"]
OutputType = Literal["uint8", "float16", "float32"]


@dataclass(frozen=True)
class Output:
    """What is written of the logits.

    Attributes:
        kind: "labels" (class numbers), "probabilities" (of class 1 where there are two, else one value a class) or
            "logits" (all channels).
        dtype: of probabilities ("uint8": 0 to 255) and logits; labels are uint8, or uint16 beyond 256 classes.

    Raises InputError for logits in uint8.
    """

    kind: OutputKind = "labels"
    dtype: OutputType = "float32"

    def __post_init__(self) -> None:
        if self.kind == "logits" and self.dtype == "uint8":
            raise InputError("logits cannot be written as uint8; use float16 or float32")

    def pixel(self, config: NetworkConfig) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of one pixel of the result."""
        if self.kind == "labels":
            return (), np.dtype(np.uint8 if config.out_channels <= 256 else np.uint16)
        if self.kind == "logits":
            return (config.out_channels,), np.dtype(self.dtype)
        return (() if config.classes == 2 else (config.classes,)), np.dtype(self.dtype)

    def of(self, logits: np.ndarray) -> np.ndarray:
        """From logits (*spatial, K) to the result (*spatial, *pixel)."""
        if self.kind == "labels":
            return labels(logits)
        if self.kind == "logits":
            return logits.astype(self.dtype)
        p = probabilities(logits)
        p = p[..., 1] if p.shape[-1] == 2 else p
        return np.round(p * 255).astype(np.uint8) if self.dtype == "uint8" else p.astype(self.dtype)


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
