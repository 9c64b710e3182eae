"""Recipes: combinations of settings and changes to the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..settings import TrainSettings

RecipeName = Literal["paper-2015", "modern"]


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings and changes to the network, chosen by `--recipe`.

    Attributes:
        settings: all settings; flags of `unet train` override single ones.
        network: changes to the config of a U-Net, unless the config is given as a file.

    Example:
        >>> from unet_jax import RECIPES, preset
        >>> recipe = RECIPES["modern"]
        >>> settings = recipe.settings.replace(steps=300)
        >>> preset("paper", **recipe.network).norm, settings.optimisation.batch
        ('batch', 4)
    """

    settings: TrainSettings
    network: dict[str, Any] = field(default_factory=dict)


RECIPES: dict[RecipeName, TrainingRecipe] = {
    # Ronneberger et al. 2015, section 3: one large tile a batch, momentum 0.99, border weights with class balancing,
    # elastic deformation, dropout at the end of the contracting path, mirrored borders. The paper gives no learning
    # rate: with momentum 0.99 a constant gradient is multiplied by 100, so 3e-3 acts like 0.3. The rate decays to 0: at
    # a constant rate, the last weights would be as noisy as the last hundred tiles, since nothing averages them.
    "paper-2015": TrainingRecipe(
        TrainSettings().replace(
            optimizer="sgd",
            momentum=0.99,
            learning_rate=3e-3,
            schedule="cosine",
            warmup=0.05,
            weight_decay=0.0,
            border_weight=10.0,
            border_sigma=5.0,
            balance=True,
            elastic=10.0,
            rotation=180.0,
            mirror=True,
            contrast=0.2,
            brightness=0.2,
        ),
        {"dropout": 0.5, "norm": "none"},
    ),
    # Four tiles per batch: with one, batch norm normalises every tile by itself in training, but not in prediction.
    # Dice replaces the class balancing of the paper's recipe, and 0.5 stays the right threshold for the probabilities.
    # Class balancing in addition to Dice costs 0.04 of IoU if the foreground is small (`python -m
    # benchmarks.ablation`).
    "modern": TrainingRecipe(
        TrainSettings().replace(
            batch=4,
            optimizer="adamw",
            learning_rate=2e-3,
            schedule="cosine",
            warmup=0.05,
            weight_decay=1e-2,
            clip=1.0,
            loss="cross_entropy+dice",
            smoothing=0.05,
            ema=0.99,
        ),
        {"dropout": 0.0, "norm": "batch"},
    ),
}
"""The recipes by name. None changes precision or remat, which depend on the machine, not on the data."""
