"""`unet plan`: the plan for an image size, without an image."""

import json

import pytest

from unet_spec import preset
from unet_tools.cli import main

NETWORK = ["--preset", "paper", "--widths", "2", "4"]


def plan(capsys, *arguments):
    assert main(["plan", *NETWORK, *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_one_number_is_every_axis_and_less_memory_is_smaller_tiles(capsys):
    rich, poor = (plan(capsys, "--image", "3000", "--memory", memory) for memory in ("4GiB", "300MiB"))
    assert rich["image"] == poor["image"] == [3000, 3000]
    assert rich["exact"]
    assert poor["exact"]
    assert poor["tiles"] > rich["tiles"]
    assert poor["redundancy"] >= rich["redundancy"]
    work = preset("paper", widths=(2, 4)).graph.macs(tuple(rich["canvas"]))
    assert sum(work.values()) <= rich["work"]


def test_a_smaller_halo_is_approximate_and_says_what_it_saves(capsys):
    assert (
        main(["plan", "--preset", "same", "--widths", "2", "4", "--image", "900", "--tile", "160", "--halo", "1"]) == 0
    )
    assert "an exact halo would need" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--image", "9", "9", "9"), "--image is 9x9x9, but there are 2 axes: give one number, or one per axis"),
        (("--image", "900", "--memory", "much"), "much"),
        (("--image", "900", "--minutes", "5", "--class-numbers", "1,2"), "--minutes, --class-numbers: for labelled"),
    ],
)
def test_what_cannot_be_planned_is_one_line(arguments, words, capsys):
    assert main(["plan", *NETWORK, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_preset_has_the_axes_that_are_asked_for(capsys):
    assert main(["plan", *NETWORK, "--spatial-dims", "3", "--image", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["image"] == [64, 64, 64]
