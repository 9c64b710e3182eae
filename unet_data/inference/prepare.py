"""Converts images to the input of a network, as the manifest describes, and refuses invalid images."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec, InputError, NetworkConfig

from ..io.facts import stored_reading, void
from ..io.formats.channels import EQUAL, adapted, advice
from ..normalize import Normalization, full_scale
from ..windows import Windowed, middle

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

_MIDDLE = {2: 512, 3: 64}
"""By number of dimensions: pixels per axis of the central part that is tested."""


def looks_foreign(image: Windowed, data: DataSpec) -> str | None:
    """Finds images whose values have another unit than the training images: 12-bit data in 16-bit files, or floats
    of 0 to 255 instead of 0 to 1.

    After normalisation the training images have mean 0 and standard deviation 1. A mean beyond ±5, or a standard
    deviation above 5 or below 0.1 (but not 0, as in a constant window), nearly always means another unit.

    Args:
        image: (*spatial, C); its central part is read.
        data: data spec of the network.

    Returns:
        A message; None if the values are plausible, or the network has no mean and std.

    Example:
        >>> from unet_data import looks_foreign
        >>> looks_foreign(np.full((8, 8, 1), 200.0), DataSpec((0.5,), (0.2,)))[:29]
        'values differ from those of t'
    """
    *size, channels = image.shape
    if len(data.mean) != channels or data.normalization != "dataset":
        return None
    window = image[middle(size, _MIDDLE[len(size)])]
    seen = Normalization(data.mean, data.std).apply(window).reshape(-1, channels).astype(np.float64)
    if data.nodata is not None:
        known = ~void(window, data.nodata).any(-1).ravel()
        if not known.any():
            return None
        seen = seen[known]
    means, stds = seen.mean(0), seen.std(0)
    odd = (np.abs(means) > 5) | (stds > 5) | ((stds > 0) & (stds < 0.1))
    if not odd.any():
        return None
    c = int(np.argmax(odd))
    unit = f"divided by {full_scale(window.dtype):g}" if window.dtype.kind == "u" else "as it is"
    return (
        f"values differ from those of the training images: channel {c} ({window.dtype}, {unit}) has "
        f"mean {means[c]:.3g} and standard "
        f"deviation {stds[c]:.3g} where the training images have 0 and 1; is the unit the same?"
    )


def _for_channels(images: np.ndarray, config: NetworkConfig, data: DataSpec, layout: str) -> np.ndarray:
    """Adapts the channels as training did, or reduces three equal channels to one, with a warning. Else InputError."""
    images_as_read, note = adapted(images, stored_reading(data).channels)
    if note and images_as_read.shape[-1] == config.in_channels:
        warnings.warn(f"{note}, as in training", stacklevel=4)
        return images_as_read
    found = images.shape[-1]
    if (found, config.in_channels) == (3, 1) and bool((images == images[..., :1]).all()):
        warnings.warn(EQUAL, stacklevel=4)
        return images[..., :1]
    raise InputError(
        f"images of shape {images.shape} have {found} channels; the network takes {config.in_channels} (read as "
        f"{layout}){advice(found, config.in_channels, 'array')}"
    )


def prepare(
    images: Shaped[np.ndarray, "*any"], config: NetworkConfig, data: DataSpec
) -> Float32[np.ndarray, "n *spatial c"]:
    """Converts images as read to the input of a network, normalised by its data spec, each image separately.

    Integers are divided by the largest value of their dtype; floats are used as they are. Pixels without data become 0.

    Args:
        images: (N, *spatial, C), uint8, uint16 or floating.
        config: config of the network.
        data: normalisation of the network, and the value of pixels without data.

    Raises:
        InputError: the number of axes or channels or the dtype is wrong, the batch or an axis is empty, or a value is
            NaN or infinite.

    Example:
        >>> from unet_data import prepare
        >>> from unet_spec import DataSpec, preset
        >>> prepare(np.full((1, 8, 8, 1), 255, np.uint8), preset("paper"), DataSpec((0.5,), (0.25,))).max()
        np.float32(2.0)
    """
    layout = "(N, H, W, C)" if config.spatial_dims == 2 else "(N, D, H, W, C)"
    images = np.asarray(images)
    if images.ndim != config.spatial_dims + 2:
        raise InputError(f"images of shape {images.shape} have {images.ndim} axes; expected {layout}")
    if images.shape[-1] != config.in_channels:
        images = _for_channels(images, config, data, layout)
    if not images.size:
        raise InputError(f"images of shape {images.shape} have no pixels")
    if images.dtype.kind != "f" and images.dtype not in (np.uint8, np.uint16):
        raise InputError(f"images are {images.dtype}; allowed: uint8, uint16 and floating point")
    missing = False if data.nodata is None else void(images, data.nodata)
    if images.dtype.kind == "f" and (bad := int((~np.isfinite(images) & ~np.asarray(missing)).sum())):
        many = "only NaN or infinite values" if bad == images.size else f"{bad} NaN or infinite values of {images.size}"
        raise InputError(f"images contain {many}; the network would spread them over its output")
    if data.normalization in ("image", "percentile"):
        return np.stack([Normalization.of(data, image).apply(image) for image in images])
    if data.mean or data.nodata is not None:
        return Normalization.of(data, images[0]).apply(images)
    prepared = images.astype(np.float32)
    return prepared if images.dtype.kind == "f" else prepared / np.float32(full_scale(images.dtype))
