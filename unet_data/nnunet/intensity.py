"""nnU-Net's normalisation schemes, applied to one channel in float32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unet_spec.errors import InputError

EPSILON = 1e-8
"""Minimum divisor for a standard deviation or range."""


def normalize(image: np.ndarray, scheme: str, mask: np.ndarray | None, measured: Mapping[str, float]) -> np.ndarray:
    """Normalises one channel (z, y, x) float32 in place, and returns it.

    scheme: one of `plans.SCHEMES`.
        ZScore: (x − mean) / std of the image, or of the voxels in `mask`; then the others do not change.
        CT: clipped to the 0.5 and 99.5 percentiles, then (x − mean) / std, with the values `measured` in training.
        RescaleTo01: (x − min) / (max − min). RGBTo01: x / 255.

    Raises InputError for RGBTo01 with values outside of 0 … 255.
    """
    if scheme == "ZScoreNormalization":
        if mask is None:
            mean, std = image.mean(), image.std()
            image -= mean
            image /= max(std, EPSILON)
        else:
            inside = image[mask]
            image[mask] = (inside - inside.mean()) / max(inside.std(), EPSILON)
    elif scheme == "CTNormalization":
        np.clip(image, measured["percentile_00_5"], measured["percentile_99_5"], out=image)
        image -= measured["mean"]
        image /= max(measured["std"], EPSILON)
    elif scheme == "RescaleTo01Normalization":
        image -= image.min()
        image /= max(image.max(), EPSILON)
    elif scheme == "RGBTo01Normalization":
        if image.min() < 0 or image.max() > 255:
            raise InputError(f"the image holds values from {image.min():g} to {image.max():g}; {scheme} takes 0 to 255")
        image /= 255.0
    return image
