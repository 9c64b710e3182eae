"""The card that is stored with the weights."""

from __future__ import annotations

import json

import pytest
import torch

import unet_torch
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.weights.model_card import model_card

CONFIG = preset("same", widths=(3, 4), in_channels=2)


@pytest.fixture
def model():
    return unet_torch.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


def same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def test_names_of_classes_are_names_and_nothing_else():
    """No heading, picture, table or HTML comes of them."""
    names = ("<script>x</script>\n# Owned", "![p](http://evil/x.png) | a")
    card = model_card(CONFIG, DataSpec(class_names=names), "cc0\nlibrary_name: evil")
    (line,) = [line for line in card.splitlines() if line.startswith("| classes |")]
    assert r"\<script\>x\</script\>\\n\# Owned, \!\[p\]\(http\://evil/x.png\) \| a" in line
    assert [line for line in card.splitlines() if line.startswith(("# Owned", "library_name"))] == [
        "library_name: unet-twins"
    ]


def test_how_files_were_read_is_said_and_is_no_markdown():
    card = model_card(CONFIG, DataSpec(reading={"channels": "all", "white_is_zero": "![p](x)\n# Owned", "axes": ""}))
    (line,) = [line for line in card.splitlines() if line.startswith("| files as read in training |")]
    assert line == r"| files as read in training | channels all, white is zero \!\[p\]\(x\)\\n\# Owned |"
    assert "files as read" not in model_card(CONFIG, DataSpec())


def test_a_model_card_says_what_the_network_is(model, tmp_path):
    model.save_pretrained(tmp_path, licence="cc-by-4.0")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert f"{CONFIG.graph.parameter_count:,}" in card
    assert f"{sum(CONFIG.graph.macs((512, 512)).values()):,}" in card
    assert "H = 2 + 2 k" in card
    assert json.loads(card.split("```json")[1].split("```")[0]) == CONFIG.to_dict()
    assert "license:" not in unet_card_without_licence(model, tmp_path / "b")


def unet_card_without_licence(model, folder) -> str:
    model.save_pretrained(folder)
    return (folder / "README.md").read_text()
