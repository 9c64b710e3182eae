"""Computes logits, probabilities and labels of an image in memory, in any runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec, NetworkConfig
from unet_spec.tiling.tiles import TilePlan, balanced_tile, plan_tiles

from ..io.facts import PLAIN, FileFacts
from ..spacing.grids import grids_of
from ..spacing.target import TargetSpacing
from .output import on_own_pixels
from .prepare import prepare
from .stitch import Run, predict_tiled

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

# Default input pixels per axis of a tile, for which the activations at full width fit in a few GiB.
TILE_PIXELS = {2: 1024, 3: 128}


def default_plan(config: NetworkConfig, image: tuple[int, ...]) -> TilePlan:
    """Tiles of about 1024² or 128³ input pixels, see `balanced_tile`; one tile if tiling cannot be exact."""
    if not config.geometry.shift_invariant:
        return plan_tiles(config.geometry, image)
    return plan_tiles(config.geometry, image, balanced_tile(config.geometry, TILE_PIXELS[config.spatial_dims]))


def predict_output(
    run: Run,
    image: Shaped[np.ndarray, "*spatial c"],
    config: NetworkConfig,
    data: DataSpec,
    plan: TilePlan | None = None,
    facts: FileFacts = PLAIN,
) -> Float32[np.ndarray, "*spatial k"]:
    """Computes all outputs of a network for an image in memory: as `predict_image`, and after the logits the distance
    if the network predicts one (`NetworkConfig.distance_head`).

    Args, Raises: as in `predict_image`.

    Returns:
        (*spatial, config.output_channels).
    """
    grids = grids_of(image.shape[:-1], facts, TargetSpacing.of(data))
    prepared = prepare((image if grids is None else grids.image(image))[None], config, data)[0]
    plan = plan or default_plan(config, prepared.shape[:-1])
    outputs = predict_tiled(run, prepared, plan, config.output_channels)
    return outputs if grids is None else on_own_pixels(outputs, grids, config, data.overlapping)


def predict_image(
    run: Run,
    image: Shaped[np.ndarray, "*spatial c"],
    config: NetworkConfig,
    data: DataSpec,
    plan: TilePlan | None = None,
    facts: FileFacts = PLAIN,
) -> Float32[np.ndarray, "*spatial k"]:
    """Computes the logits of an image of any size in memory. It is prepared, tiled and stitched.

    Args:
        run: `run` of a runtime, such as `unet_jax.JaxRuntime(model).run`: from images (N, *tile, C) float32 to logits
            (N, *out, K).
        image: (H, W, C) or (D, H, W, C), uint8, uint16 or floating, with the values of the file.
        config, data: config and data spec of the network.
        plan: the tiles. Default: tiles of about 1024² or 128³ pixels, or the whole image if tiling cannot be exact.
        facts: facts of the image's file. If it states another pixel size than the network expects (`DataSpec.spacing`),
            the image is resampled, and the probabilities back. Without it, the image is used as it is.

    Returns:
        K logits of each pixel; see `most_probable` and `probabilities`. `predict_output` also returns the distance if
        the network predicts one.

    Raises:
        InputError: as `prepare`, and if the plan is for another size.

    Example:
        >>> from unet_data import most_probable, predict_image
        >>> from unet_spec import DataSpec, preset
        >>> image = np.full((30, 40, 1), 200, np.uint8)
        >>> bright = lambda images: np.concatenate([1 - images, images], -1)  # stands for a network
        >>> most_probable(predict_image(bright, image, preset("same"), DataSpec())).min()
        np.uint8(1)
    """
    return predict_output(run, image, config, data, plan, facts)[..., : config.out_channels]


def sample_image(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    image: Shaped[np.ndarray, "*spatial c"],
    config: NetworkConfig,
    data: DataSpec,
    noise: Float32[np.ndarray, "s features"],
    plan: TilePlan | None = None,
    facts: FileFacts = PLAIN,
) -> Float32[np.ndarray, "s *spatial k"]:
    """Computes the logits of S samples for an image, in a network with a latent variable.

    The part of the network that does not depend on the noise is computed once.

    Args:
        run: (images (1, *tile, C), noise (S, features)) to (S, *out, K), such as a runtime's `run`.
        image, config, data: as in `predict_image`.
        noise: see `unet_spec.ops.draw_noise`.
        plan, facts: as in `predict_image`; all tiles of a sample have the same noise.

    Example:
        >>> from unet_data import sample_image
        >>> from unet_spec import DataSpec, preset
        >>> noisy = lambda images, noise: images + noise[:, :1, None, None]  # one image and S noises to S logits
        >>> image, noise = np.zeros((32, 32, 1), np.uint8), np.ones((3, 6), np.float32)
        >>> sample_image(noisy, image, preset("probabilistic-unet"), DataSpec(), noise).shape
        (3, 32, 32, 1)
    """

    def together(windows: np.ndarray) -> np.ndarray:
        hypotheses = np.moveaxis(run(windows, noise), 0, -2)
        return hypotheses.reshape(1, *hypotheses.shape[:-2], -1)

    grids = grids_of(image.shape[:-1], facts, TargetSpacing.of(data))
    prepared = prepare((image if grids is None else grids.image(image))[None], config, data)[0]
    plan = plan or default_plan(config, prepared.shape[:-1])
    logits = predict_tiled(together, prepared, plan, len(noise) * config.out_channels)
    samples = np.moveaxis(logits.reshape(*plan.image, len(noise), config.out_channels), -2, 0)
    return samples if grids is None else np.stack([on_own_pixels(s, grids, config, data.overlapping) for s in samples])
