"""Configs of every architecture: to JSON and back, and values that are refused."""

import pytest

from unet_spec import PRESETS, DataSpec, InputError, NetworkConfig, preset
from unet_spec.families.ensemble import EnsembleConfig


@pytest.mark.parametrize("name", list(PRESETS))
def test_json_and_back(name):
    config = preset(name)
    assert NetworkConfig.from_json(config.to_json()) == config
    assert type(config).from_json(config.to_json()) == config
    with pytest.raises(InputError, match="unknown key 'depht'; known: in_channels"):
        config.replace(depht=3)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("unet++", {"widths": (8,)}, "two levels or more"),
        ("multiresunet", {"alpha": 0.1}, "alpha is 0.1"),
        ("sa-unet", {"block": 4}, "block is 4; it must be odd"),
        ("probabilistic-unet", {"latent": 0}, "latent is 0"),
        ("transunet", {"heads": 5}, "a divisor of hidden, 768"),
        ("transunet", {"spatial_dims": 3}, "unknown key 'spatial_dims'"),
        ("fcn-8s", {"widths": (1, 2)}, "five numbers"),
    ],
)
def test_a_wrong_value_is_reported(name, change, message):
    with pytest.raises(InputError, match=message):
        preset(name, **change)


def test_an_unknown_architecture_is_reported_with_those_that_there_are():
    with pytest.raises(
        InputError, match=r"unknown architecture 'u-net'; allowed: 'unet', .*'transunet'.*did you mean 'unet'"
    ):
        NetworkConfig.from_dict({"architecture": "u-net"})


def test_a_distance_head_is_one_more_channel_and_nothing_that_older_versions_do_not_know():
    config, plain = preset("same", distance_head=True), preset("same")
    assert (config.out_channels, config.output_channels, config.classes, config.logits) == (2, 3, 2, "head")
    assert (plain.output_channels, plain.logits) == (2, "head")
    assert config.graph.channels[config.graph.output.name] == 3
    assert set(config.graph.params) - set(plain.graph.params) == {"distance.weight", "distance.bias"}
    assert "distance_head" not in plain.to_dict()
    assert NetworkConfig.from_dict(config.to_dict()) == config
    for refused in (lambda: EnsembleConfig.of(config, 2), lambda: DataSpec(overlapping=True).check(config, "x")):
        with pytest.raises(InputError, match="distance"):
            refused()


@pytest.mark.parametrize("overlapping", [False, True])
def test_an_ensemble_takes_the_kind_of_classes_whose_probabilities_it_averages(overlapping):
    for classes in (1, 2, 3):
        config = EnsembleConfig.of(preset("same", widths=(2, 4), out_channels=classes), 2, overlapping)
        config.check_classes(overlapping)
        if classes == 1:  # one logit: the sigmoid in both cases
            config.check_classes(not overlapping)
        else:
            with pytest.raises(InputError, match="this ensemble takes the mean of each"):
                config.check_classes(not overlapping)
