"""The network of a run, from flags, a recipe, a file or a stored run; what is printed before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unet_data import FileFacts, TargetSpacing, membranes
from unet_jax import RECIPES, TrainSettings
from unet_spec import Checkpoint, InputError, preset, random_tensors
from unet_tools.training import beginning
from unet_tools.training.beginning import chosen_network, with_absolute_paths, with_named_networks
from unet_tools.training.flags import NetworkFlags, TrainArgs

SAME = preset("same", widths=(2, 3), in_channels=2, out_channels=4)


@pytest.fixture
def net(tmp_path):
    """The checkpoint of SAME."""
    Checkpoint(SAME, random_tensors(SAME.graph, 0)).save(tmp_path / "net")
    return tmp_path / "net"


def args(weights=None, recipe=None, **network):
    return TrainArgs("data", Path("run"), recipe, network=NetworkFlags(**network), settings=weighted(weights))


def weighted(weights):
    return TrainSettings().replace(weights=None if weights is None else str(weights))


def test_a_network_comes_from_the_flags_the_stored_run_or_the_weights(net):
    base = preset("paper", widths=(5, 6))
    assert chosen_network(args(), None) == preset("paper")
    assert chosen_network(args(), base) == base
    assert chosen_network(args(preset="unet++"), None) == preset("unet++")
    assert chosen_network(args(weights=net), None) == SAME
    assert chosen_network(args(weights=net, preset="paper"), None) == preset("paper")
    assert chosen_network(args(config=net / "config.json"), None) == SAME
    own = chosen_network(args(preset="same"), base)  # to be refused where it differs, not where the data decide
    assert own == preset("same", in_channels=base.in_channels, out_channels=base.out_channels)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_changes_a_u_net_that_no_file_describes(recipe, net):
    changed = RECIPES[recipe].network
    assert chosen_network(args(recipe=recipe), None) == preset("paper", **changed)
    assert chosen_network(args(recipe=recipe, preset="same"), None) == preset("same", **changed)
    assert chosen_network(args(recipe=recipe, preset="unet++"), None) == preset("unet++")
    assert chosen_network(args(recipe=recipe, config=net / "config.json"), None) == SAME
    assert chosen_network(args(recipe=recipe, weights=net), None) == SAME
    assert chosen_network(args(recipe=recipe, dropout=0.25), None).to_dict()["dropout"] == 0.25


def test_a_folder_of_which_only_the_network_is_used_is_named(net, capsys):
    chosen_network(args(config=net), None)
    said = f"{net}: only its network is used, with new weights; --weights {net} starts from its weights\n"
    assert capsys.readouterr().err == said
    for given, base in ((args(config=net, weights=net), None), (args(config=net), SAME), (args(weights=net), None)):
        chosen_network(given, base)
        assert capsys.readouterr().err == ""
    (net.parent / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"is the folder of a run: give its run\.json to --config"):
        chosen_network(args(config=net.parent), None)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("norm", "batch", "--norm batch: unet.. has a fixed normalisation; leave it out"),
        ("norm_groups", 0, "--norm-groups 0: unet.. has a fixed normalisation"),
        ("padding", "same", "--padding same: unet.. has a fixed padding"),
        ("dropout", 0.0, "--dropout 0.0: unet.. has a fixed dropout"),
        ("distance_head", True, "--distance-head: only a U-Net predicts distances, unet.. does not"),
    ],
)
def test_flags_of_a_u_net_are_refused_for_others(flag, value, message):
    with pytest.raises(InputError, match=message):
        chosen_network(args(preset="unet++", **{flag: value}), None)


def test_flags_change_any_network():
    found = chosen_network(args(preset="unet++", widths=(4, 8), spatial_dims=3), None)
    assert found == preset("unet++", widths=(4, 8), spatial_dims=3)
    own = {"widths": (4, 8), "padding": "same", "norm": "group", "norm_groups": 2, "dropout": 0.0}
    assert chosen_network(args(**own, distance_head=True), None) == preset("paper", **own, distance_head=True)


def test_paths_of_a_run_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held").mkdir()
    found = with_absolute_paths(TrainSettings().replace(weights="w", validate="held"))
    assert (found.optimisation.weights, found.validation.validate) == (str(tmp_path / "w"), str(tmp_path / "held"))
    for validate in ("auto", "0.5", "1/3"):
        assert with_absolute_paths(TrainSettings().replace(validate=validate)) == TrainSettings().replace(
            validate=validate
        )


def test_names_of_installed_networks_become_their_folders(monkeypatch, tmp_path):
    monkeypatch.setattr(beginning, "named_network", lambda path: tmp_path / path if path.name == "nuclei" else path)
    found = with_named_networks(args(weights="nuclei", config=Path("nuclei")))
    assert found.settings.optimisation.weights == str(tmp_path / "nuclei")
    assert found.network.config == tmp_path / "nuclei"
    plain = args(weights="w", config=Path("c"))
    assert with_named_networks(plain) is plain


def test_images_that_are_resampled_are_said_with_those_that_are_not():
    data = membranes(3, 40, 0)
    assert beginning._resampled(data) == []
    sizes = [(5.0, 1.0), None, (2.0, 2.0)]
    facts = tuple(FileFacts(spacing=size, unit="um") for size in sizes)
    target = TargetSpacing((2.0, 1.0), "um", "the median")
    lines = beginning._resampled(replace(data, facts=facts, spacing=target))
    assert lines == [
        f"images are resampled to pixels of {target} (the median; --spacing none: not resampled); 1 of 3 images state "
        "no pixel size and are not resampled"
    ]
    every = beginning._resampled(replace(data, facts=(facts[0],) * 3, spacing=target))
    assert every[0].endswith("--spacing none: not resampled)")


def test_the_score_of_objects_is_said_where_it_chooses(monkeypatch):
    data = membranes(2, 40, 0)
    assert beginning._chosen_by(args(), SAME, data) == []
    monkeypatch.setattr(beginning, "measure_for", lambda settings, config, training: "ap_mean")
    assert beginning._chosen_by(args(), SAME, data) == [
        "best/ is chosen by ap_mean: mean AP of objects over IoU 0.5 to 0.95, separated by the defaults (--select)"
    ]
