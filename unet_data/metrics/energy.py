"""Generalised energy distance between a set of sampled segmentations and a set of annotations.

    D² = 2 E d(S, Y) − E d(S, S′) − E d(Y, Y′),   d = 1 − IoU

S and S′ are independent samples of the network, Y and Y′ independent annotations. It is 0 if both sets have the same
distribution. It is larger for wrong samples, and for samples that are less diverse than the annotations (Székely and
Rizzo 2013; with this d, Kohl et al. 2018, arXiv 1806.05034, section 3). The expectations are means over all pairs,
including those of a segmentation with itself, so D² is never negative except for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped


def energy_distance(
    samples: Shaped[np.ndarray, " s *spatial"], truths: Shaped[np.ndarray, " t *spatial"], classes: int = 2
) -> float:
    """The generalised energy distance D² between the samples and the annotations of one image, in 0..2.

    With one annotation it is twice the mean distance from it minus the diversity of the samples. The formula and its
    sources are in the module's docstring.

    Args:
        samples: class numbers 0..classes − 1, integer or boolean.
        truths: class numbers of the annotations, likewise.
        classes: 2 or more; class 0 is background.

    Raises:
        InputError: a set is empty, sizes differ, values are floats, or class numbers are out of range.

    Example:
        >>> from unet_data import energy_distance
        >>> maps = np.array([[[0, 1]], [[1, 1]]])
        >>> energy_distance(maps, maps), energy_distance(maps, maps[:1])
        (0.0, 0.25)
    """
    a, b = (_checked(name, maps, classes) for name, maps in (("samples", samples), ("truths", truths)))
    if a.shape[1:] != b.shape[1:]:
        raise InputError(f"the samples are {a.shape[1:]} pixels and the truths {b.shape[1:]}; they must be equal")
    between, within, among = (iou_distances(x, y, classes).mean() for x, y in ((a, b), (a, a), (b, b)))
    return float(2 * between - within - among)


def iou_distances(
    first: Shaped[np.ndarray, " n *spatial"], second: Shaped[np.ndarray, " m *spatial"], classes: int = 2
) -> Float64[np.ndarray, "n m"]:
    """1 − IoU of every pair of class maps, in 0..1.

    The IoU is the mean over the classes from 1 (class 0 is background) that occur in at least one of the two. If none
    does, both maps are background, and the distance is 0 (as in Kohl et al.).
    """
    total = np.zeros((len(first), len(second)))
    present = np.zeros_like(total)
    for k in range(1, classes):
        # float64 sums of up to 2^53 pixels are exact, and a matrix product is the fastest way for all pairs.
        a, b = ((maps == k).reshape(len(maps), -1).astype(np.float64) for maps in (first, second))
        common = a @ b.T
        union = a.sum(1)[:, None] + b.sum(1) - common
        total += np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        present += union > 0
    return 1 - np.divide(total, present, out=np.ones_like(total), where=present > 0)


def mean_energy_distance(
    samples: Sequence[np.ndarray], truths: Sequence[np.ndarray], classes: int = 2
) -> tuple[float, float]:
    """The mean D² over images, and the mean diversity E d(S, S′).

    Both sequences have one entry per image, as in `energy_distance`.
    """
    distances = [energy_distance(s, t, classes) for s, t in zip(samples, truths, strict=True)]
    diversity = [float(iou_distances(np.asarray(s), np.asarray(s), classes).mean()) for s in samples]
    return float(np.mean(distances)), float(np.mean(diversity))


def _checked(name: str, maps: np.ndarray, classes: int) -> np.ndarray:
    maps = np.asarray(maps)
    if classes < 2:
        raise InputError(f"an energy distance needs 2 classes or more, not {classes}")
    if maps.ndim < 2 or not maps.size:
        raise InputError(f"the {name} have shape {maps.shape}; expected (count, *spatial) with one map at least")
    if maps.dtype.kind not in "bui":
        raise InputError(f"the {name} are {maps.dtype}; give class numbers as integers (argmax of the logits)")
    if maps.min() < 0 or maps.max() >= classes:
        raise InputError(f"the {name} have values from {maps.min()} to {maps.max()}; expected 0..{classes - 1}")
    return maps
