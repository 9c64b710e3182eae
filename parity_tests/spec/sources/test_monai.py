"""MONAI's own network with our weights."""

import warnings

import numpy as np
import pytest
import torch

from unet_spec import preset, random_tensors
from unet_spec.sources import export_tensors


@pytest.mark.parametrize("widths", [(4, 6), (4, 6, 8, 10)])
def test_monai_attention_unet_with_our_weights_gives_our_output(widths):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI's imports
        nets = pytest.importorskip("monai.networks.nets", reason="monai is not installed")
    config = preset("attention-unet", widths=widths, in_channels=2, out_channels=3)
    theirs = nets.AttentionUnet(2, 2, 3, widths, (2,) * (len(widths) - 1)).double().eval()
    tensors = random_tensors(config.graph, 0, np.float64)
    renamed = export_tensors(config, tensors, "monai-attentionunet")
    theirs.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in renamed.items()})  # none left over
    x = np.random.default_rng(0).normal(1, 1, (2, 16, 24, 2))
    reference = config.graph.forward(tensors, x)
    with torch.no_grad():
        found = np.moveaxis(theirs(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy(), 1, -1)
    assert np.abs(found - reference).max() < 1e-12 * np.abs(reference).max()
