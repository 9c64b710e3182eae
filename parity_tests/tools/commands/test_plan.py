"""`unet plan`: the plan for an image size, without an image."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from unet_spec import preset
from unet_spec.files import format_bytes
from unet_spec.tiling.planner import Limits, plan_image
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


def test_the_numbers_of_a_plan_are_those_of_the_planner(capsys):
    """A size for each axis; tile, halo, runtime and memory are passed on."""
    words = ["--image", "700", "900", "--tile", "172x188", "--runtime", "torch", "--memory", "1GiB", "--halo", "2"]
    found = plan(capsys, *words)
    limits = Limits(2**30, tile=(172, 188), halo=2)
    config = preset("paper", widths=(2, 4))
    expected = plan_image(config.geometry, (700, 900), "torch", limits)
    assert (found["image"], found["tile"], found["tiles"]) == ([700, 900], [172, 188], len(expected.tiles))
    assert (found["exact"], found["canvas"]) == (expected.tiles.exact, list(expected.tiles.canvas))
    assert (found["redundancy"], found["work"]) == (expected.redundancy, expected.work)
    assert main(["plan", *NETWORK, *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    weights = format_bytes(4 * config.graph.parameter_count)
    assert said.endswith(f"on top of that: memory for the weights, {weights}, and for the runtime")
    assert " ".join(expected.describe().split()) in said


def test_an_exact_halo_costs_the_work_that_is_stated(capsys):
    words = ["--preset", "same", "--widths", "2", "4", "--image", "900", "--tile", "160"]
    work = []
    for more in ([], ["--halo", "1"]):
        assert main(["plan", *words, *more, "--json"]) == 0
        work.append(json.loads(capsys.readouterr().out)["work"])
    assert main(["plan", *words, "--halo", "1"]) == 0
    assert f"an exact halo would need {work[0] / work[1] - 1:.0%} more work" in capsys.readouterr().out
    assert main(["plan", *words]) == 0
    assert "exact halo would need" not in capsys.readouterr().out


def test_the_axes_of_a_stored_network_are_its_own(tmp_path, capsys):
    (tmp_path / "net.json").write_text(preset("paper", widths=(2, 4)).to_json())
    words = ["plan", str(tmp_path / "net.json"), "--image", "64"]
    assert main([*words, "--spatial-dims", "3"]) == 2
    assert "this network has 2 axes; leave out --spatial-dims" in " ".join(capsys.readouterr().err.split())
    assert main(["plan", str(tmp_path / "net.json")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "give labelled images to plan a training; or a network, with --image" in said


def test_flags_reach_the_plan_of_a_training_and_only_the_given_ones_are_fixed(monkeypatch, capsys):
    found = []

    def opened(args, base):
        found.append(args)
        return "config", "whole", "training", "validation", "how"

    def planned(args, *parts):
        assert parts == ("config", "training", "validation")
        return SimpleNamespace(to_dict=lambda: {"a": 1})

    monkeypatch.setattr("unet_tools.training.programs.cached_programs", lambda *_, **__: nullcontext())
    monkeypatch.setattr("unet_tools.training.beginning.open_parts", opened)
    monkeypatch.setattr("unet_tools.training.plans.planned.plan_run", planned)
    words = ["plan", "synthetic", "--json", "--labels", "semantic", "--ignore", "255", "--class-numbers", "1,2"]
    words += ["--validate", "last", "--group", "(.)", "--palette", "index", "--preset", "same", "--widths", "2", "4"]
    assert main([*words, "--spacing", "2", "--steps", "7", "--tile", "20x28", "--spatial-dims", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    assert main(["plan", "synthetic", "--json", "--minutes", "5"]) == 0
    given, plain = found
    data, chosen = given.settings.data, given.settings.validation
    assert (data.labels, data.ignore, data.class_numbers, data.spacing, data.tile) == (
        "semantic", 255, "1,2", "2", (20, 28),
    )  # fmt: skip
    assert (chosen.validate, chosen.group, given.settings.optimisation.steps) == ("last", "(.)", 7)
    assert given.settings.reading.palette == "index"
    assert (given.network.preset, given.network.widths, given.network.spatial_dims) == ("same", (2, 4), 3)
    assert (given.data, given.out, given.recipe, given.minutes) == ("synthetic", None, "auto", None)
    assert given.given == ("steps", "tile", "spacing")
    assert (plain.given, plain.minutes, plain.network.spatial_dims) == ((), 5.0, 2)
