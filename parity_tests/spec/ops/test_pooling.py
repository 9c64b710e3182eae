"""Pooling and nearest upsampling against PyTorch, and the inputs that an output needs."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_spec.ops import (
    AvgPool,
    ChannelMax,
    ChannelMean,
    GlobalAvgPool,
    MaxPool,
    NearestUpsample,
    SizeError,
    WindowMaxPool,
)


def first(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def last(x):
    return np.moveaxis(x.numpy(), 1, -1)


def image(*shape):
    return np.random.default_rng(0).normal(-3, 1, shape)  # below zero: padding by zeros would show


@pytest.mark.parametrize("size", [(6, 12), (6, 12, 24)], ids=["2d", "3d"])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_pooling_is_that_of_pytorch(size, window):
    x, windows = image(2, *size, 3), (window, *[2 * window] * (len(size) - 1))
    pools = (F.max_pool2d, F.avg_pool2d) if len(size) == 2 else (F.max_pool3d, F.avg_pool3d)
    for op, theirs in zip((MaxPool(windows), AvgPool(windows)), pools, strict=True):
        np.testing.assert_allclose(op.compute({}, x), last(theirs(first(x), windows)), rtol=1e-13)
        assert op.compute({}, x.astype(np.float32)).dtype == np.float32
        assert op.summary() == "x".join(map(str, windows))
        for axis, w in enumerate(windows):
            assert (op.output_size(axis, 5 * w), op.downsampling(axis)) == (5, w)
            assert op.input_intervals(axis, (2, 5), 9 * w) == ((2 * w, 5 * w),)
            if w > 1:
                with pytest.raises(SizeError, match=f"{5 * w + 1} cannot be pooled by {w}"):
                    op.output_size(axis, 5 * w + 1)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 3), (2, 1), (3, 1)])
@pytest.mark.parametrize("size", [(5, 8), (7, 10), (6, 9)])
def test_overlapping_windows_are_those_of_pytorch(window, stride, ceil, size):
    op, x = WindowMaxPool(window, stride, ceil), image(2, *size, 3)
    found = op.compute({}, x)
    np.testing.assert_array_equal(found, last(F.max_pool2d(first(x), window, stride, ceil_mode=ceil)))
    assert found.shape[1:-1] == tuple(op.output_size(axis, n) for axis, n in enumerate(size))
    assert op.downsampling(0) == stride
    assert op.input_intervals(0, (2, 4), 99) == ((2 * stride, 3 * stride + window),)
    assert op.summary() == f"{window} stride {stride}" + (", overhanging" if ceil else "")


def test_a_window_larger_than_the_map_has_no_output():
    assert WindowMaxPool(3, 2).output_size(0, 3) == 1
    with pytest.raises(SizeError, match="a pooling window of 3 has no output for a size of 2"):
        WindowMaxPool(3, 2).output_size(0, 2)
    assert WindowMaxPool(3, 2).ceil is False


def test_means_and_maxima_over_the_map_and_over_channels():
    for shape in ((2, 4, 5, 3), (2, 4, 5, 6, 3)):
        x = image(*shape)
        space = tuple(range(1, x.ndim - 1))
        np.testing.assert_allclose(GlobalAvgPool().compute({}, x), x.mean(space, keepdims=True), rtol=1e-14)
        np.testing.assert_allclose(ChannelMean().compute({}, x)[..., 0], x.mean(-1), rtol=1e-14)
        np.testing.assert_array_equal(ChannelMax().compute({}, x)[..., 0], x.max(-1))
    assert (GlobalAvgPool().output_size(0, 9), GlobalAvgPool().input_intervals(1, (0, 1), 9)) == (1, ((0, 9),))
    assert (ChannelMean().channels(7), ChannelMax().channels(7)) == (1, 1)
    assert not GlobalAvgPool().bounded


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_nearest_upsampling_repeats_pixels(scale):
    op = NearestUpsample(scale)
    for shape in ((2, 4, 5, 3), (2, 2, 3, 4, 3)):
        x = image(*shape)
        np.testing.assert_array_equal(op.compute({}, x), last(F.interpolate(first(x), scale_factor=scale)))
    assert (op.output_size(0, 5), op.summary()) == (5 * scale, f"x{scale} nearest")
    for begin in range(2 * scale):
        for end in range(begin + 1, 3 * scale + 1):
            needed = {i // scale for i in range(begin, end)}
            assert op.input_intervals(0, (begin, end), 9) == ((min(needed), max(needed) + 1),)
