"""The settings of the recipes."""

import pytest

from unet_jax.training.planning.recipes import RECIPES
from unet_jax.training.planning.rules import AUTO
from unet_jax.training.settings import TrainSettings


def test_recipes_hold_what_they_say():
    paper, modern = RECIPES["paper-2015"], RECIPES["modern"]
    s = paper.settings
    assert (s.loss.border_weight, s.loss.border_sigma, s.loss.balance) == (10, 5, True)
    assert (s.optimisation.momentum, s.optimisation.batch) == (0.99, 1)
    assert (s.augmentation.elastic, s.augmentation.rotation > 0, s.augmentation.brightness > 0) == (10, True, True)
    assert paper.network["dropout"] == 0.5
    assert (modern.settings.loss.loss, modern.settings.loss.balance) == ("cross_entropy+dice", False)
    assert modern.settings.optimisation.ema
    assert modern.settings.loss.smoothing
    assert modern.network["norm"] == "batch"
    assert modern.settings.optimisation.batch > 1  # with one tile, its statistics differ from those in prediction
    for recipe in RECIPES.values():
        assert TrainSettings.from_dict(recipe.settings.to_dict(), "here") == recipe.settings


ADAMW = {
    "batch": 4, "learning_rate": 2e-3, "warmup": 0.05, "weight_decay": 1e-2, "ema": 0.99, "loss": "cross_entropy+dice",
}  # fmt: skip
STATED = {
    "paper-2015": {
        "optimizer": "sgd", "learning_rate": 3e-3, "warmup": 0.05, "weight_decay": 0.0, "border_weight": 10.0,
        "balance": True,
    },
    "modern": ADAMW | {"smoothing": 0.05},
    "auto": ADAMW | {"spacing": "auto"},
}  # fmt: skip
NETWORKS = {
    "paper-2015": {"dropout": 0.5, "norm": "none"},
    "modern": {"dropout": 0.0, "norm": "batch"},
    "auto": {"dropout": 0.0, "norm": "batch"},
}


@pytest.mark.parametrize("name", STATED)
def test_a_recipe_differs_from_the_defaults_in_what_is_stated(name):
    recipe = {**RECIPES, "auto": AUTO}[name]
    found, usual = recipe.settings.to_dict(), TrainSettings().to_dict()
    changes = {"elastic": 0.0, "rotation": 0.0, "turns": True} if name == "auto" else {}
    assert found.pop("augmentation") == usual.pop("augmentation") | changes
    assert {key: value for key, value in found.items() if value != usual[key]} == STATED[name]
    assert (found["schedule"], found["momentum"], found["border_sigma"], found["clip"]) == ("cosine", 0.99, 5.0, 1.0)
    assert recipe.network == NETWORKS[name]
