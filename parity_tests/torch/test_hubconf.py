"""The entry points for torch.hub."""

from __future__ import annotations

import sys

import pytest
import torch

import unet_torch
from unet_spec import Checkpoint, preset, preset_names, random_tensors

from .. import ROOT

CONFIG = preset("same", widths=(3, 4), in_channels=2)


@pytest.fixture
def model():
    return unet_torch.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


def same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def test_torch_hub_loads_presets_and_checkpoints(model, tmp_path):
    made = torch.hub.load(str(ROOT), "unet", preset="paper", widths=(2, 3), in_channels=3, source="local")
    assert isinstance(made, unet_torch.UNet)
    assert made.config == preset("paper", widths=(2, 3), in_channels=3)
    assert made.training
    model.save_pretrained(tmp_path / "a")
    same(torch.hub.load(str(ROOT), "from_pretrained", str(tmp_path / "a"), source="local"), model)
    sys.path.insert(0, str(ROOT))
    try:
        import hubconf
    finally:
        sys.path.remove(str(ROOT))
    for name in preset_names():
        assert callable(getattr(hubconf, name.replace("++", "pp").replace("-", "_")))
    assert type(hubconf.unetpp(widths=(2, 3))).__name__ == "UNetPP"
