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
