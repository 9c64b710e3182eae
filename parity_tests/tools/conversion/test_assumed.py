"""Facts that a file of tensors lacks: assumed once, reported by convert and by predict, until an option states them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.cli import main
from unet_tools.conversion.assumed import assumptions, describe, stated

CONFIG = preset("same", widths=(2, 3), in_channels=3)
CHECKPOINT = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec(assumed=assumptions(CONFIG, None)))


def test_predict_says_what_is_still_assumed_and_convert_sets_it(tmp_path, capsys):
    CHECKPOINT.save(tmp_path / "a")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)).save(tmp_path / "i.png")
    predict = [str(tmp_path / "i.png"), "--output", "logits", "--runtime", "torch", "-o"]
    assert main(["predict", str(tmp_path / "a"), *predict, str(tmp_path / "a.npy")]) == 0
    assert (
        "a: assumed, since the file does not state it: normalisation: none [--mean --std];" in capsys.readouterr().err
    )
    options = [
        "--mean",
        "0.5",
        "--std",
        "0.2",
        "--class-names",
        "x",
        "y",
        "--classes",
        "exclusive",
        "--set",
        "padding=same",
    ]
    assert main(["convert", str(tmp_path / "a"), str(tmp_path / "b"), *options]) == 0
    assert main(["predict", str(tmp_path / "b"), *predict, str(tmp_path / "b.npy")]) == 0
    assert "assumed" not in capsys.readouterr().err
    assert not np.allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_none_states_that_there_is_no_normalisation():
    assert describe(CHECKPOINT.data, "x")
    after = stated(CHECKPOINT, ["none"], ["none"], [], None, [])
    assert after.data.mean == ()
    assert not [line for line in after.data.assumed if line.startswith("normalisation")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["0.5"], [], [], None, []), "--mean and --std together"),
        ((["1", "2"], ["1", "2"], [], None, []), "one for each of the 3 channels"),
        ((["x"], ["1"], [], None, []), "give numbers, imagenet or none"),
        (([], [], ["a"], None, []), "1 class names for 2 classes"),
        (([], [], [], None, ["padding"]), "give NAME=VALUE"),
        (([], [], [], None, ["padding=odd"]), "padding is 'odd'"),
        (([], [], [], None, ["widths=[2, 4]"]), "with another shape"),
    ],
)
def test_wrong_statements_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        stated(CHECKPOINT, *arguments)


def test_imagenet_is_for_three_channels():
    one = dataclasses.replace(CHECKPOINT, config=CONFIG.replace(in_channels=1))
    with pytest.raises(InputError, match="imagenet is for 3 channels; this network has 1"):
        stated(one, ["imagenet"], ["imagenet"], [], None, [])


def test_what_is_assumed_depends_on_the_network_and_its_project():
    lines = assumptions(CONFIG, None)
    assert lines[:3] == ("normalisation: none", "class names: none", "classes: one per pixel")
    assert lines[3].startswith("network: padding same, merge ")
    assert "the usual ones" not in lines[3]
    one = assumptions(CONFIG.replace(out_channels=1), "smp")
    assert one[:2] == ("normalisation: none (smp's encoders mostly take imagenet)", "class names: none")
    assert one[2].startswith("network: ")
    assert one[2].endswith(", padding and interpolation: the usual ones of smp")


def test_each_assumption_is_said_with_the_options_that_replace_it():
    data = DataSpec(
        assumed=("normalisation: none", "classes: one per pixel", "network: x", "class names: none", "other: y")
    )
    assert describe(data, "a.pth") == (
        "a.pth: assumed, since the file does not state it: normalisation: none [--mean --std]; classes: one per pixel "
        "[--classes]; network: x [--set]; class names: none [--class-names]; other: y [unet convert]"
    )
    assert describe(DataSpec(), "a.pth") is None


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ((["0.5"], ["0.25"], [], None, []), {"class names", "classes", "network"}),
        (([], [], ["a", "b"], None, []), {"normalisation", "classes", "network"}),
        (([], [], [], "exclusive", []), {"normalisation", "class names", "network"}),
        (([], [], [], None, ["padding=valid"]), {"normalisation", "class names", "classes"}),
    ],
)
def test_a_statement_replaces_its_own_assumption_only(arguments, left):
    after = stated(CHECKPOINT, *arguments)
    assert {line.partition(":")[0] for line in after.data.assumed} == left


def test_statements_are_stored():
    after = stated(CHECKPOINT, ["0.5"], ["0.25"], ["a", "b"], "overlapping", ["padding=valid", "norm_eps=0.01"])
    assert (after.data.mean, after.data.std) == ((0.5,) * 3, (0.25,) * 3)
    assert (after.data.class_names, after.data.overlapping) == (("a", "b"), True)
    assert (after.config.to_dict()["padding"], after.config.to_dict()["norm_eps"]) == ("valid", 0.01)
    assert not stated(CHECKPOINT, [], [], [], "exclusive", []).data.overlapping
    three = stated(CHECKPOINT, ["imagenet"], ["imagenet"], [], None, [])
    assert (three.data.mean, three.data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        (["1", "2", "3"], ["none"], "--mean has 3 numbers, --std 0; they must have the same count"),
        (["nan"], ["1"], "needs one finite number"),
        ([], ["1"], "give --mean and --std together"),
        (["1", "1"], ["1"], "--mean needs one finite number, or one for each of the 3 channels"),
    ],
)
def test_mean_and_standard_deviation_are_numbers_of_equal_count(mean, std, words):
    with pytest.raises(InputError, match=words):
        stated(CHECKPOINT, mean, std, [], None, [])
