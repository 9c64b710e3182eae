"""Bugs in the conversion of weights: map, loading and storing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import unet_jax.weights
import unet_spec.weights.checkpoint
import unet_spec.weights.weight_map
import unet_torch.weights
from unet_spec.weights.weight_map import FlaxTensors, table, to_flax, to_pytorch

from .plant import Attributes, Edit, Entries, Plant
from .registry import MAPPING, add


def _line(kind: str, name: str, **values: str) -> Plant:
    """Changes one line of the map. The map is symmetric, so a round trip stays exact."""
    change = ", ".join(f"{key} = {value!r}" for key, value in values.items())
    return Entries(f"weight_map.toml [{kind}] {name}", change, lambda: table()[kind][name], values)


def _loading(change: str, changed: Callable[[FlaxTensors], FlaxTensors]) -> Plant:
    """Loads the Flax twin with changed tensors."""
    return Attributes(unet_jax.weights, change, {"to_flax": lambda graph, tensors: changed(to_flax(graph, tensors))})


def _both_ways(change: str, changed: Callable[[FlaxTensors], FlaxTensors]) -> Plant:
    """The same change in both directions, so that it cancels in a round trip."""
    values: dict[str, Any] = {
        "to_flax": lambda graph, tensors: changed(to_flax(graph, tensors)),
        "to_pytorch": lambda graph, tensors: to_pytorch(graph, changed(tensors)),
    }
    return Attributes(unet_jax.weights, change, values)


def _exchanged_channels(tensors: FlaxTensors) -> FlaxTensors:
    return {
        path: a.swapaxes(-1, -2) if path[-1] == "kernel" and a.shape[-1] == a.shape[-2] else a
        for path, a in tensors.items()
    }


def _exchanged_biases(tensors: FlaxTensors) -> FlaxTensors:
    """Exchanges the tensors of conv1 and conv2, if they have the same length."""
    result = dict(tensors)
    for path in tensors:
        other = (*path[:-2], "conv2", "bias")
        if path[-2:] == ("conv1", "bias") and tensors[path].shape == tensors[other].shape:
            result[path], result[other] = tensors[other], tensors[path]
    return result


def _root_of_variance(tensors: FlaxTensors) -> FlaxTensors:
    with np.errstate(all="ignore"):
        return {path: np.sqrt(a) if path[-1] == "var" else a for path, a in tensors.items()}


def _fresh_statistics(tensors: FlaxTensors) -> FlaxTensors:
    fresh = {"mean": np.zeros_like, "var": np.ones_like}
    return {path: fresh[path[-1]](a) if path[-1] in fresh else a for path, a in tensors.items()}


add(
    "map-channels-exchanged",
    "input and output channels of every kernel that has as many of each",
    "equal-widths",
    MAPPING,
    _both_ways("kernel.swapaxes(-1, -2)", _exchanged_channels),
)
add(
    "map-up-channels-exchanged",
    "input and output channels of the up-convolution",
    "equal-widths",
    MAPPING,
    _line("conv_transpose", "weight", flax_axes="... I O"),
)
add(
    "map-height-and-width-exchanged",
    "the kernel's rows are its columns",
    "crop-batch",
    MAPPING,
    _line("conv", "weight", flax_axes="1 0 I O"),
)
add(
    "map-depth-and-width-exchanged",
    "the kernel's axes in the order W H D",
    "3d-valid",
    MAPPING,
    _line("conv", "weight", flax_axes="2 1 0 I O"),
)
add(
    "map-kernel-flipped",
    "the kernel upside down",
    "crop-batch",
    MAPPING,
    _line("conv", "weight", flax_axes="-... I O"),
)
add(
    "map-up-kernel-flipped",
    "the up-convolution's kernel upside down",
    "crop-batch",
    MAPPING,
    _line("conv_transpose", "weight", flax_axes="-... O I"),
)
add(
    "map-reshaped",
    "tensors are reshaped to the other framework's shape, NHWC read as NCHW, and not transposed",
    "crop-batch",
    MAPPING,
    Edit(
        unet_spec.weights.weight_map.rearrange,
        "array.transpose(order)",
        "array.reshape([array.shape[axis] for axis in order])",
    ),
)
add(
    "map-scale-for-shift",
    "a batch norm's weight is loaded as its bias, its bias as its weight",
    "crop-batch",
    MAPPING,
    _both_ways(
        "scale ↔ bias of the norms",
        lambda tensors: {
            path: tensors[*path[:-1], {"scale": "bias", "bias": "scale"}[path[-1]]]
            if path[-2].startswith("norm") and path[-1] in ("scale", "bias")
            else a
            for path, a in tensors.items()
        },
    ),
)
add(
    "map-mean-for-variance",
    "running mean and running variance change places",
    "crop-batch",
    MAPPING,
    _both_ways(
        "mean ↔ var",
        lambda tensors: {
            path: tensors[*path[:-1], {"mean": "var", "var": "mean"}[path[-1]]] if path[-1] in ("mean", "var") else a
            for path, a in tensors.items()
        },
    ),
)
add(
    "map-biases-by-order",
    "the biases of a block's two convolutions, of one length, are told apart by their order only, and wrongly",
    "equal-widths",
    MAPPING,
    _both_ways("conv1.bias ↔ conv2.bias", _exchanged_biases),
)
add(
    "map-variance-as-deviation",
    "the running variance is loaded as a standard deviation",
    "crop-batch",
    MAPPING,
    _loading("sqrt(var)", _root_of_variance),
)
add(
    "load-statistics-skipped",
    "running statistics are not loaded: mean 0, variance 1",
    "crop-batch",
    MAPPING,
    _loading("mean = 0, var = 1", _fresh_statistics),
)
add(
    "load-in-float32",
    "float64 becomes float32 without a word",
    "crop-batch",
    MAPPING,
    _loading("astype(float32)", lambda tensors: {path: a.astype(np.float32) for path, a in tensors.items()}),
)
add(
    "load-negative-zero-lost",
    "an addition of 0 on the way: −0.0 becomes 0.0",
    "crop-batch",
    MAPPING,
    _loading("a + 0", lambda tensors: {path: a + a.dtype.type(0) for path, a in tensors.items()}),
)
add(
    "load-not-strict",
    "strict=False: the head's bias, under another name in the file, is left as PyTorch initialised it",
    "crop-batch",
    MAPPING,
    Edit(
        unet_torch.weights.load_tensors,
        "model.load_state_dict(state, strict=True, assign=True)",
        'model.load_state_dict({n: t.to(state["head.bias"].dtype) for n, t in model.state_dict().items()} '
        '| {n.replace("head.bias", "head.b"): t for n, t in state.items()}, strict=False, assign=True)',
    ),
)
add(
    "load-unchecked",
    "tensors that are left over are not refused",
    "crop-batch",
    MAPPING,
    Edit(
        unet_torch.weights.load_tensors,
        'check_tensors(model.config.graph, tensors, "the PyTorch model")',
        "check_tensors(model.config.graph, {n: t for n, t in tensors.items() if n in model.config.graph.params}, "
        '"the PyTorch model")',
    ),
)
add(
    "load-without-copy",
    "the PyTorch twin shares the memory of the arrays that it was loaded with",
    "crop-batch",
    MAPPING,
    Attributes(
        unet_torch.weights,
        "np.array(copy=True) → np.asarray",
        {"np": SimpleNamespace(array=lambda a, **_: np.asarray(a))},
    ),
)
add(
    "read-without-copy",
    "the arrays that are read from the PyTorch twin share its memory",
    "crop-batch",
    MAPPING,
    Edit(
        unet_torch.weights.to_array,
        'np.array(tensor.numpy(), order="C", copy=True)',
        "tensor.numpy()",
    ),
)
add(
    "store-not-contiguous",
    "safetensors is given views that are not contiguous",
    "crop-batch",
    MAPPING,
    Attributes(
        unet_spec.weights.checkpoint,
        "np.ascontiguousarray → np.asarray",
        {"np": SimpleNamespace(ascontiguousarray=np.asarray)},
    ),
)
add(
    "map-distance-left-out",
    "the distance head keeps its initial zeros: only the class head is loaded",
    "distance",
    MAPPING,
    _loading(
        "distance → 0",
        lambda tensors: {path: a * 0 if path[0] == "distance" else a for path, a in tensors.items()},
    ),
)
