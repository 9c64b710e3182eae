"""Scores of overlapping classes: each class is scored against its own mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec, InputError, NetworkConfig

from ..inference.output import present_classes
from ..inference.predict import predict_image
from ..inference.stitch import Run
from ..io.facts import PLAIN, FileFacts

if TYPE_CHECKING:
    from jaxtyping import Shaped


def measure_overlapping(
    run: Run,
    config: NetworkConfig,
    data: DataSpec,
    images: Sequence[Shaped[np.ndarray, "*spatial c"]],
    masks: Sequence[Shaped[np.ndarray, "*spatial k"]],
) -> dict[str, float]:
    """Measures a network with overlapping classes on images that have a mask for each class.

    Args:
        run, config, data: the network, as in `predict_image`.
        images: (*spatial, C), with the values of the files.
        masks: (*spatial, K): 1 if the pixel has the class, else 0; −1 for ignored pixels.

    Returns:
        iou and dice at a probability of 0.5, in 0..1: their means over the classes that occur in the masks (NaN if none
        does), and those of each of these classes as "iou NAME" and "dice NAME".

    Raises:
        InputError: the network's classes do not overlap, or masks do not match the images or the classes.

    Example:
        >>> from unet_data import measure_overlapping
        >>> from unet_spec import DataSpec, preset
        >>> bright = lambda images: np.concatenate([images - 0.5, images - 0.9], -1)  # stands for a network
        >>> image = np.array([[0, 200], [255, 0]], np.uint8)[..., None]
        >>> mask = np.concatenate([image > 0, image == 255], -1)
        >>> measure_overlapping(bright, preset("same"), DataSpec(overlapping=True), [image], [mask])["dice"]
        1.0
    """
    if not data.overlapping:
        raise InputError("the network's classes do not overlap; use measure, for labels with one class per pixel")
    if len(images) != len(masks):
        raise InputError(f"{len(images)} images but {len(masks)} masks; give one for each image")
    return score_masks(run, config, data, ((image, mask, PLAIN) for image, mask in zip(images, masks, strict=True)))


def score_masks(
    run: Run,
    config: NetworkConfig,
    data: DataSpec,
    images: Iterable[tuple[np.ndarray, np.ndarray, FileFacts]],
    each: Callable[[np.ndarray, int], None] | None = None,
) -> dict[str, float]:
    """`measure_overlapping` for images, each with its masks and the facts of its file, one in memory at a time.

    `each` is called with the logits and the index of every image.
    """
    count = config.out_channels
    hit, found, true = (np.zeros(count, np.int64) for _ in range(3))
    for index, (image, mask, facts) in enumerate(images):
        if mask.shape != (*image.shape[:-1], count):
            raise InputError(
                f"a mask has shape {mask.shape}; expected {(*image.shape[:-1], count)}, one channel per class"
            )
        mask = np.asarray(mask)
        counted = (mask >= 0).all(-1, keepdims=True)
        logits = predict_image(run, image, config, data, facts=facts)
        if each is not None:
            each(logits, index)
        guess, truth = (present_classes(logits) > 0) & counted, (mask > 0) & counted
        axes = tuple(range(truth.ndim - 1))
        hit, found, true = hit + (guess & truth).sum(axes), found + guess.sum(axes), true + truth.sum(axes)
    names = data.names(config)
    scores: dict[str, float] = {}
    for kind, size in (("iou", found + true - hit), ("dice", (found + true) / 2)):
        values = hit / np.maximum(size, 0.5)
        scores[kind] = float(values[true > 0].mean()) if (true > 0).any() else math.nan
        scores |= {f"{kind} {name}": float(v) for name, v, n in zip(names, values, true, strict=True) if n}
    return scores
