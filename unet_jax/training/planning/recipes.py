"""Recipes: settings, and changes to the network, that belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..settings import TrainSettings

RecipeName = Literal["paper-2015", "modern"]


@dataclass(frozen=True)
class TrainingRecipe:
    """A set of settings and of changes to the network, chosen by `--recipe`.

    Attributes:
        settings: all settings; flags of `unet train` change single ones.
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
    # rate: with momentum 0.99 a constant gradient is applied a hundredfold, so 3e-3 acts like 0.3. It falls to 0, since
    # at a constant rate the last weights, which nothing averages, are as noisy as the last hundred tiles.
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
    # Four tiles a batch, since batch norm of one normalises every tile by itself in training, and not in use. Dice does
    # what class balancing does in the paper's recipe, and leaves the probabilities where 0.5 is the right threshold:
    # balancing beside it costs 0.04 of IoU where the foreground is small (`python -m benchmarks.ablation`).
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
"""The recipes by name. Precision stays float32 and remat off: their use depends on the machine, not on the data."""
