"""A picture of a result: the image with the outlines of its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unet_data import ReadSettings, open_pictures
from unet_data.folders.listing import title
from unet_data.io.colours import colour
from unet_data.windows import Windowed, bands
from unet_spec import InputError
from unet_spec.files import writing

LARGEST = 2048
"""Maximum pixels per axis of an overlay; larger images are subsampled."""


def write_overlay(
    source: Path, result: Path, target: Path, spatial_dims: int, reading: ReadSettings | None = None
) -> None:
    """Writes a PNG of the first picture, or of the middle plane of a volume.

    Args:
        source: the image. result: its labels.
        target: the PNG.
        spatial_dims: 2 or 3, as in the network.
        reading: how the image was read.

    Raises:
        InputError: a file cannot be read or written.
    """
    from PIL import Image

    image = _plane(open_pictures(source, spatial_dims, settings=reading)[0])
    labels = _plane(open_pictures(result, spatial_dims, role="label")[0], label=True)[..., 0].astype(np.int64)
    drawn = outlined(image, labels)
    with writing(target) as temporary:
        Image.fromarray(drawn).save(temporary, format="PNG")


def overlay_path(target: Path) -> Path:
    """Path of the overlay of a result: OUT-overlay.png in the folder of OUT."""
    return target.with_name(f"{title(target)}-overlay.png")


def outlined(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The overlay (H, W, 3) uint8.

    Args:
        image: (H, W, C); its 1st to 99th percentiles are shown from black to white.
        labels: (H, W), class numbers; a line is drawn inside the edge of each class except 0.
    """
    if image.shape[:2] != labels.shape:
        raise InputError(f"the image has {image.shape[:2]} pixels, its labels {labels.shape}")
    values = image.astype(np.float32)[..., :3] if image.shape[-1] >= 3 else image.astype(np.float32)[..., :1]
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (1, 99)) if known.size else (0, 1)
    grey = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1) * 255
    drawn = np.broadcast_to(grey, (*labels.shape, 3)).astype(np.uint8).copy()
    edge = np.zeros(labels.shape, bool)
    for _ in range(1 if min(labels.shape) < 400 else 2):  # two pixels stay visible when the picture is scaled down
        edge |= _edges(np.where(edge, -1, labels)) & ~edge
    for number in np.unique(labels[edge & (labels > 0)]):
        drawn[edge & (labels == number)] = colour(int(number))
    return drawn


def _edges(labels: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour of another class."""
    found = np.zeros(labels.shape, bool)
    for axis in range(2):
        parts = slice(None, -1), slice(1, None)
        low, high = (tuple(part if a == axis else slice(None) for a in range(2)) for part in parts)
        different = labels[low] != labels[high]
        found[low] |= different
        found[high] |= different
    return found


def _plane(picture: Windowed, label: bool = False) -> np.ndarray:
    """Reads every k-th pixel of a picture, or of the middle plane of a volume, in bands."""
    *size, _ = picture.shape
    middle = [slice(n // 2, n // 2 + 1) for n in size[:-2]]
    step = max(1, -(-max(size[-2:]) // LARGEST))
    read = picture.read if label else picture.__getitem__  # type: ignore[attr-defined]  # unchanged class numbers
    rows = []
    for band in bands(size[-2:]):
        window = np.asarray(read((*middle, *band)))
        first = -band[0].start % step
        rows.append(window.reshape(window.shape[-3:])[first::step, ::step])
    return np.concatenate(rows)
