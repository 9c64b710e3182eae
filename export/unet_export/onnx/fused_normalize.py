"""Normalisation of bytes as ONNX nodes, with the arithmetic of `unet_data.normalize`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from unet_data.normalize import CONSTANT, PERCENTILES
from unet_spec import DataSpec, NetworkConfig

_FULL_SCALE = np.float32(255)
_BEYOND = np.float32(1e9)  # larger than every byte when sorted


class Parts:
    """Nodes and initializers of a part of a model."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, op: str, out: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def constant(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def initializers(self) -> list[TensorProto]:
        """The constants that a node uses: ONNX Runtime warns of others."""
        used = {name for node in self.nodes for name in node.input}
        return [constant for constant in self.constants if constant.name in used]


def normalize(parts: Parts, source: str, out: str, config: NetworkConfig, data: DataSpec) -> None:
    """Bytes (N, *spatial, C) to float32 (N, C, *spatial): (x − 255 mean) / (255 std), in the units of the bytes, so
    that the subtraction rounds once; or x / 255. With "image" and "percentile", the values of each image are used."""
    dims = config.spatial_dims
    x = parts.add("Cast", f"{out}.float", [source], to=TensorProto.FLOAT)
    x = parts.add("Transpose", f"{out}.channels_first", [x], perm=[0, dims + 1, *range(1, dims + 1)])
    missing, valid = None, None
    if data.nodata is not None:
        missing = parts.add("Equal", f"{out}.missing", [x, parts.constant(f"{out}.nodata", data.nodata, np.float32)])
        valid = parts.add("Cast", f"{out}.known", [parts.add("Not", f"{out}.held", [missing])], to=TensorProto.FLOAT)
    column = (-1,) + (1,) * dims

    def per_channel(name: str, values: Sequence[float]) -> str:
        scaled = np.array([v * 255 for v in values], np.float32).reshape(column)
        return parts.constant(f"{out}.{name}", scaled, np.float32)

    zero, std = parts.constant(f"{out}.zero", 0, np.float32), parts.constant(f"{out}.full", _FULL_SCALE, np.float32)
    if data.low:
        x = parts.add("Max", f"{out}.above_low", [x, per_channel("low", data.low)])
        x = parts.add("Min", f"{out}.below_high", [x, per_channel("high", data.high)])
    if data.normalization == "image":
        mean, std = _moments(parts, x, valid, out, dims)
        x = parts.add("Sub", f"{out}.centred", [x, mean])
    elif data.normalization == "percentile":
        low, high = _percentiles(parts, x, missing, out, dims)
        x = parts.add("Sub", f"{out}.centred", [x, low])
        width = parts.add("Sub", f"{out}.width", [high, low])
        std = _where(parts, parts.add("Greater", f"{out}.wide", [width, zero]), width, std, out)
    elif data.mean:
        x = parts.add("Sub", f"{out}.centred", [x, per_channel("mean", data.mean)])
        std = per_channel("std", data.std)
    if missing is None:
        parts.add("Div", out, [x, std])
    else:
        parts.add("Where", out, [missing, zero, parts.add("Div", f"{out}.divided", [x, std])])


def _where(parts: Parts, condition: str, if_true: str, if_false: str, out: str) -> str:
    return parts.add("Where", f"{out}.scale", [condition, if_true, if_false])


def _moments(parts: Parts, x: str, valid: str | None, out: str, dims: int) -> tuple[str, str]:
    """Mean and standard deviation (N, C, 1, …) of the pixels with data; for a constant channel the deviation is 255."""
    axes = parts.constant(f"{out}.spatial", list(range(2, dims + 2)))
    if valid is None:
        nothing = parts.add("Sub", f"{out}.nothing", [x, x])
        valid = parts.add("Add", f"{out}.all", [nothing, parts.constant(f"{out}.one", 1, np.float32)])
    count = parts.add("ReduceSum", f"{out}.number", [valid, axes], keepdims=1)
    count = parts.add("Max", f"{out}.count", [count, parts.constant(f"{out}.least", 1, np.float32)])
    total = parts.add("ReduceSum", f"{out}.total", [parts.add("Mul", f"{out}.values", [x, valid]), axes], keepdims=1)
    mean = parts.add("Div", f"{out}.mean", [total, count])
    around = parts.add("Mul", f"{out}.around", [parts.add("Sub", f"{out}.distance", [x, mean]), valid])
    power = parts.add("ReduceSum", f"{out}.power", [parts.add("Mul", f"{out}.square", [around, around]), axes])
    std = parts.add("Sqrt", f"{out}.spread", [parts.add("Div", f"{out}.variance", [power, count])])
    size = parts.add("Abs", f"{out}.size", [mean])
    threshold = parts.add("Mul", f"{out}.rounding", [size, parts.constant(f"{out}.constant", CONSTANT, np.float32)])
    varies = parts.add("Greater", f"{out}.varies", [std, threshold])
    return mean, _where(parts, varies, std, parts.constant(f"{out}.unit", _FULL_SCALE, np.float32), out)


def _percentiles(parts: Parts, x: str, missing: str | None, out: str, dims: int) -> list[str]:
    """The values at `PERCENTILES`, each (N, C, 1, …), interpolated linearly as in NumPy."""
    flat = parts.constant(f"{out}.flat", [0, 0, -1])
    x = parts.add("Reshape", f"{out}.pixels", [x, flat])
    size = parts.add("Shape", f"{out}.pixel_count", [x], start=2, end=3)
    count = parts.add("Cast", f"{out}.pixel_number", [size], to=TensorProto.FLOAT)
    if missing is not None:
        gone = parts.add("Reshape", f"{out}.missing_pixels", [missing, flat])
        x = parts.add("Where", f"{out}.held_pixels", [gone, parts.constant(f"{out}.beyond", _BEYOND, np.float32), x])
        lost = parts.add("Cast", f"{out}.lost", [gone], to=TensorProto.FLOAT)
        lost = parts.add("ReduceSum", f"{out}.lost_number", [lost, parts.constant(f"{out}.last", [2])], keepdims=1)
        count = parts.add("Sub", f"{out}.held_number", [count, lost])
    ordered = f"{out}.ordered"
    parts.nodes.append(
        helper.make_node("TopK", [x, size], [ordered, f"{out}.order"], name=ordered, axis=2, largest=0, sorted=1)
    )
    first, one = parts.constant(f"{out}.first", 0, np.float32), parts.constant(f"{out}.step", 1, np.float32)
    top = parts.add("Max", f"{out}.top", [parts.add("Sub", f"{out}.last_rank", [count, one]), first])
    # One rank per image and channel: (N, C, 1).
    shape = parts.add("Shape", f"{out}.rank_shape", [x], end=2)
    shape = parts.add("Concat", f"{out}.ranks", [shape, parts.constant(f"{out}.single", [1])], axis=0)
    percentiles = []
    for number, percent in enumerate(PERCENTILES):
        name = f"{out}.p{number}"
        share = parts.constant(f"{name}.share", percent / 100, np.float32)
        rank = parts.add("Expand", f"{name}.rank", [parts.add("Mul", f"{name}.place", [top, share]), shape])
        below, above = parts.add("Floor", f"{name}.floor", [rank]), parts.add("Ceil", f"{name}.ceil", [rank])
        values = []
        for side, place in (("low", below), ("high", above)):
            index = parts.add("Cast", f"{name}.{side}_index", [place], to=TensorProto.INT64)
            values.append(parts.add("GatherElements", f"{name}.{side}", [ordered, index], axis=2))
        part = parts.add("Sub", f"{name}.part", [rank, below])
        rise = parts.add("Mul", f"{name}.rise", [parts.add("Sub", f"{name}.gap", [values[1], values[0]]), part])
        value = parts.add("Add", f"{name}.value", [values[0], rise])
        wide = parts.constant(f"{name}.wide", [0, 0] + [1] * dims)
        percentiles.append(parts.add("Reshape", name, [value, wide]))
    return percentiles
