"""From a user's images to what the network takes, as the manifest says; and what is refused on the way."""

from __future__ import annotations

import numpy as np

from unet_data.normalize import Normalization, full_scale
from unet_spec import DataSpec, InputError, NetworkConfig


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
