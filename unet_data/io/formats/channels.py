"""Converts grey images to three equal channels, and colour to grey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped

REPEATED = "grey repeated as three equal channels"
AVERAGED = "colour converted to grey"
EQUAL = "three equal channels read as one"
_LUMA = (0.299, 0.587, 0.114)


def to_grey(pixels: Shaped[np.ndarray, "*n 3"]) -> Shaped[np.ndarray, "*n 1"]:
    """Converts colour to grey: 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), rounded for integer dtypes.

    Pixels whose channels are equal keep their value exactly.

    Args:
        pixels: (*n, 3), of any dtype.

    Returns:
        (*n, 1), in the same dtype.

    Example:
        >>> from unet_data import to_grey
        >>> to_grey(np.array([[255, 0, 0], [7, 7, 7]], np.uint8)).tolist()
        [[76], [7]]
    """
    mixed = sum(weight * pixels[..., c].astype(np.float64) for c, weight in enumerate(_LUMA))
    mixed = np.asarray(mixed if pixels.dtype.kind == "f" else np.rint(mixed)).astype(pixels.dtype)
    return np.where((pixels == pixels[..., :1]).all(-1), pixels[..., 0], mixed)[..., None]


def adapted(pixels: Shaped[np.ndarray, "*n c"], channels: str) -> tuple[np.ndarray, str]:
    """Pixels after the setting `channels`, "repeat" or "grey", and a description of the change; "" if there is none."""
    if channels == "repeat" and pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, -1), REPEATED
    if channels == "grey" and pixels.shape[-1] == 3:
        return to_grey(pixels), AVERAGED
    return pixels, ""


def advice(found: int, channels: int, where: Literal["file", "array"] = "file") -> str:
    """Advice for images with `found` channels in a network with `channels`; "" if no option helps."""
    if (found, channels) == (1, 3):
        option = "--channels repeat" if where == "file" else "np.repeat(images, 3, -1)"
        return f"; {option} repeats grey as three equal channels"
    if (found, channels) == (3, 1):
        return f"; {'--channels grey' if where == 'file' else 'unet_data.to_grey(images)'} converts colour to grey"
    return ""
