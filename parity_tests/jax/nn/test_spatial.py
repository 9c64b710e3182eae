"""Max pooling compared with PyTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from unet_jax.nn.spatial import (
    DropBlock,
    PositionEmbedding,
    WindowMaxPool,
    center_crop,
    center_pad,
    conv_axes,
    crop_like,
    max_pool,
    pad_end,
    per_axis,
)
from unet_torch.nn.spatial import DropBlock as TorchDropBlock


@pytest.mark.parametrize("window", [(2, 2), (1, 2), (3, 2), (2, 2, 2), (4, 3), (3, 1, 4), (2, 3, 4)], ids=str)
def test_max_pool_is_pytorchs(window: tuple[int, ...]):
    """Values and gradient, with few different values (many ties), NaN, and sizes that are not multiples of the
    window."""
    rng = np.random.default_rng(0)
    size = (2, *(7 for _ in window), 3)
    x = rng.integers(0, 3, size).astype(np.float64)
    x[rng.random(size) < 0.03] = np.nan
    pool = torch.nn.functional.max_pool2d if len(window) == 2 else torch.nn.functional.max_pool3d
    given = torch.from_numpy(x).movedim(-1, 1).requires_grad_(True)
    wanted = pool(given, window)
    way = rng.normal(size=wanted.movedim(1, -1).shape)
    wanted.backward(torch.from_numpy(way).movedim(-1, 1))
    found, back = jax.vjp(lambda x: max_pool(x, window), jnp.array(x))
    np.testing.assert_array_equal(found, wanted.detach().movedim(1, -1))
    np.testing.assert_array_equal(back(jnp.array(way))[0], given.grad.movedim(1, -1))  # type: ignore[union-attr]


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_drop_block(framework):
    """The dropped squares have the block's size and cover about 1 − keep of the pixels, and the scaled mask keeps its
    sum."""
    keep, block, shape = 0.8, 5, (4, 60, 50, 8)
    if framework == "jax":
        layer = DropBlock(keep, block)
        layer.train()
        out = np.asarray(layer(jnp.ones(shape), nnx.Rngs(dropout=0)))
        layer.eval()
        assert (np.asarray(layer(jnp.ones(shape))) == 1).all()
    else:
        torch.manual_seed(0)
        layer = TorchDropBlock(keep, block)
        out = np.moveaxis(layer(torch.ones(4, 8, 60, 50)).numpy(), 1, -1)
        assert (layer.eval()(torch.ones(4, 8, 60, 50)) == 1).all()
    dropped = out == 0
    assert 0.15 < dropped.mean() < 0.21  # squares overlap, so a little less than 1 − keep
    assert abs(out.mean() - 1) < 1e-5
    for n, c in ((0, 0), (3, 7)):  # every zero is part of a square of zeros
        zero = dropped[n, :, :, c]
        windows = np.lib.stride_tricks.sliding_window_view(zero, (block, block)).all((2, 3))
        covered = np.zeros_like(zero)
        for i, j in np.argwhere(windows):
            covered[i : i + block, j : j + block] = True
        assert (covered == zero).all()
    assert (dropped[0, :, :, 0] != dropped[0, :, :, 1]).any()  # channels are independent


def sized(*size: int) -> np.ndarray:
    return np.arange(1.0, 1 + np.prod(size)).reshape(1, *size, 1)


def test_maps_are_cropped_and_padded_about_their_centre():
    """Of an odd number of pixels, the high end gets one more; each axis has its own size."""
    small, large = sized(3, 4), sized(6, 9)
    np.testing.assert_array_equal(center_crop(jnp.array(large), jnp.array(small)), large[:, 1:4, 2:6])
    padded = np.pad(small, [(0, 0), (1, 2), (2, 3), (0, 0)])
    np.testing.assert_array_equal(center_pad(jnp.array(small), jnp.array(large)), padded)
    np.testing.assert_array_equal(crop_like(jnp.array(large), jnp.array(small), 2), large[:, 2:5, 2:6])
    np.testing.assert_array_equal(pad_end(jnp.array(small)), np.pad(small, [(0, 0), (0, 1), (0, 1), (0, 0)]))
    for same in (center_crop, center_pad):
        np.testing.assert_array_equal(same(jnp.array(small), jnp.array(small)), small)
    volume, inner = sized(4, 5, 7), sized(2, 2, 2)
    np.testing.assert_array_equal(center_crop(jnp.array(volume), jnp.array(inner)), volume[:, 1:3, 1:3, 2:4])
    np.testing.assert_array_equal(crop_like(jnp.array(volume), jnp.array(inner), 1), volume[:, 1:3, 1:3, 1:3])


def test_numbers_and_names_of_axes():
    assert (per_axis(2, 3), per_axis((1, 2), 2)) == ((2, 2, 2), (1, 2))
    assert conv_axes(3) == ("NWC", "WIO", "NWC")
    assert conv_axes(4) == ("NHWC", "HWIO", "NHWC")
    assert conv_axes(5) == ("NDHWC", "DHWIO", "NDHWC")


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2)])
def test_overlapping_windows_are_pytorchs(window, stride, ceil):
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3))
    given = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    wanted = torch.nn.functional.max_pool2d(given, window, stride, ceil_mode=ceil)
    found = WindowMaxPool(window, stride, ceil)(jnp.array(x))
    np.testing.assert_array_equal(found, np.moveaxis(wanted.numpy(), 1, -1))


def test_positions_are_interpolated_on_a_map_of_another_size():
    layer = PositionEmbedding(1, (2, 3), jnp.float32)
    vectors = np.array([[0.0, 2.0, 6.0], [10.0, 12.0, 16.0]])
    layer.embedding[...] = jnp.array(vectors.reshape(layer.embedding.shape), jnp.float32)
    for size, expected in (
        ((2, 3), vectors), ((3, 3), [*vectors[:1], vectors.mean(0), *vectors[1:]]),
        ((2, 5), [[0, 1, 2, 4, 6], [10, 11, 12, 14, 16]]),
    ):  # fmt: skip
        found = layer(jnp.ones((1, *size, 1), jnp.float32))
        np.testing.assert_allclose(found[0, ..., 0], 1 + np.array(expected), rtol=1e-6)
