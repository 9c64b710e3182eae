"""Upsampling against PyTorch; crops, zeros and repeats: values, sizes, and the inputs that an output needs."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_spec.ops import Crop, CropLike, ExpandLike, Pad, PadEnd, RepeatLike, SizeError, Upsample

X = np.random.default_rng(0).normal(size=(2, 5, 6, 3))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_linear_upsampling_is_that_of_pytorch(scale, align):
    op, mode = Upsample(scale, align), {4: "bilinear", 5: "trilinear"}
    for shape in ((2, 5, 6, 3), (1, 1, 4, 2), (1, 2, 3, 4, 2)):
        x = np.random.default_rng(1).normal(size=shape)
        theirs = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
        theirs = F.interpolate(theirs, scale_factor=scale, mode=mode[x.ndim], align_corners=align)
        np.testing.assert_allclose(op.compute({}, x), np.moveaxis(theirs.numpy(), 1, -1), rtol=1e-12, atol=1e-13)
    assert (op.output_size(0, 5), op.shift_invariant) == (5 * scale, not align)
    assert op.summary() == f"x{scale} linear" + (", aligned corners" if align else "")
    assert Upsample() == Upsample(2, True)


def test_crops_and_zeros():
    np.testing.assert_array_equal(Crop((1, 2)).compute({}, X), X[:, 1:4, 2:4])
    assert (Crop((1, 2)).output_size(0, 5), Crop((1, 2)).output_size(1, 6)) == (3, 2)
    assert Crop((1, 2)).input_intervals(1, (3, 5), 9) == ((5, 7),)
    assert Crop((2,)).output_size(0, 5) == 1
    with pytest.raises(SizeError, match="cropping 2 per side leaves nothing of 4"):
        Crop((2,)).output_size(0, 4)
    assert (Crop((2, 2)).summary(), Crop((1, 2)).summary()) == ("2 a side", "1x2 a side")
    padded = np.pad(X, ((0, 0), (1, 1), (2, 2), (0, 0)))
    np.testing.assert_array_equal(Pad((1, 2)).compute({}, X), padded)
    assert (Pad((1, 2)).output_size(1, 6), Pad((1, 2)).input_intervals(1, (3, 5), 9)) == (10, ((1, 3),))
    assert (Pad((2, 2)).summary(), Pad((1, 2)).summary()) == ("2 zeros a side", "1x2 zeros a side")
    np.testing.assert_array_equal(PadEnd(2).compute({}, X), np.pad(X, ((0, 0), (0, 2), (0, 2), (0, 0))))
    assert (PadEnd(2).output_size(0, 5), PadEnd(2).summary()) == (7, "2 zeros at the end")


def test_maps_that_follow_another():
    like = np.zeros((2, 3, 4, 9))
    np.testing.assert_array_equal(CropLike(1).compute({}, X, like), X[:, 1:4, 1:5])
    assert (CropLike(1).output_size(0, 9, 4), CropLike(3).summary()) == (4, "from 3")
    assert CropLike(2).input_intervals(0, (1, 4), 9, 5) == ((3, 6), (1, 4))
    one = X[:, :1, :1]
    np.testing.assert_array_equal(ExpandLike().compute({}, one, like), np.broadcast_to(one, (2, 3, 4, 3)))
    assert (ExpandLike().output_size(0, 1, 7), ExpandLike().input_intervals(0, (2, 4), 1, 7)) == (7, ((0, 1), (2, 4)))
    with pytest.raises(SizeError, match="only a map of one pixel can be repeated, not one of 2"):
        ExpandLike().output_size(0, 2, 7)
    np.testing.assert_array_equal(RepeatLike().compute({}, X[:1], np.zeros((4, 1, 1, 2))), X[[0, 0, 0, 0]])
    assert RepeatLike().input_intervals(0, (2, 4), 9, 1) == ((2, 4), (0, 1))
