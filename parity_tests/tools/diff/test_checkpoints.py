"""A checkpoint compared with the reference."""

import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
from unet_spec import Checkpoint, random_tensors
from unet_tools.diff import compare
from unet_tools.diff.checkpoints import open_side
from unet_tools.diff.sides.torch import TorchSide

from .twins import VALID, OffCentre, assert_blamed, image, twins


def test_a_wrong_crop_is_found_against_the_reference():
    """The graph has no blocks, so the error is in the value that the network's code passes to the block's first
    layer."""
    torch_model = twins(config=VALID)[0]
    torch_model.decoder[1].__class__ = OffCentre
    checkpoint = Checkpoint(VALID, random_tensors(VALID.graph, 3, "float64"))
    sides = TorchSide(torch_model, "torch"), open_side(checkpoint, "reference", "float64", False, "reference")
    report = compare(*sides, [image(config=VALID)])
    assert_blamed(report, "", "→ decoder.1.block.conv1")
    assert "decoder.1.crop" in report.unmatched["reference"]
    holders = {"encoder.0", "decoder.1", "decoder.1.block"}  # a graph has layers only, so that it lacks no block
    assert not holders & set(report.unmatched["torch"])
