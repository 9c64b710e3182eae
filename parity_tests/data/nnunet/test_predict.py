"""nnU-Net's own results, stored by parity_tests/fixtures/make_nnunet_reference.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.nnunet.rounding import probabilities_and_bounds
from unet_data.nnunet import predict_case
from unet_tools.arguments.runtimes import open_checkpoint

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
from ...fixtures.nnunet_cases import SPACING, Stored


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_pytorch_gives_nnunets_result(name):
    """Labels, and probabilities: of one thread within the rounding of the softmax; of more, whose sums are split
    otherwise, some of nnU-Net's sums in float16 round the other way."""
    stored = Stored(name)
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    labels = predict_case(runs, stored.image, SPACING, stored.plans)
    np.testing.assert_array_equal(labels, stored.labels)
    assert len(np.unique(labels)) > 1
    chances = predict_case(runs, stored.image, SPACING, stored.plans, "probabilities")
    assert np.abs(chances - stored.probabilities).max() <= 1e-4


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_onnx_runtime_gives_nnunets_result_but_for_its_rounding(name):
    """Its last bits are others, so some of nnU-Net's float16 sums round the other way: within the bounds of that."""
    stored = Stored(name)
    runs = [open_checkpoint(c, "onnx").run for c in stored.checkpoints()]
    np.testing.assert_array_equal(predict_case(runs, stored.image, SPACING, stored.plans), stored.labels)
    own, low, high = probabilities_and_bounds(runs, stored.image, SPACING, stored.plans)
    assert np.abs(own - stored.probabilities).max() <= 1e-4
    assert (low <= stored.probabilities).all()
    assert (stored.probabilities <= high).all()
    assert np.mean(high - low > 1e-4) < 0.2  # the bounds are near enough to say something


@pytest.mark.parametrize(
    "change",
    [
        lambda s: setattr(s, "image", s.image[::-1]),
        lambda s: s.plans.plans["configurations"]["2d"].update(spacing=[0.8, 0.9]),
        lambda s: s.plans.plans["configurations"]["2d"].update(use_mask_for_norm=[False, False]),
        lambda s: object.__setattr__(s.plans, "mirror_axes", (0,)),
        lambda s: s.plans.plans["configurations"]["2d"]["resampling_fn_data_kwargs"].update(order=1),
    ],
)
def test_another_step_is_another_result(change):
    """The comparison sees each of: channels swapped, another spacing, mask, mirroring, order of interpolation."""
    stored = Stored("2d")
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    change(stored)
    own = replace(stored.plans)
    chances = predict_case(runs, stored.image, SPACING, own, "probabilities")
    assert np.abs(chances - stored.probabilities).max() > 1e-3
