"""`unet info`: the numbers of the paper, a checkpoint, and narrow versions of every preset."""

from __future__ import annotations

import json

import pytest

from unet_spec import PRESETS, narrow
from unet_tools import cli
from unet_tools.cli import main


def test_info_says_what_the_paper_says(capsys):
    assert main(["info", "--preset", "paper", "--input", "572", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["parameters"] == 31_030_658
    assert printed["macs"] == 150_428_424_448
    assert printed["nearest"]["512"] == [508, 524]
    assert printed["crops"] == [4, 16, 40, 88]
    assert printed["margin"] == 92


def test_info_on_a_checkpoint_and_as_torchinfo(checkpoint, capsys):
    assert main(["info", str(checkpoint)]) == 0
    assert "encoder.2.conv2" in capsys.readouterr().out
    assert main(["info", "--preset", "article", "--style", "torchinfo"]) == 0
    assert "233,389,361,040" in capsys.readouterr().out


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.mark.parametrize("name", list(PRESETS))
def test_narrow_networks_are_small_and_can_be_described(name, capsys, tmp_path):
    config = narrow(name)
    assert config.graph.parameter_count < 1_000_000
    (tmp_path / "config.json").write_text(config.to_json())
    assert unet("info", tmp_path / "config.json", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["parameters"] == config.graph.parameter_count
    names = [block["name"] for block in printed["blocks"]]
    assert sum(block["parameters"] for block in printed["blocks"]) == config.graph.inference.parameter_count
    assert all(i in names[:k] for k, block in enumerate(printed["blocks"]) for i in block["inputs"] if i in names)
