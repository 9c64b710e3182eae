"""The rules by which a training is planned, each a function of the data set's figures.

Nothing here knows the machine: how wide the network is and how many steps it takes follow from the speed of the step
(`unet_jax.training.planning.plan`).
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
    ),
    {"norm": "batch", "dropout": 0.0},
)
"""What does not depend on the data. Chosen by experiment: docs/results/recipes.md."""

LEVELS = {2: 4, 3: 4}
"""Levels of a network of large images."""

DEEPEST = 8
"""Pixels per axis that the deepest level has at least, of the median image."""

SMALL_IMAGE = 160
"""Images with an axis below it, in pixels, are padded: the margin of valid convolutions would be most of the tile."""

ALIKE = 1.0
"""Images whose means differ more than this, in units of their standard deviation, are normalised each by its own."""

FILLED = 0.5
"""From this share of the second of two classes on, what matters are the borders in it."""

TOUCHING = 0.02
"""From this share of objects that touch another one on, the borders between them weigh more in the loss."""

RARE = 0.02
"""A class with a smaller share of the pixels than this is rare: tiles are drawn to have it."""


@dataclass(frozen=True)
class Choice:
    """One choice of a plan.

    Attributes:
        name: name of the flag, with underscores.
        value: the chosen value.
        reason: the rule, and the number that it was applied to.
        given: whether the caller gave the value, so that no rule was applied.
    """

    name: str
    value: Any
    reason: str
    given: bool = False


def levels(figures: Fingerprint) -> tuple[int, str]:
    """Number of levels, and why: half the size a level, down to 8 pixels of the median image, at most 4."""
    dims, side = len(figures.median), min(figures.median)
    fitting = max(2, min(LEVELS[dims], 1 + int(math.log2(max(2, side / DEEPEST)))))
    size = "x".join(map(str, figures.median))
    if fitting == LEVELS[dims]:
        return fitting, f"images with a median size of {size}: large enough for {fitting} levels"
    return (
        fitting,
        f"images with a median size of {size}: the deepest of {fitting} levels has {side >> (fitting - 1)} pixels",
    )


def padding(figures: Fingerprint) -> Choice:
    """Valid convolutions, as in the paper; same padding of small images and of volumes."""
    side = min(figures.median)
    if len(figures.median) == 3:
        return Choice("padding", "same", "volumes: the margin of valid convolutions would be most of the tile")
    if side < SMALL_IMAGE:
        return Choice("padding", "same", f"images of {side} pixels: the margin of valid convolutions is as large")
    return Choice("padding", "valid", f"images of {side} pixels or more: no zeros at the edges of tiles")


def tile(figures: Fingerprint, network: NetworkConfig) -> Choice:
    """The tile that covers the median image where that is small, else 252 pixels (68 in 3-D)."""
    dims, grids = len(figures.median), network.geometry.grids
    usual = {2: 252, 3: 68}[dims]
    side = max(figures.median)
    covering = max(side + network.geometry.margin(axis) * 2 for axis in range(dims))
    if covering >= usual or side >= usual:
        return Choice("tile", usual, f"images of up to {side} pixels: the usual size")
    fitting = max(grid.above(covering) for grid in grids)
    return Choice("tile", fitting, f"covers an image of {side} pixels")


def data_rules(figures: Fingerprint, settings: TrainSettings) -> Iterator[Choice]:
    """Normalisation, loss, weights of pixels, tiles of rare classes. The paper's border weight is for a cross entropy,
    and not beside a border class, which does the same."""
    spread = f"the images' means differ by {figures.spread:.2f} of their standard deviation"
    if figures.spread > ALIKE:
        yield Choice("normalization", "image", f"{spread}: each image by its own mean and standard deviation")
    else:
        yield Choice(
            "normalization",
            "dataset",
            f"{spread}: all images by the mean and standard deviation of the training images",
        )
    yield Choice("loss", "cross_entropy+dice", "Dice gives each class the same weight, regardless of its share")
    rare = f"the rarest class has {figures.rarest:.2%} of the pixels"
    yield Choice("oversample", 0.33 if figures.rarest < RARE else 0.0, rare)
    weighs = settings.loss.loss not in ("dice", "tversky") and not settings.data.objects
    if figures.touching is not None and weighs and not figures.overlapping:
        how = f"{figures.touching:.0%} of {figures.objects} objects touch another one"
        yield Choice("border_weight", 10.0 if figures.touching >= TOUCHING else 0.0, how)


def network_rules(figures: Fingerprint, together: int) -> Iterator[Choice]:
    """Norm and dropout, for so many tiles that pass through the network together.

    Group norm where cells fill the image, batch norm of all else: docs/results/recipes.md has both.
    """
    share = figures.shares[1] if len(figures.shares) == 2 else 0.0
    if together > 1 and share > FILLED:
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
    yield Choice("dropout", AUTO.network["dropout"], "costs a narrow network more than it gives")


def fixed_rules(settings: TrainSettings) -> Iterator[Choice]:
    """What was found best for all data that were tried."""
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
