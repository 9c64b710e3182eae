"""`nn.layers` of both twins: the factories make layers that compute the operations of the spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import unet_jax.nn.layers
import unet_torch.nn.layers
from unet_spec import Graph, UNetConfig, ops, random_tensors
from unet_spec.graph import Node
from unet_spec.weights.weight_map import to_flax

from ...battery.measure import FORWARD_BOUND, distance

Make = Callable[[Any], Any]


def per_axis(size: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (size,) * dims if isinstance(size, int) else size[-dims:]


def layers(dims: int) -> list[tuple[ops.Op, int, Make]]:
    """An operation, the size of its input on every axis, and the factory call for its layer."""

    def each(size: int | tuple[int, ...]) -> tuple[int, ...]:
        return per_axis(size, dims)

    wide, long = each((1, 3, 5)), each((1, 2, 3))
    return [
        (ops.Conv(4, 5, each(3), each(1), each(1)), 7, lambda f: f.conv(4, 5)),
        (ops.Conv(4, 5, each(3), each(2), each(0), False), 7, lambda f: f.conv(4, 5, stride=2, pad=0, bias=False)),
        (ops.Conv(4, 5, wide, long, each((0, 1, 2))), 7, lambda f: f.conv(4, 5, wide, long)),
        (ops.StdConv(4, 5, wide, long, each((0, 1, 2)), False), 7, lambda f: f.std_conv(4, 5, wide, long)),
        (ops.ConvTranspose(4, 5, each(2), each(2)), 5, lambda f: f.up_conv(4, 5)),
        (ops.ConvTranspose(4, 5, long, long, False), 5, lambda f: f.up_conv(4, 5, long, long, bias=False)),
        (ops.ConvTranspose(4, 5, each(4), each(2)), 5, lambda f: f.up_conv(4, 5, 4)),
        (
            ops.CroppedConvTranspose(4, 5, each(3), each(2), True, 1, 0),
            5,
            lambda f: f.up_conv(4, 5, 3, cut=(1, 0)),
        ),
        (ops.BatchNorm(4, 1e-3, 0.2), 5, lambda f: f.norm(4)),
        (ops.ShiftBatchNorm(4, 1e-3, 0.2), 5, lambda f: f.norm(4, "shift")),
        (ops.GroupNorm(4, 1e-3, 2), 5, lambda f: f.norm(4, "group")),
        (ops.GroupNorm(4, 1e-6, 4), 5, lambda f: f.norm(4, "group", groups=4, eps=1e-6)),
        (ops.InstanceNorm(4, 1e-3), 5, lambda f: f.norm(4, "instance")),
        (ops.PlainInstanceNorm(4, 1e-3), 5, lambda f: f.norm(4, "plain")),
        (ops.Op(), 5, lambda f: f.norm(4, "none")),
        (ops.Activation("silu"), 5, lambda f: f.act()),
        (ops.LeakyReLU(slope=0.01), 5, lambda f: f.act("leaky_relu")),
        (ops.PReLU(), 5, lambda f: f.act("prelu")),
        (ops.Sigmoid(), 5, lambda f: f.act("sigmoid")),
        *((ops.MaxPool(each(n)), 2 * n, lambda f, n=n: f.max_pool(n)) for n in (2, 3, 4, 8)),
        *((ops.AvgPool(each(n)), 2 * n, lambda f, n=n: f.avg_pool(n)) for n in (2, 3, 4, 8)),
        (ops.MaxPool(long), 6, lambda f: f.max_pool(long)),
        (ops.AvgPool(long), 6, lambda f: f.avg_pool(long)),
        (ops.WindowMaxPool(3, 2), 8, lambda f: f.window_max_pool(3, 2)),
        (ops.WindowMaxPool(2, 2, True), 7, lambda f: f.window_max_pool(2, 2, ceil=True)),
        (ops.GlobalAvgPool(), 5, lambda f: f.global_avg_pool()),
        *(
            (ops.Upsample(n, align), 3, lambda f, n=n, align=align: f.upsample(n, align))
            for n in (2, 3, 4, 8, 16)
            for align in (False, True)
        ),
        *((ops.NearestUpsample(n), 2, lambda f, n=n: f.nearest_upsample(n)) for n in (2, 3, 4, 8, 16)),
        (ops.Dropout(0.5), 5, lambda f: f.dropout(0.5)),
        (ops.DropBlock(0.9, 3), 5, lambda f: f.drop_block(0.9, 3)),
    ]


def factories(dims: int) -> tuple[Any, Any]:
    norm: dict[str, Any] = {"norm": "batch", "norm_eps": 1e-3, "norm_momentum": 0.2, "norm_groups": 2}
    config = UNetConfig(spatial_dims=dims, padding="same", activation="silu", widths=(4, 4), **norm)
    return unet_jax.nn.layers.Layers(config, jnp.float64), unet_torch.nn.layers.Layers(config)


class Holder(nnx.Module):
    def __init__(self, layer: nnx.Module):
        self.layer = layer


def jax_output(layer: Any, graph: Graph, tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    model = Holder(layer)
    values = to_flax(graph, tensors)
    flat = nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    assert {tuple(map(str, path)) for path, _ in flat} == set(values)
    nnx.update(model, nnx.from_flat_state([(p, v.replace(jnp.array(values[tuple(map(str, p))]))) for p, v in flat]))
    model.eval()
    return np.asarray(model.layer(jnp.array(x)))


def torch_output(layer: Any, tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    model = torch.nn.ModuleDict({"layer": layer.double()}).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, strict=True)
    with torch.inference_mode():
        return np.moveaxis(model["layer"](torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy(), 1, -1)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("number", range(len(layers(2))), ids=[str(op) for op, _, _ in layers(2)])
def test_a_layer_is_its_operation(number, dims):
    op, size, make = layers(dims)[number]
    graph = Graph((Node("input", ops.Input(4), ()), Node("layer", op, ("input",))), dims)
    tensors = random_tensors(graph, 0, "float64")
    x = np.random.default_rng(1).normal(size=(2, *[size] * dims, 4))
    expected = graph.forward(tensors, x)
    with jax.enable_x64(True):
        of_jax, of_torch = factories(dims)
        assert distance(jax_output(make(of_jax), graph, tensors, x), expected) <= FORWARD_BOUND
        assert distance(torch_output(make(of_torch), tensors, x), expected) <= FORWARD_BOUND


@pytest.mark.parametrize("twin", [0, 1], ids=["jax", "torch"])
def test_an_unknown_norm_is_refused_with_those_that_there_are(twin):
    with pytest.raises(ValueError, match=r"unknown norm 'weight'; known: none, batch, shift, group, .*layer"):
        factories(2)[twin].norm(4, "weight")


def test_both_factories_have_the_same_methods_in_the_same_order():
    one, other = (
        [name for name in vars(module.Layers) if not name.startswith("_")]
        for module in (unet_jax.nn.layers, unet_torch.nn.layers)
    )
    assert one == other
    assert unet_jax.nn.layers.NORMS == unet_torch.nn.layers.NORMS


@pytest.mark.parametrize("name", ["blocks", "spatial", "pointwise"])
def test_both_twins_have_the_same_classes_and_functions_in_the_same_order(name):
    """Except for layers that PyTorch has, and those that XLA needs."""
    from importlib import import_module

    one, other = (
        [
            k
            for k, v in vars(import_module(f"{p}.nn.{name}")).items()
            if getattr(v, "__module__", "") == f"{p}.nn.{name}"
        ]
        for p in ("unet_jax", "unet_torch")
    )
    own = {"PReLU", "Identity", "conv_axes", "max_pool"}
    assert [k for k in one if k not in own] == other
