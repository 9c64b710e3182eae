"""Scores of a segmentation into objects, from the number of pixels that each pair of objects shares.

p_ij is the share of the counted pixels that are in object i of the proposal and object j of the truth; s_i and t_j are
its sums over j and over i. Only pixels inside an object of the truth count ("foreground-restricted"). A counted pixel
that is in no object of the proposal (0) is treated as an object of one pixel, as in the evaluation of ISBI 2012.
Source: Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142, equations 1 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped


@dataclass(frozen=True)
class Overlap:
    """The sparse table p_ij.

    Attributes:
        joint: p_ij > 0, (n,) float64, i ≠ 0.
        proposal: s_i of the proposal's objects, float64.
        truth: t_j of the truth's objects, float64.
        single: number of counted pixels that are in no object of the proposal.
        pixels: number of counted pixels.

    Example:
        >>> from unet_data import overlap
        >>> overlap(np.array([1, 1, 0, 2]), np.array([1, 1, 1, 0])).pixels
        3
    """

    joint: Float64[np.ndarray, " n"]
    proposal: Float64[np.ndarray, " s"]
    truth: Float64[np.ndarray, " t"]
    single: int
    pixels: int


def overlap(proposal: Shaped[np.ndarray, "*n"], truth: Shaped[np.ndarray, "*n"]) -> Overlap:
    """Counts the pixels that each pair of objects shares.

    Args:
        proposal, truth: object numbers, integers ≥ 0 of the same shape; 0 for no object.

    Raises:
        InputError: shapes differ, dtypes are not integer, or numbers are negative.

    Example:
        >>> from unet_data import overlap
        >>> overlap(np.array([1, 1, 2, 2]), np.array([1, 1, 1, 1])).joint.tolist()
        [0.5, 0.5]
    """
    proposal, truth = np.asarray(proposal), np.asarray(truth)
    if proposal.shape != truth.shape:
        raise InputError(f"the proposal has shape {proposal.shape} but the truth {truth.shape}; they must be equal")
    for name, array in (("proposal", proposal), ("truth", truth)):
        if array.dtype.kind not in "bui" or (array.size and array.min() < 0):
            raise InputError(f"the {name} must hold object numbers, integers of 0 or more; it is {array.dtype}")
    counted = truth > 0
    _, j = np.unique(truth[counted], return_inverse=True)
    objects, i = np.unique(proposal[counted], return_inverse=True)
    assigned = objects[i] > 0
    _, pairs = np.unique(i[assigned].astype(np.int64) * (j.max(initial=0) + 1) + j[assigned], return_counts=True)
    pixels = len(j)
    shares = [np.unique(numbers, return_counts=True)[1] / max(pixels, 1) for numbers in (i[assigned], j)]
    return Overlap(pairs / max(pixels, 1), shares[0], shares[1], pixels - int(assigned.sum()), pixels)


def v_rand(table: Overlap, alpha: float = 0.5) -> float:
    """V_Rand = Σ p_ij² / (α Σ s_i² + (1 − α) Σ t_j²), in 0..1, 1 for equal objects; NaN if nothing counts.

    Source: Arganda-Carreras et al. 2015, equation 3.

    Args:
        table: result of `overlap`.
        alpha: 1/2 gives the F-score of pairs of pixels in the same object; 1, the share of the proposal's pairs that
            are pairs of the truth (falls with wrong mergers); 0, the reverse (falls with wrong splits).

    Example:
        >>> from unet_data import overlap, v_rand
        >>> split_in_two = overlap(np.array([1, 1, 2, 2]), np.array([1, 1, 1, 1]))
        >>> v_rand(split_in_two, alpha=1), v_rand(split_in_two, alpha=0)
        (1.0, 0.5)
    """
    if not table.pixels:
        return float("nan")
    lone = table.single / table.pixels**2  # each of these is an object of one pixel
    joint = (table.joint**2).sum() + lone
    return float(joint / (alpha * ((table.proposal**2).sum() + lone) + (1 - alpha) * (table.truth**2).sum()))


def v_info(table: Overlap, alpha: float = 0.5) -> float:
    """V_Info = I(S; T) / ((1 − α) H(S) + α H(T)), in 0..1; 1 if both are one object; NaN if nothing counts.

    Source: Arganda-Carreras et al. 2015, equation 6.

    Args:
        table: result of `overlap`.
        alpha: as in `v_rand`.

    Example:
        >>> from unet_data import overlap, v_info
        >>> v_info(overlap(np.array([1, 1, 2, 2]), np.array([3, 3, 5, 5])))
        1.0
    """
    if not table.pixels:
        return float("nan")
    lone = table.single / table.pixels * np.log(table.pixels)  # Σ −(1/n) log(1/n) over the lone pixels
    h_s, h_t = _entropy(table.proposal) + lone, _entropy(table.truth)
    mutual = h_s + h_t - (_entropy(table.joint) + lone)
    below = (1 - alpha) * h_s + alpha * h_t
    return float(np.clip(mutual / below, 0, 1)) if below > 0 else 1.0


def adapted_rand_error(table: Overlap) -> float:
    """1 − V_Rand with α = 1/2, the ranking error of SNEMI 2013.

    If every pixel is in an object of the proposal, `skimage.metrics.adapted_rand_error` differs only in leaving out the
    pairs of a pixel with itself.
    """
    return 1 - v_rand(table)


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log(shares)).sum())
