"""From a user's images to what the network takes, as the manifest says; and what is refused on the way."""

from __future__ import annotations

import numpy as np

from unet_data.normalize import Normalization, full_scale
from unet_data.readers import Picture
from unet_data.tiles import middle
from unet_spec import DataSpec, InputError, NetworkConfig

_MIDDLE = {2: 512, 3: 64}
"""Pixels per axis that are looked at."""


def looks_foreign(image: np.ndarray | Picture, data: DataSpec) -> str | None:
    """What is odd, to the network, about the values in the middle of an image (*spatial, C); None where nothing is.

    Trained on, images have mean 0 and standard deviation 1 over all. A mean beyond ±5, or a standard deviation above 5
    or below 0.1 (but not 0, as of a constant window), is nearly always another unit: 12 bits in a file of 16, or
    floats of 0 to 255 where they were 0 to 1. Without mean and std nothing is odd.
    """
    *size, channels = image.shape
    if len(data.mean) != channels:
        return None
    window = image[middle(size, _MIDDLE[len(size)])]
    seen = Normalization(data.mean, data.std).apply(window).reshape(-1, channels).astype(np.float64)
    means, spreads = seen.mean(0), seen.std(0)
    odd = (np.abs(means) > 5) | (spreads > 5) | ((spreads > 0) & (spreads < 0.1))
    if not odd.any():
        return None
    c = int(np.argmax(odd))
    unit = f"divided by {full_scale(window.dtype):g}" if window.dtype.kind == "u" else "as it is"
    return (
        f"values unlike those trained on: channel {c} ({window.dtype}, {unit}) has mean {means[c]:.3g} and standard "
        f"deviation {spreads[c]:.3g} where the training images have 0 and 1; are they of the same unit?"
    )


def prepare(images: np.ndarray, config: NetworkConfig, data: DataSpec) -> np.ndarray:
    """Images (N, *spatial, C), uint8, uint16 or floating, as float32: (x − mean) / std per channel.

    Integers count as x / the largest value of their dtype; floats as they are. Without mean and std, that is all.

    Raises InputError on a wrong number of axes or channels, an empty batch or axis, another dtype, NaN or infinity.
    """
    layout = "(N, H, W, C)" if config.spatial_dims == 2 else "(N, D, H, W, C)"
    images = np.asarray(images)
    if images.ndim != config.spatial_dims + 2:
        raise InputError(f"images of shape {images.shape} have {images.ndim} axes; expected {layout}")
    if images.shape[-1] != config.in_channels:
        raise InputError(
            f"images of shape {images.shape} have {images.shape[-1]} channels; the network takes {config.in_channels}"
            f" (read as {layout})"
        )
    if not images.size:
        raise InputError(f"images of shape {images.shape} hold no pixel")
    if images.dtype.kind != "f" and images.dtype not in (np.uint8, np.uint16):
        raise InputError(f"images are {images.dtype}; allowed: uint8, uint16 and floating point")
    if images.dtype.kind == "f" and (bad := int((~np.isfinite(images)).sum())):
        many = "only NaN or infinite values" if bad == images.size else f"{bad} NaN or infinite values"
        raise InputError(f"images hold {many} of {images.size}; the network would spread them")
    if data.mean:
        return Normalization(data.mean, data.std).apply(images)
    prepared = images.astype(np.float32)
    return prepared if images.dtype.kind == "f" else prepared / np.float32(full_scale(images.dtype))
