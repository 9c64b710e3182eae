"""Pictures of an example: image, label, prediction, errors and probability as (H, W, 3) uint8, and as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np

from .model import Example

# Colours of classes 0, 1, 2, ...: the first two as for membrane and cell in ISBI 2012, then the colours of Okabe and
# Ito, repeated.
CLASSES = np.array(
    [[32, 40, 48], [236, 240, 243], [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233],
     [213, 94, 0], [240, 228, 66]],
    np.uint8,
)  # fmt: skip
UNLABELLED = np.array([150, 150, 150], np.uint8)
FALSE_POSITIVE = np.array([213, 94, 0], np.uint8)  # with more than two classes, any wrong class
FALSE_NEGATIVE = np.array([0, 114, 178], np.uint8)
LARGEST = 1024  # maximum pixels per side on the page; larger pictures are subsampled


def binary(example: Example) -> bool:
    """Whether there are only classes 0 and 1, so that errors are false positives or false negatives of class 1."""
    largest = int(example.prediction.max())
    return max(largest, -1 if example.label is None else int(example.label.max())) <= 1


def to_8_bit(image: np.ndarray) -> np.ndarray:
    """Converts (H, W, C) of any dtype to uint8 (H, W), or (H, W, 3) with the first three channels. Other dtypes are
    scaled from their minimum to their maximum."""
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = np.round((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return image[..., :3] if image.shape[-1] >= 3 else image[..., 0]


def color_image(image: np.ndarray) -> np.ndarray:
    """Converts (H, W) or (H, W, 3) uint8 to (H, W, 3) uint8."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def color_classes(indices: np.ndarray) -> np.ndarray:
    """Converts class indices (H, W) to colours (H, W, 3) uint8; negative indices become grey."""
    indices = indices.astype(np.int64)
    wrapped = np.where(indices < len(CLASSES), indices, 2 + (indices - 2) % (len(CLASSES) - 2))
    return np.where(indices[..., None] < 0, UNLABELLED, CLASSES[np.maximum(wrapped, 0)])


def color_probability(probability: np.ndarray) -> np.ndarray:
    """Converts probabilities (H, W) of class 1 to colours (H, W, 3) uint8, from the colour of class 0 to that of class
    1."""
    share = np.clip(np.nan_to_num(probability.astype(np.float64)), 0, 1)[..., None]
    return np.rint(CLASSES[0] * (1 - share) + CLASSES[1] * share).astype(np.uint8)


def color_errors(example: Example) -> np.ndarray:
    """The image, faded, with wrong pixels in colour: (H, W, 3) uint8. Raises ValueError without a label."""
    wrong = example.wrong
    if wrong is None:
        raise ValueError(f"example {example.name!r} has no label")
    picture = (185 + color_image(example.image).mean(axis=2, keepdims=True) * (65 / 255)).astype(np.uint8)
    picture = np.repeat(picture, 3, axis=2)
    picture[wrong] = FALSE_POSITIVE
    if binary(example):
        picture[wrong & (example.prediction == 0)] = FALSE_NEGATIVE
    return picture


def error_legend(example: Example) -> list[tuple[str, str]]:
    """Legend of the panel `errors`: [(colour #rrggbb, meaning)]."""
    positive, negative = (f"#{bytes(c.tolist()).hex()}" for c in (FALSE_POSITIVE, FALSE_NEGATIVE))
    return [(positive, "false positive"), (negative, "false negative")] if binary(example) else [(positive, "wrong")]


def panels(example: Example) -> dict[str, np.ndarray]:
    """The available panels, in order: image, label, prediction, errors, probability of class 1."""
    pictures = {"image": color_image(example.image)}
    if example.label is not None:
        pictures["label"] = color_classes(example.label)
    pictures["prediction"] = color_classes(example.prediction)
    if example.label is not None:
        pictures["errors"] = color_errors(example)
    if example.probability is not None:
        pictures["probability"] = color_probability(example.probability)
    return pictures


def data_uri(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 as a PNG in a data: URI. Sides above `LARGEST` are subsampled to every k-th pixel."""
    from PIL import Image

    step = -(-max(picture.shape[:2]) // LARGEST)
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
    if image.getcolors(256):  # reduces masks to a tenth and grey images to a third
        image = image.quantize(256, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
