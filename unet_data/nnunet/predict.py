"""A case through an nnU-Net network, from NIfTI to NIfTI, in whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from unet_data.nnunet.case import labels_of, prepare_case, probabilities_of, restore_logits
from unet_data.nnunet.recipe import Recipe
from unet_data.nnunet.sliding import Accumulate, predict_volume
from unet_data.stitch import Run

Kind = Literal["labels", "probabilities"]


def predict_case(
    runs: Sequence[Run],
    image: np.ndarray,
    spacing: tuple[float, ...],
    recipe: Recipe,
    kind: Kind = "labels",
    *,
    mirror: bool = True,
    step: float = 0.5,
    batch: int = 1,
    accumulate: Accumulate = "half",
) -> np.ndarray:
    """Labels (z, y, x) uint8 or uint16, or probabilities (K, z, y, x) float32, of an image as nnU-Net predicts it.

    Args:
        runs: one a fold, each from tiles (N, *patch, C) float32 to logits (N, *patch, K).
        image: (C, z, y, x), as the file has it. spacing: millimetres per voxel (z, y, x).
        mirror: average over the flips that the network was trained with; False is 4 (2-D) or 8 (3-D) times as fast.
        step, batch, accumulate: see `predict_volume`.

    Raises InputError as `prepare_case` and `predict_volume`.
    """
    case = prepare_case(image, spacing, recipe)
    logits = predict_volume(
        runs,
        case.volume,
        recipe.patch,
        recipe.heads,
        mirror_axes=recipe.mirror_axes if mirror else (),
        step=step,
        batch=batch,
        accumulate=accumulate,
    )
    logits = restore_logits(logits, case, recipe)
    return labels_of(logits, case, recipe) if kind == "labels" else probabilities_of(logits, case, recipe)
