"""Max pooling compared with PyTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from unet_jax.nn.spatial import DropBlock, max_pool
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
