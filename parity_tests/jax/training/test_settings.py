"""Settings: names, the meaning of zero, and refused values."""

import math
from dataclasses import fields

import jax
import pytest

from unet_jax import preset
from unet_jax.training.augmentation.augment import LARGEST, NONE
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


DEFAULTS = {
    "tile": None, "ignore": None, "labels": "auto", "objects": False, "normalization": "dataset", "class_numbers": "",
    "oversample": 0.0, "loader": "memory", "workers": 2, "spacing": "none",
    "steps": 2000, "batch": 1, "accumulate": 1, "optimizer": "adamw", "learning_rate": None, "schedule": "cosine",
    "warmup": 0.02, "momentum": 0.99, "weight_decay": 1e-4, "clip": 1.0, "ema": None, "seed": 0, "weights": None,
    "freeze": (),
    "loss": "cross_entropy", "focal_gamma": 2.0, "tversky_alpha": 0.3, "tversky_beta": 0.7, "smoothing": 0.0,
    "border_weight": 0.0, "border_sigma": 5.0, "distance_weight": 1.0, "balance": False,
    "validate": "auto", "group": None, "select": "auto", "validate_every": None, "log_every": 10,
    "precision": "float32", "remat": False, "fsdp": False, "space": 1,
    "channels": "auto", "orientation": "apply", "white_is_zero": "auto", "palette": "auto", "class_colors": "",
    "axes": "",
    "pixel_size": "",
    "augmentation": {
        "elastic": 10.0, "rotation": 180.0, "mirror": True, "contrast": 0.2, "brightness": 0.2, "turns": False,
        "scale": 0.0, "blur": 0.0, "low_resolution": 0.0, "gamma": 0.0, "noise": 0.0, "share": 1.0,
    },
}  # fmt: skip


def test_settings_that_are_left_out_have_the_documented_values():
    assert TrainSettings().to_dict() == DEFAULTS
    off = {name: type(value)(0) for name, value in DEFAULTS["augmentation"].items()} | {"share": 1.0}
    assert TrainSettings().replace(augmentation=NONE).to_dict()["augmentation"] == off


@pytest.mark.parametrize(
    ("name", "allowed", "refused", "words"),
    [
        ("ignore", [None, 0, 255], [-1], "a number, and not negative"),
        ("tile", [1, (1, 2)], [-1, (0, 5), (5, -1)], "one number or one per axis, each above 0"),
        ("oversample", [0.0, 1.0], [-0.01, 1.01], "in 0 … 1"),
        ("workers", [0], [-1], "a number, and not negative"),
        ("steps", [1], [0], "at least 1"),
        ("batch", [1], [0], "at least 1"),
        ("accumulate", [1], [0], "at least 1"),
        ("learning_rate", [None, 1e-9], [-1e-9, math.inf], "a number, and not negative"),
        ("clip", [None, 1e-9], [-1e-9, math.inf], "a number, and not negative"),
        ("weight_decay", [0.0], [-1e-9, math.inf], "a number, and not negative"),
        ("warmup", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
        ("momentum", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
        ("ema", [None, 0.999], [-0.001, 1.0], "in [0, 1)"),
        ("smoothing", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
        ("border_sigma", [1e-9], [0.0, -1.0, math.inf], "above 0"),
        *((name, [0.0, 9.0], [-0.001, math.inf], "a number, and not negative")
          for name in ("focal_gamma", "tversky_alpha", "tversky_beta", "border_weight", "distance_weight")),
        ("validate_every", [None, 1], [-1], "at least 1"),
        ("log_every", [1], [0], "at least 1"),
        ("space", [1, 2], [0], "at least 1"),
        *((name, [0.0, largest], [-0.001, largest * 1.001], f"in 0 … {largest}") for name, largest in LARGEST.items()),
    ],
)  # fmt: skip
def test_a_setting_is_in_its_range(name, allowed, refused, words):
    for value in allowed:
        found = TrainSettings().replace(**{name: value}).to_dict()
        assert (found | found["augmentation"])[name] == value
    for value in refused:
        with pytest.raises(InputError) as printed:
            TrainSettings().replace(**{name: value})
        assert str(printed.value).removeprefix("augmentation ") == f"{name} is {value}; it must be {words}"


def test_a_batch_is_a_multiple_of_its_parts():
    assert TrainSettings().replace(batch=6, accumulate=3).optimisation.accumulate == 3
    with pytest.raises(InputError, match="batch is 6; it must be a multiple of accumulate, 4"):
        TrainSettings().replace(batch=6, accumulate=4)


@pytest.mark.parametrize(
    ("steps", "every", "wanted"),
    [(1, None, 1), (19, None, 1), (20, None, 2), (600, None, 60), (2499, None, 249), (2500, None, 250),
     (9000, None, 250), (9000, 7, 7)],
)  # fmt: skip
def test_a_run_validates_ten_times_or_every_250_steps(steps, every, wanted):
    assert ValidationSettings(validate_every=every).steps_between(steps) == wanted


@pytest.mark.parametrize(
    ("network", "tile", "wanted"),
    [
        (preset("paper", widths=(2, 4)), None, (252, 252)),
        (preset("same", widths=(2, 4), spatial_dims=3), None, (68, 68, 68)),
        (preset("paper", spatial_dims=3), None, (188, 188, 188)),  # its minimum
        (preset("same", widths=(2, 4, 8)), 31, (28, 28)),
        (preset("same", widths=(2, 4, 8)), (32, 9), (32, 8)),
        (preset("same", widths=(2, 4, 8)), 4, (4, 4)),
    ],
)
def test_a_tile_is_rounded_down_to_a_size_that_fits(network, tile, wanted):
    assert TrainSettings().replace(tile=tile).data.tile_shape(network) == wanted


def test_a_tile_that_does_not_fit_is_refused():
    network = preset("same", widths=(2, 4, 8))
    with pytest.raises(InputError, match="tile is 3; the minimum of this network is 4"):
        TrainSettings().replace(tile=3).data.tile_shape(network)
    with pytest.raises(InputError, match=r"tile is \(8, 8, 8\); this network has 2 axes: give one number"):
        TrainSettings().replace(tile=(8, 8, 8)).data.tile_shape(network)
