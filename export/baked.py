"""What surrounds the network, as ONNX: normalisation before it, softmax or argmax after it, mirroring around it.

Baked into the model, an engine takes a camera's bytes and gives labels. As models of their own, they are the first and
the last step of a Triton ensemble. The arithmetic is that of `unet_data.prepare` and `unet_data.predict`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from unet_spec import DataSpec, InputError, NetworkConfig

from .onnx_ops import INPUT, OUTPUT

Step = Literal["normalize", "softmax", "argmax"]
STEPS: tuple[Step, ...] = get_args(Step)
PREPARED, LABELS, PROBABILITIES = "prepared", "labels", "probabilities"
_FULL_SCALE = np.float32(255)
_AXES = {2: ["height", "width"], 3: ["depth", "height", "width"]}


class _Parts:
    """Nodes and initializers of a piece of a model, and the opset that they are written in."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, op: str, out: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def constant(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def check_steps(steps: Sequence[str]) -> tuple[Step, ...]:
    """The steps in the order in which they run. Raises InputError for an unknown one, and for softmax with argmax."""
    if unknown := [s for s in steps if s not in STEPS]:
        raise InputError(f"unknown step {unknown[0]!r} to bake in; allowed: {', '.join(STEPS)}")
    if {"softmax", "argmax"} <= set(steps):
        raise InputError("bake in softmax (probabilities) or argmax (labels), not both: a model here has one output")
    return tuple(s for s in STEPS if s in steps)


def bake(model: ModelProto, config: NetworkConfig, data: DataSpec, steps: Sequence[Step]) -> ModelProto:
    """The model of `emit_onnx` with more of the work inside of it.

    normalize: the input "image" is uint8 (N, *spatial, C) as a camera gives it, of a size on the grid.
    softmax: the output is "probabilities" (N, *spatial, K) float32; with one channel, that of class 1.
    argmax: the output is "labels" (N, *spatial) uint8.

    Raises InputError as `check_steps`, and for argmax over more than 256 classes.
    """
    steps = check_steps(steps)
    baked = ModelProto.FromString(model.SerializeToString(deterministic=True))
    graph, before, after = baked.graph, _Parts(), _Parts()
    axes = _AXES[config.spatial_dims]
    if "normalize" in steps:
        _rename(graph, INPUT, PREPARED)
        _normalize(before, INPUT, PREPARED, config, data)
        graph.input[0].CopyFrom(_value(INPUT, TensorProto.UINT8, ["batch", *axes, config.in_channels]))
    outer = [f"out_{axis}" for axis in axes]
    if "softmax" in steps:
        _softmax(after, OUTPUT, PROBABILITIES, config)
        graph.output[0].CopyFrom(_value(PROBABILITIES, TensorProto.FLOAT, ["batch", *outer, config.out_channels]))
    if "argmax" in steps:
        _argmax(after, OUTPUT, LABELS, config)
        graph.output[0].CopyFrom(_value(LABELS, TensorProto.UINT8, ["batch", *outer]))
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    baked.metadata_props.append(onnx.StringStringEntryProto(key="baked", value=json.dumps(list(steps))))
    return baked


def preprocess_model(config: NetworkConfig, data: DataSpec, opset: int, ir_version: int) -> ModelProto:
    """ "image" uint8 (N, *spatial, C) of any size to "prepared" float32 (N, C, *canvas): normalised, mirrored by the
    margin and up to the next size that fits. An axis must be longer than what is mirrored on either side of it (ONNX's
    reflection bounces once)."""
    parts, dims, geometry = _Parts(), config.spatial_dims, config.geometry
    _normalize(parts, INPUT, "normalized", config, data)
    shape = parts.add("Shape", "shape", ["normalized"], start=2)
    margins = parts.constant("margins", [geometry.margin(a) for a in range(dims)])
    least = parts.constant("least", [geometry.grid(a).minimum for a in range(dims)])
    steps = parts.constant("steps", [geometry.grid(a).step for a in range(dims)])
    need = parts.add("Add", "need", [shape, parts.add("Add", "both_margins", [margins, margins])])
    need = parts.add("Max", "at_least", [need, least])
    # Up to the grid: need + (least − need) mod step, with the sign of the divisor.
    missing = parts.add("Mod", "missing", [parts.add("Sub", "short_of", [least, need]), steps])
    canvas = parts.add("Add", "canvas", [need, missing])
    high = parts.add("Sub", "high", [parts.add("Sub", "beyond", [canvas, shape]), margins])
    zeros = parts.constant("none", [0, 0])
    pads = parts.add("Concat", "pads", [zeros, margins, zeros, high], axis=0)
    parts.add("Pad", PREPARED, ["normalized", pads], mode="reflect")
    axes = _AXES[dims]
    return _model(
        parts,
        "unet_preprocess",
        [_value(INPUT, TensorProto.UINT8, ["batch", *axes, config.in_channels])],
        [_value(PREPARED, TensorProto.FLOAT, ["batch", config.in_channels, *(f"canvas_{axis}" for axis in axes)])],
        opset,
        ir_version,
    )


def postprocess_model(config: NetworkConfig, opset: int, ir_version: int) -> ModelProto:
    """ "logits" (N, K, *out) and the "image" (N, *spatial, C) that they come from, to "labels" uint8 (N, *spatial) and
    "probabilities" float32 (N, *spatial, K), cut to the image."""
    parts, dims = _Parts(), config.spatial_dims
    size = parts.add("Shape", "size", [INPUT], start=1, end=1 + dims)
    starts = parts.constant("starts", [0] * dims)
    axes = parts.constant("axes", list(range(2, 2 + dims)))
    cut = parts.add("Slice", "cut", [OUTPUT, starts, size, axes])
    _argmax(parts, cut, LABELS, config)
    _softmax(parts, cut, PROBABILITIES, config)
    names = _AXES[dims]
    return _model(
        parts,
        "unet_postprocess",
        [
            _value(OUTPUT, TensorProto.FLOAT, ["batch", config.out_channels, *(f"out_{n}" for n in names)]),
            _value(INPUT, TensorProto.UINT8, ["batch", *names, config.in_channels]),
        ],
        [
            _value(LABELS, TensorProto.UINT8, ["batch", *(f"{n}_cut" for n in names)]),
            _value(PROBABILITIES, TensorProto.FLOAT, ["batch", *(f"{n}_cut" for n in names), config.out_channels]),
        ],
        opset,
        ir_version,
    )


def _normalize(parts: _Parts, given: str, out: str, config: NetworkConfig, data: DataSpec) -> None:
    """In the units of the bytes: (x − 255 mean) / (255 std), the subtraction rounding once; or x / 255."""
    dims = config.spatial_dims
    x = parts.add("Cast", f"{out}.float", [given], to=TensorProto.FLOAT)
    x = parts.add("Transpose", f"{out}.channels_first", [x], perm=[0, dims + 1, *range(1, dims + 1)])
    column = (-1,) + (1,) * dims
    if data.mean:
        mean, std = (
            np.array([v * 255 for v in values], np.float32).reshape(column) for values in (data.mean, data.std)
        )
        x = parts.add("Sub", f"{out}.centred", [x, parts.constant(f"{out}.mean", mean, np.float32)])
    else:
        std = _FULL_SCALE
    parts.add("Div", out, [x, parts.constant(f"{out}.std", std, np.float32)])


def _softmax(parts: _Parts, given: str, out: str, config: NetworkConfig) -> None:
    op, attributes = ("Sigmoid", {}) if config.out_channels == 1 else ("Softmax", {"axis": 1})
    x = parts.add(op, f"{out}.channels_first", [given], **attributes)
    parts.add("Transpose", out, [x], perm=[0, *range(2, config.spatial_dims + 2), 1])


def _argmax(parts: _Parts, given: str, out: str, config: NetworkConfig) -> None:
    if config.classes > 256:
        raise InputError(f"labels are uint8 here; {config.classes} classes do not fit; take the logits")
    if config.out_channels == 1:
        zero = parts.constant(f"{out}.zero", 0, np.float32)
        axis = parts.constant(f"{out}.axis", [1])
        x = parts.add("Greater", f"{out}.chosen", [given, zero])
        x = parts.add("Squeeze", f"{out}.flat", [x, axis])
    else:
        x = parts.add("ArgMax", f"{out}.chosen", [given], axis=1, keepdims=0)
    parts.add("Cast", out, [x], to=TensorProto.UINT8)


def _model(parts: _Parts, name: str, inputs: list[Any], outputs: list[Any], opset: int, ir_version: int) -> ModelProto:
    graph = helper.make_graph(parts.nodes, name, inputs, outputs, parts.constants)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="unet-twins")
    onnx.checker.check_model(model, full_check=True)
    return model


def _value(name: str, element: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
