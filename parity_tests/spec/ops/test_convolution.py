"""Convolution and transposed convolution against PyTorch, and what they say of themselves."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_spec.ops import Conv, ConvTranspose, SizeError
from unet_spec.ops.convolution import he_std

RNG = np.random.default_rng(0)


def parameters(op):
    return {name: RNG.normal(size=p.shape) for name, p in op.parameters().items()}


def theirs(function, x, params, *options):
    given = [torch.from_numpy(np.moveaxis(x, -1, 1).copy()), torch.from_numpy(params["weight"])]
    bias = torch.from_numpy(params["bias"]) if "bias" in params else None
    return np.moveaxis(function(*given, bias, *options).numpy(), 1, -1)


SHAPES = [  # kernel, stride, padding
    ((1, 1), (1, 1), (0, 0)),
    ((3, 3), (1, 1), (1, 1)),
    ((3, 5), (1, 2), (0, 2)),
    ((2, 3), (2, 1), (1, 0)),
    ((4, 4), (3, 2), (2, 0)),
    ((3, 1, 2), (1, 2, 2), (1, 0, 1)),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), SHAPES)
def test_a_convolution_is_that_of_pytorch(kernel, stride, padding, bias):
    op = Conv(3, 2, kernel, stride, padding, bias)
    params, x = parameters(op), RNG.normal(size=(2, *range(7, 7 + len(kernel)), 3))
    wanted = theirs(F.conv2d if len(kernel) == 2 else F.conv3d, x, params, stride, padding)
    np.testing.assert_allclose(op.compute(params, x), wanted, rtol=1e-12, atol=1e-13)
    assert wanted.shape[1:-1] == tuple(op.output_size(axis, n) for axis, n in enumerate(x.shape[1:-1]))
    assert params["weight"].shape == op.weight_shape == (2, 3, *kernel)
    assert [op.downsampling(axis) for axis in range(len(kernel))] == list(stride)
    positions = math.prod(wanted.shape[1:-1])
    assert op.macs(math.prod(x.shape[1:-1]), positions) == 2 * 3 * math.prod(kernel) * positions
    for axis, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True)):
        assert op.input_intervals(axis, (2, 5), 99) == ((2 * s - p, 4 * s - p + k),)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(k, s) for k, s, _ in SHAPES])
def test_a_transposed_convolution_is_that_of_pytorch(kernel, stride, bias):
    op = ConvTranspose(3, 2, kernel, stride, bias)
    params, x = parameters(op), RNG.normal(size=(2, *range(3, 3 + len(kernel)), 3))
    wanted = theirs(F.conv_transpose2d if len(kernel) == 2 else F.conv_transpose3d, x, params, stride)
    np.testing.assert_allclose(op.compute(params, x), wanted, rtol=1e-12, atol=1e-13)
    assert wanted.shape[1:-1] == tuple(op.output_size(axis, n) for axis, n in enumerate(x.shape[1:-1]))
    assert params["weight"].shape == op.weight_shape == (3, 2, *kernel)
    pixels = math.prod(x.shape[1:-1])
    assert op.macs(pixels, math.prod(wanted.shape[1:-1])) == 2 * 3 * math.prod(kernel) * pixels
    assert op.fan_in == 3 * math.prod(kernel) / math.prod(stride)
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        for begin in range(5):
            for end in range(begin + 1, 9):
                # Input i reaches the outputs i · s … i · s + k − 1.
                needed = [i for i in range(-9, 19) if i * s < end and i * s + k > begin]
                if needed:
                    assert op.input_intervals(axis, (begin, end), 99) == ((needed[0], needed[-1] + 1),)
        assert op.leading_outputs(axis, 7, 2) == 7 - 2 * s


def test_weights_start_with_the_deviation_of_he_and_biases_with_zero():
    assert he_std(8) == 0.5
    conv, up = Conv(3, 5, (2, 3), (1, 1), (0, 0)), ConvTranspose(4, 5, (4, 4), (2, 2))
    assert conv.parameters()["weight"].std == math.sqrt(2 / 18)
    assert up.parameters()["weight"].std == math.sqrt(2 / 16)
    for op in (conv, up):
        bias = op.parameters()["bias"]
        assert (bias.shape, bias.std, bias.constant, bias.role) == ((5,), 0.0, 0.0, "parameter")
        assert (op.channels(4), op.parameters()["weight"].role) == (5, "parameter")
    assert Conv(3, 5, (3,), (1,), (1,)).bias
    assert ConvTranspose(3, 5, (2,), (2,)).bias


def test_names_in_tables():
    assert Conv(1, 1, (3, 3), (1, 1), (1, 1)).summary() == "3x3"
    assert Conv(1, 1, (3, 5), (1, 1), (0, 0)).summary() == "3x5 valid"
    assert Conv(1, 1, (1, 1), (1, 1), (0, 0)).summary() == "1x1"
    assert ConvTranspose(1, 1, (2, 3), (1, 2)).summary() == "2x3 stride 1x2"


def test_too_few_pixels_are_refused():
    op = Conv(1, 1, (3, 5), (1, 2), (0, 1))
    assert (op.output_size(0, 3), op.output_size(1, 3)) == (1, 1)
    for axis in (0, 1):
        with pytest.raises(SizeError, match="a 3x5 convolution has no output for a size of 2"):
            op.output_size(axis, 2)
