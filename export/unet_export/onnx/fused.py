"""Pre- and post-processing as ONNX: normalisation and mirroring before the network, softmax or argmax after it.

Fused into the model, they let an engine compute labels from a camera's bytes. As separate models, they are the first
and the last step of a Triton ensemble. The arithmetic is that of `unet_data.inference.prepare` and
`unet_data.inference.output`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from unet_spec import DataSpec, InputError, NetworkConfig

from .fused_normalize import Parts, normalize
from .ops import INPUT, OUTPUT

Step = Literal["normalize", "softmax", "argmax"]
STEPS: tuple[Step, ...] = get_args(Step)
PREPARED, LABELS, PROBABILITIES = "prepared", "labels", "probabilities"
_AXES = {2: ["height", "width"], 3: ["depth", "height", "width"]}


def check_steps(steps: Sequence[str]) -> tuple[Step, ...]:
    """Sorts steps in the order of execution. Raises InputError for an unknown step, and for softmax together with
    argmax."""
    if unknown := [s for s in steps if s not in STEPS]:
        raise InputError(f"unknown step {unknown[0]!r} to fuse into the model; allowed: {', '.join(STEPS)}")
    if {"softmax", "argmax"} <= set(steps):
        raise InputError("give softmax (probabilities) or argmax (labels), not both: the model has one output")
    return tuple(s for s in STEPS if s in steps)


def fuse(model: ModelProto, config: NetworkConfig, data: DataSpec, steps: Sequence[Step]) -> ModelProto:
    """Fuses pre- and post-processing into a model of `emit_onnx`.

    Args:
        model: Model of `emit_onnx`.
        config, data: The network and its normalisation.
        steps: normalize: the input "image" is uint8 (N, *spatial, C), as from a camera, of a size on the grid.
            softmax: the output is "probabilities" (N, *spatial, classes) float32, as of `Predictor.probabilities`: two
            for a single logit, sigmoids if classes may overlap.
            argmax: the output is "labels" (N, *spatial) uint8. If classes may overlap, it is (N, *spatial, K) uint8
            with 1 for each class whose probability is above one half.

    Raises:
        InputError: Like `check_steps`, and for argmax over more than 256 classes.
    """
    steps = check_steps(steps)
    fused = ModelProto.FromString(model.SerializeToString(deterministic=True))
    graph, before, after = fused.graph, Parts(), Parts()
    axes = _AXES[config.spatial_dims]
    if "normalize" in steps:
        if data.normalization in ("image", "percentile"):
            raise InputError(
                "normalize cannot be fused into the model: each image is normalised by its own values "
                f"({data.normalization}), but the model only gets tiles; the bundle's triton/ has a model that does it"
            )
        _rename(graph, INPUT, PREPARED)
        normalize(before, INPUT, PREPARED, config, data)
        graph.input[0].CopyFrom(_value(INPUT, TensorProto.UINT8, ["batch", *axes, config.in_channels]))
    outer = [f"out_{axis}" for axis in axes]
    logits = _logits(after, OUTPUT, config) if {"softmax", "argmax"} & set(steps) else OUTPUT
    if "softmax" in steps:
        _softmax(after, logits, PROBABILITIES, config, data)
        shape = ["batch", *outer, data.class_count(config)]
        graph.output[0].CopyFrom(_value(PROBABILITIES, TensorProto.FLOAT, shape))
    if "argmax" in steps:
        _argmax(after, logits, LABELS, config, data)
        graph.output[0].CopyFrom(_value(LABELS, TensorProto.UINT8, ["batch", *outer, *label_channels(config, data)]))
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.initializers(), *after.initializers()])
    fused.metadata_props.append(onnx.StringStringEntryProto(key="baked", value=json.dumps(list(steps))))
    return fused


def preprocess_model(config: NetworkConfig, data: DataSpec, opset: int, ir_version: int) -> ModelProto:
    """ "image" uint8 (N, *spatial, C) of any size to "prepared" float32 (N, C, *canvas): normalised, and mirrored by
    the margin and up to the next size that fits. An axis must be longer than its mirrored parts, since ONNX reflects
    only once."""
    parts, dims, geometry = Parts(), config.spatial_dims, config.geometry
    normalize(parts, INPUT, "normalized", config, data)
    shape = parts.add("Shape", "shape", ["normalized"], start=2)
    margins = parts.constant("margins", [geometry.margin(a) for a in range(dims)])
    minimum = parts.constant("least", [geometry.grid(a).minimum for a in range(dims)])
    steps = parts.constant("steps", [geometry.grid(a).step for a in range(dims)])
    need = parts.add("Add", "need", [shape, parts.add("Add", "both_margins", [margins, margins])])
    need = parts.add("Max", "at_least", [need, minimum])
    # Up to the grid: need + (least − need) mod step, with the sign of the divisor.
    missing = parts.add("Mod", "missing", [parts.add("Sub", "short_of", [minimum, need]), steps])
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


def label_channels(config: NetworkConfig, data: DataSpec) -> list[int]:
    """The last axis of labels: none, or one channel per class if classes may overlap."""
    return [config.out_channels] if data.overlapping else []


def postprocess_model(config: NetworkConfig, data: DataSpec, opset: int, ir_version: int) -> ModelProto:
    """ "logits" (N, K, *out), optionally followed by a distance, and their "image" (N, *spatial, C), to "labels" uint8
    (N, *spatial) and "probabilities" float32 (N, *spatial, classes), cropped to the image; labels as in `fuse`."""
    parts, dims = Parts(), config.spatial_dims
    size = parts.add("Shape", "size", [INPUT], start=1, end=1 + dims)
    starts = parts.constant("starts", [0] * dims)
    axes = parts.constant("axes", list(range(2, 2 + dims)))
    cut = parts.add("Slice", "cut", [_logits(parts, OUTPUT, config), starts, size, axes])
    _argmax(parts, cut, LABELS, config, data)
    _softmax(parts, cut, PROBABILITIES, config, data)
    names = _AXES[dims]
    return _model(
        parts,
        "unet_postprocess",
        [
            _value(OUTPUT, TensorProto.FLOAT, ["batch", config.output_channels, *(f"out_{n}" for n in names)]),
            _value(INPUT, TensorProto.UINT8, ["batch", *names, config.in_channels]),
        ],
        [
            _value(LABELS, TensorProto.UINT8, ["batch", *(f"{n}_cut" for n in names), *label_channels(config, data)]),
            _value(PROBABILITIES, TensorProto.FLOAT, ["batch", *(f"{n}_cut" for n in names), data.class_count(config)]),
        ],
        opset,
        ir_version,
    )


def _logits(parts: Parts, source: str, config: NetworkConfig) -> str:
    """The logits (N, K, *out) of an output, without the distance."""
    if not config.distance_head:
        return source
    ends = [("from", 0), ("to", config.out_channels), ("channels", 1)]
    return parts.add("Slice", "class_logits", [source, *(parts.constant(f"logits.{k}", [v]) for k, v in ends)])


def _softmax(parts: Parts, source: str, out: str, config: NetworkConfig, data: DataSpec) -> None:
    first = f"{out}.channels_first"
    if data.overlapping:
        x = parts.add("Sigmoid", first, [source])
    elif config.out_channels == 1:
        other = parts.add("Sigmoid", f"{out}.class_0", [parts.add("Neg", f"{out}.negative", [source])])
        x = parts.add("Concat", first, [other, parts.add("Sigmoid", f"{out}.class_1", [source])], axis=1)
    else:
        x = parts.add("Softmax", first, [source], axis=1)
    parts.add("Transpose", out, [x], perm=[0, *range(2, config.spatial_dims + 2), 1])


def _argmax(parts: Parts, source: str, out: str, config: NetworkConfig, data: DataSpec) -> None:
    if data.overlapping:
        zero = parts.constant(f"{out}.zero", 0, np.float32)
        x = parts.add("Greater", f"{out}.chosen", [source, zero])
        x = parts.add("Cast", f"{out}.channels_first", [x], to=TensorProto.UINT8)
        parts.add("Transpose", out, [x], perm=[0, *range(2, config.spatial_dims + 2), 1])
        return
    if config.classes > 256:
        raise InputError(f"labels are uint8, which is too small for {config.classes} classes; use the logits")
    if config.out_channels == 1:
        zero = parts.constant(f"{out}.zero", 0, np.float32)
        axis = parts.constant(f"{out}.axis", [1])
        x = parts.add("Greater", f"{out}.chosen", [source, zero])
        x = parts.add("Squeeze", f"{out}.flat", [x, axis])
    else:
        x = parts.add("ArgMax", f"{out}.chosen", [source], axis=1, keepdims=0)
    parts.add("Cast", out, [x], to=TensorProto.UINT8)


def _model(parts: Parts, name: str, inputs: list[Any], outputs: list[Any], opset: int, ir_version: int) -> ModelProto:
    graph = helper.make_graph(parts.nodes, name, inputs, outputs, parts.initializers())
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
