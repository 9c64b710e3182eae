"""The rules for planning a training run. Each is a function of the data set's figures.

They do not depend on the machine. `unet_jax.training.planning.plan` chooses the width of the network and the number of
steps by the speed of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unet_data import Fingerprint
from unet_spec import NetworkConfig

from ..settings import TrainSettings
from .recipes import TrainingRecipe

AUTO = TrainingRecipe(
    TrainSettings().replace(
        batch=4,
        optimizer="adamw",
        learning_rate=2e-3,
        schedule="cosine",
        warmup=0.05,
        weight_decay=1e-2,
        clip=1.0,
        loss="cross_entropy+dice",
        ema=0.99,
        elastic=0.0,
        rotation=0.0,
        turns=True,
        mirror=True,
        contrast=0.2,
        brightness=0.2,
        spacing="auto",
    ),
    {"norm": "batch", "dropout": 0.0},
)
"""Settings that do not depend on the data, chosen by experiment: docs/results/recipes.md."""

LEVELS = {2: 4, 3: 4}
"""Number of levels of a network for large images, by number of spatial axes."""

DEEPEST_SIZE = 8
"""Minimum size of the median image at the deepest level, in pixels per axis."""

SMALL_IMAGE = 160
"""Images with a shorter axis, in pixels, use same padding: the margin of valid convolutions would be most of the
tile."""

SIMILAR_MEANS = 1.0
"""If the images' means differ by more than this, in units of their standard deviation, each image is normalised by its
own mean and standard deviation."""

DENSE = 0.5
"""If the second of two classes has at least this share of the pixels, the borders inside it matter most."""

TOUCHING = 0.02
"""If at least this share of the objects touch another one, the loss gives the borders between them more weight."""

RARE = 0.02
"""A class with a smaller share of the pixels is rare, and tiles that contain it are oversampled."""


@dataclass(frozen=True)
class Choice:
    """One choice of a plan.

    Attributes:
        name: name of the setting.
        value: the chosen value.
        reason: the rule, and the figure that it was applied to.
        given: whether the caller gave the value, so that no rule was applied.
    """

    name: str
    value: Any
    reason: str
    given: bool = False


def levels(figures: Fingerprint) -> tuple[int, str]:
    """Number of levels, and the reason. The size halves per level, down to 8 pixels for the median image; at most 4
    levels."""
    dims, side = len(figures.median), min(figures.median)
    fitting = max(2, min(LEVELS[dims], 1 + int(math.log2(max(2, side / DEEPEST_SIZE)))))
    size = "x".join(map(str, figures.median))
    if fitting == LEVELS[dims]:
        return fitting, f"images with a median size of {size}: large enough for {fitting} levels"
    return (
        fitting,
        f"images with a median size of {size}: the deepest of {fitting} levels has {side >> (fitting - 1)} pixels",
    )


def padding(figures: Fingerprint) -> Choice:
    """Valid convolutions, as in the paper; same padding for small images and for volumes."""
    side = min(figures.median)
    if len(figures.median) == 3:
        return Choice("padding", "same", "volumes: the margin of valid convolutions would be most of the tile")
    if side < SMALL_IMAGE:
        return Choice("padding", "same", f"images of {side} pixels: the margin of valid convolutions is as large")
    return Choice("padding", "valid", f"images of {side} pixels or more: no zeros at the edges of tiles")


def tile(figures: Fingerprint, network: NetworkConfig) -> Choice:
    """A tile that covers the median image if it is small, otherwise 252 pixels (68 in 3-D)."""
    dims, grids = len(figures.median), network.geometry.grids
    default = {2: 252, 3: 68}[dims]
    side = max(figures.median)
    covering = max(side + network.geometry.margin(axis) * 2 for axis in range(dims))
    if covering >= default or side >= default:
        return Choice("tile", default, f"images of up to {side} pixels: the usual size")
    fitting = max(grid.above(covering) for grid in grids)
    return Choice("tile", fitting, f"covers an image of {side} pixels")


def data_rules(figures: Fingerprint, settings: TrainSettings) -> Iterator[Choice]:
    """Normalisation, loss, pixel weights, oversampling of rare classes. The paper's border weight needs a cross
    entropy, and a border class replaces it."""
    difference = f"the images' means differ by {figures.spread:.2f} of their standard deviation"
    if figures.spread > SIMILAR_MEANS:
        yield Choice("normalization", "image", f"{difference}: each image by its own mean and standard deviation")
    else:
        yield Choice(
            "normalization",
            "dataset",
            f"{difference}: all images by the mean and standard deviation of the training images",
        )
    yield Choice("loss", "cross_entropy+dice", "Dice gives each class the same weight, regardless of its share")
    rare = f"the rarest class has {figures.rarest:.2%} of the pixels"
    yield Choice("oversample", 0.33 if figures.rarest < RARE else 0.0, rare)
    weighted = settings.loss.loss not in ("dice", "tversky") and not settings.data.objects
    if figures.touching is not None and weighted and not figures.overlapping:
        how = f"{figures.touching:.0%} of {figures.objects} objects touch another one"
        yield Choice("border_weight", 10.0 if figures.touching >= TOUCHING else 0.0, how)


def network_rules(figures: Fingerprint, together: int) -> Iterator[Choice]:
    """Norm and dropout, for `together` tiles in one forward pass.

    Group norm if cells fill the image, otherwise batch norm: docs/results/recipes.md compares both.
    """
    share = figures.shares[1] if len(figures.shares) == 2 else 0.0
    if together > 1 and share > DENSE:
        yield Choice(
            "norm", "group", f"{figures.class_names[1]} has {share:.0%} of the pixels: its borders matter most"
        )
    elif together > 1:
        yield Choice("norm", AUTO.network["norm"], "the same result in less time")
    else:
        yield Choice(
            "norm",
            "group",
            "batch norm sees one tile at a time in training, so its statistics differ from those in prediction",
        )
    yield Choice("dropout", AUTO.network["dropout"], "lowers the scores of narrow networks")


def fixed_rules(settings: TrainSettings) -> Iterator[Choice]:
    """Settings that were best for all data sets in the experiments."""
    chosen, changes = settings.optimisation, settings.augmentation
    yield Choice("batch", chosen.batch, "tiles of different images in each step")
    if chosen.optimizer == "adamw":
        yield Choice("learning_rate", chosen.learning_rate, "AdamW, cosine with warm-up, at twice its usual rate")
    yield Choice("ema", chosen.ema, "the average of the last weights is measured and written")
    exact = "by whole pixels, so that training images stay as sharp as the images to segment"
    yield Choice("turns", changes.turns, exact)
    yield Choice("mirror", changes.mirror, exact)
    yield Choice("rotation", changes.rotation, "would interpolate every tile")
    yield Choice("elastic", changes.elastic, "would interpolate every tile")
