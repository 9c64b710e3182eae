"""Settings: names, the meaning of zero, and refused values."""

from dataclasses import fields

import jax
import pytest

from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.settings import LossSettings, TrainSettings, ValidationSettings
from unet_spec import InputError

from .steps import PLAIN


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_jax_does_not_take_is_refused(seed):
    with pytest.raises(InputError, match=f"seed is {seed}; it must be"):
        TrainSettings().replace(seed=seed)
    assert jax.random.key(TrainSettings().replace(seed=2**63 - 1).optimisation.seed).shape == ()


def test_every_setting_has_a_name_of_its_own():
    settings = TrainSettings().replace(loss="dice", tile=44, elastic=0.0, validation=ValidationSettings(log_every=2))
    assert settings.loss == LossSettings("dice")
    assert settings.data.tile == 44
    assert (settings.augmentation.elastic, settings.augmentation.rotation) == (0.0, 180.0)
    assert settings.validation.log_every == 2
    groups = [getattr(settings, group.name) for group in fields(settings)]
    names = [each.name for group in groups for each in fields(group)]
    assert len(names) == len(set(names))
    assert TrainSettings.from_dict(settings.to_dict(), "here") == settings
    with pytest.raises(InputError, match="unknown settings: stepz"):
        settings.replace(steps=3, stepz=4)
    with pytest.raises(InputError, match=r"here: not the settings .*'colour'"):
        TrainSettings.from_dict({"augmentation": {"colour": 1}}, "here")


def test_zero_stands_for_automatic_and_off():
    settings = TrainSettings().replace(tile=0, learning_rate=0.0, clip=0, ema=0.0, validate_every=0)
    assert settings == TrainSettings().replace(clip=None)
    assert (
        settings.to_dict().items() >= dict.fromkeys(("tile", "learning_rate", "clip", "ema", "validate_every")).items()
    )


@pytest.mark.parametrize("loss", ["dice", "tversky", "focal"])
@pytest.mark.parametrize("extra", [{"smoothing": 0.1}, {"border_weight": 10.0}, {"balance": True}])
def test_what_a_loss_would_ignore_is_refused(loss, extra):
    if loss == "focal" and "smoothing" not in extra:
        assert TrainSettings().replace(loss=loss, **extra).loss.weighted
        return
    with pytest.raises(InputError, match=f"which the loss {loss} does not support; set it to (0.0|False)"):
        TrainSettings().replace(loss=loss, **extra)


@pytest.mark.parametrize(
    "changes",
    [{"loss": "hinge"}, {"border_sigma": 0.0}, {"ema": 1.0}, {"batch": 3, "accumulate": 2}, {"precision": "float16"}],
)
def test_settings_that_are_refused(changes):
    with pytest.raises(InputError):
        PLAIN.replace(**changes)


SHORT = TrainSettings().replace(steps=3, tile=28, log_every=1, validate_every=9, learning_rate=0.01, augmentation=NONE)


@pytest.mark.parametrize("name", ["warmup", "momentum", "smoothing", "ema"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_shares_are_below_one(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}; it must be in"):
        SHORT.replace(**{name: value})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "focal"}, "loss is focal; it must be cross_entropy or dice or cross_entropy"),
        ({"smoothing": 0.1}, "smoothing is 0.1, which overlapping classes do not support; set it to 0.0"),
        ({"border_weight": 10.0}, "set it to 0.0"),
        ({"balance": True}, "set it to False"),
        ({"select": "v_rand"}, "have only iou, dice and loss"),
        ({"objects": True}, "left out with labels overlapping"),
        ({"class_numbers": "1-3;x"}, "neither a number"),
    ],
)
def test_classes_that_overlap_have_losses_and_measures_of_their_own(changes, words):
    with pytest.raises(InputError, match=words):
        SHORT.replace(labels="overlapping", **changes)
    assert SHORT.replace(labels="overlapping", loss="dice", class_numbers="whole=1-3").loss.loss == "dice"
