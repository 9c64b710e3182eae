"""The bounds of rounding of nnU-Net's results."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.nnunet.rounding import probabilities_and_bounds
from unet_data.nnunet import sliding
from unet_tools.arguments.runtimes import open_checkpoint

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
from ...fixtures.nnunet_cases import SPACING, Stored


@pytest.mark.slow
def test_bounds_of_rounding_see_what_is_no_rounding():
    """Logits a thousandth away, or no Gaussian weight: nnU-Net's result is out of bounds."""
    stored = Stored("2d")
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]

    def count(runs) -> int:
        _, low, high = probabilities_and_bounds(runs, stored.image, SPACING, stored.plans)
        return int(((stored.probabilities < low) | (stored.probabilities > high)).sum())

    assert count(runs) == 0
    tilt = np.array([1e-3, 0, -1e-3], np.float32)
    assert count([lambda tiles, run=run: run(tiles) + tilt for run in runs]) > 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliding, "gaussian_weight", lambda size: np.ones(size, np.float16))
        assert count(runs) > 100
