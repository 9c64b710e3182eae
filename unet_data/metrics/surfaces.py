"""Distances between the surfaces of predicted and labelled classes: 95th percentile of the Hausdorff distance, and
surface Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from unet_spec.errors import InputError

from ..datasets.dataset import Dataset
from ..datasets.label_rule import IGNORED
from ..io.formats.units import symbol

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Integer


def surface(mask: Bool[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
    """The pixels of a mask with a face neighbour outside of the mask. Pixels beyond the image count as inside of it, so
    that the edge of the image is not a surface.

    Args:
        mask: (*spatial), bool.

    Example:
        >>> from unet_data.metrics.surfaces import surface
        >>> surface(np.array([[1, 1, 1, 0], [1, 1, 1, 0]], bool)).astype(int).tolist()
        [[0, 0, 1, 0], [0, 0, 1, 0]]
    """
    return mask & ~np.asarray(ndimage.binary_erosion(mask, border_value=1), bool)


def surface_distances(
    guess: Bool[np.ndarray, "*spatial"], truth: Bool[np.ndarray, "*spatial"], spacing: Sequence[float]
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " n"]]:
    """The distance of each surface pixel of one mask to the nearest surface pixel of the other.

    Args:
        guess, truth: (*spatial), bool.
        spacing: size of a pixel along each axis.

    Returns:
        The distances of the m surface pixels of the guess and of the n of the truth, in the unit of `spacing`; infinite
        if the other mask has no surface.

    Example:
        >>> from unet_data.metrics.surfaces import surface_distances
        >>> line = np.arange(9) < 4
        >>> [d.tolist() for d in surface_distances(line, np.arange(9) < 6, [0.5])]
        [[1.0], [1.0]]
    """
    surfaces = [surface(np.asarray(mask, bool)) for mask in (guess, truth)]
    found = []
    for own, other in (surfaces, surfaces[::-1]):
        if not own.any() or not other.any():
            found.append(np.full(int(own.sum()), math.inf))
        else:
            found.append(ndimage.distance_transform_edt(~other, sampling=spacing)[own])  # type: ignore[index]
    return found[0], found[1]


class SurfaceScores:
    """Surface scores of each class except the first, as means over the images in which it occurs.

    Hausdorff 95: the 95th percentile of the distances from one surface to the other, in the direction in which it is
    larger (as defined by MONAI and the BraTS challenge). If a class is only labelled or only predicted in an image, its
    distance is the diagonal of the image, and its surface Dice is 0.

    Surface Dice: the share of the pixels of both surfaces that lie within a tolerance of the other one (Nikolov et al.
    2018, arXiv 1809.04430, section 5; all surface pixels have the same weight).

    Args:
        class_names: class names of all classes, the background first.
        tolerance: distance up to which surfaces agree, in the unit of the spacing; above 0.

    Raises:
        InputError: the tolerance is not above 0.

    Example:
        >>> from unet_data import SurfaceScores
        >>> scores = SurfaceScores(("background", "cell"), tolerance=1)
        >>> label = np.zeros((20, 20), int)
        >>> label[5:15, 5:15] = 1
        >>> scores.add(np.roll(label, 2, axis=0), label, (1.0, 1.0))
        >>> {name: round(value, 2) for name, value in scores.scores.items()}
        {'hausdorff95': 2.0, 'surface_dice': 0.56}
    """

    def __init__(self, class_names: Sequence[str], tolerance: float):
        if not 0 < tolerance < math.inf:
            raise InputError(f"the tolerance of the surface Dice is {tolerance:g}; it must be above 0")
        self.class_names, self.tolerance = tuple(class_names), tolerance
        self._found: list[list[tuple[float, float]]] = [[] for _ in self.class_names]

    def add(
        self,
        guess: Integer[np.ndarray, "*spatial"],
        label: Integer[np.ndarray, "*spatial"],
        spacing: Sequence[float],
    ) -> None:
        """Adds an image.

        Args:
            guess, label: (*spatial), class numbers. Pixels whose label is IGNORED are background in both.
            spacing: size of a pixel along each axis.
        """
        counted = np.asarray(label) != IGNORED
        guess = np.where(counted, guess, 0)
        for number in range(1, len(self.class_names)):
            masks = guess == number, np.asarray(label) == number
            if any(mask.any() for mask in masks):
                self._found[number].append(self._scores(*masks, spacing))

    def _scores(self, guess: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
        if not guess.any() or not truth.any():
            return math.dist([0.0] * guess.ndim, [n * s for n, s in zip(guess.shape, spacing, strict=True)]), 0.0
        to_truth, to_guess = surface_distances(guess, truth, spacing)
        both = np.concatenate([to_truth, to_guess])
        if not len(both):  # both masks fill the image
            return 0.0, 1.0
        if np.isinf(both).any():  # one mask fills the image and has no surface
            return math.dist([0.0] * guess.ndim, [n * s for n, s in zip(guess.shape, spacing, strict=True)]), 0.0
        return max(float(np.percentile(d, 95)) for d in (to_truth, to_guess)), float((both <= self.tolerance).mean())

    @property
    def scores(self) -> dict[str, float]:
        """hausdorff95, in the unit of the spacing, and surface_dice, in 0..1: means over the classes that occur (NaN if
        none does). With several classes, also the scores of each, as "hausdorff95 NAME"."""
        means = {n: np.mean(found, axis=0) for n, found in enumerate(self._found) if found}
        total = np.mean(list(means.values()), axis=0) if means else (math.nan, math.nan)
        scores = {"hausdorff95": float(total[0]), "surface_dice": float(total[1])}
        if len(self.class_names) > 2:
            for number, (distance, share) in means.items():
                name = self.class_names[number]
                scores |= {f"hausdorff95 {name}": float(distance), f"surface_dice {name}": float(share)}
        return scores


PIXELS = "pixels"


def pixel_sizes(dataset: Dataset) -> tuple[list[tuple[float, ...]], str]:
    """The pixel size of each image along its axes, and the unit.

    They are those of the files if all of them state the pixel size in the same unit; otherwise 1 along each axis, in
    pixels.

    Example:
        >>> from unet_data import membranes
        >>> from unet_data.metrics.surfaces import pixel_sizes
        >>> pixel_sizes(membranes(2, 32, seed=0))
        ([(1.0, 1.0), (1.0, 1.0)], 'pixels')
    """
    dims = dataset.spatial_dims
    known = [facts.spacing for facts in dataset.facts if facts.spacing and facts.unit and len(facts.spacing) >= dims]
    units = {symbol(facts.unit) for facts in dataset.facts}
    if len(known) == len(dataset) and len(units) == 1 and all(min(size) > 0 for size in known):
        return [tuple(map(float, size[-dims:])) for size in known], units.pop()
    return [(1.0,) * dims] * len(dataset), PIXELS
