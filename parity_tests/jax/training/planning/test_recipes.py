"""The settings of the recipes."""

from unet_jax.training.planning.recipes import RECIPES
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
