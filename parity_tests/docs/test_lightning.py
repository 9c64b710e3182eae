"""The example with Lightning."""

from __future__ import annotations

import sys

import pytest

import unet_torch

from .. import EXAMPLES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_it(tmp_path):
    pytest.importorskip("lightning", reason="lightning is not installed; pip install lightning")
    sys.path.insert(0, str(EXAMPLES / "lightning_unet"))
    try:
        from lightning_unet import run
    finally:
        sys.path.remove(str(EXAMPLES / "lightning_unet"))
    before, after = run(tmp_path, steps=30)
    assert after > before
    assert isinstance(unet_torch.from_pretrained(tmp_path / "best"), unet_torch.UNet)
