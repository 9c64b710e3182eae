"""A network in any precision, computed exactly as its file says, in NumPy: the judge that needs no GPU.

ONNX Runtime's CPU provider computes float16 models in float32, and its int8 kernels saturate on CPUs without VNNI: it
would call a black mask fine. Here every value that a file stores in a narrow format is rounded to that format, overflow
included, and products are summed in float32, which is what tensor cores do. What a GPU's kernels may do beyond that
(another order of the sums, sums in float16) only a GPU can show.
"""

from __future__ import annotations

import numpy as np

from unet_spec.graph import Graph, Node
from unet_spec.ops import Conv, ConvTranspose, Input, LatentInput

from .lowering import Lowered
from .precision import QUANTIZED, Recipe, quantized, storage


def simulate(network: Lowered, recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, on the grid; `network` from
    `lower_for(recipe.precision, …)`. Overflow shows as infinities and NaN. Raises InputError as `Recipe.check`."""
    graph = network.graph
    recipe.check(graph)
    stored, narrow = storage(graph, recipe), quantized(graph, recipe)
    last_use = {i: node.name for node in graph for i in node.inputs}
    values: dict[str, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in graph:
            if isinstance(node.op, Input):
                values[node.name] = fed(node, graph, images)
                continue
            dtype = stored[node.name]
            inputs = [rounded(values[i], dtype) if stored[i] != dtype else values[i] for i in node.inputs]
            params = {key: network.tensors[f"{node.name}.{key}"].astype(np.float32) for key in node.op.parameters()}
            if node.name in narrow:
                inputs = [fake_quantized(inputs[0], np.float32(recipe.ranges[node.name]), recipe.precision)]
                weight = params["weight"]
                params["weight"] = fake_quantized(weight, weight_ranges(weight, node.op), recipe.precision)
            elif recipe.precision == "tf32" and isinstance(node.op, Conv | ConvTranspose):
                inputs, params["weight"] = [tf32(inputs[0])], tf32(params["weight"])
            params = {key: rounded(tensor, dtype) for key, tensor in params.items()}
            values[node.name] = rounded(node.op.compute(params, *inputs), dtype)
            for used in set(node.inputs):
                if last_use[used] == node.name:
                    del values[used]
    return values[graph.output.name]


def fed(node: Node, graph: Graph, images: np.ndarray) -> np.ndarray:
    """What enters at an input, float32: the images, or the noise of a latent variable, which is zero here."""
    if isinstance(node.op, LatentInput):
        return np.zeros((len(images), *[1] * graph.spatial_dims, node.op.features), np.float32)
    return images.astype(np.float32)


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """To the nearest value of "float16" or "bfloat16" (infinite beyond its range), as float32. "float32": unchanged."""
    if dtype == "float32":
        return x.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        return x.astype(narrow_dtype(dtype)).astype(np.float32)


def weight_ranges(weight: np.ndarray, op: object) -> np.ndarray:
    """The largest magnitude per output channel, with axes of length 1 elsewhere; 1 where a channel is all zero."""
    channel = 1 if isinstance(op, ConvTranspose) else 0
    axes = tuple(a for a in range(weight.ndim) if a != channel)
    most = np.abs(weight).max(axes, keepdims=True)
    return np.where(most > 0, most, 1).astype(np.float32)


def quantize(x: np.ndarray, ranges: np.ndarray | np.float32, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """(q, scale) with x ≈ q · scale: symmetric, round to even, saturating. q is int8 or float8 E4M3."""
    scale = step(ranges, precision)
    scaled = x.astype(np.float32) / scale
    if precision == "int8":
        return np.clip(np.rint(scaled), -128, 127).astype(np.int8), scale
    return np.clip(scaled, -448, 448).astype(narrow_dtype("float8_e4m3fn")), scale


def step(ranges: np.ndarray | np.float32, precision: str) -> np.ndarray:
    """The scale that maps a range to the largest value of the format."""
    return np.asarray(ranges, np.float32) / np.float32(QUANTIZED[precision])


def fake_quantized(x: np.ndarray, ranges: np.ndarray | np.float32, precision: str) -> np.ndarray:
    """What is left of x after `quantize` and back, float32. NaN stays NaN."""
    q, scale = quantize(np.nan_to_num(x, nan=0.0), ranges, precision)
    return np.where(np.isnan(x), np.float32(np.nan), q.astype(np.float32) * scale)


def tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to ten bits of mantissa, to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    kept = (bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), kept.view(np.float32), x)


def narrow_dtype(name: str) -> np.dtype:
    """float16, bfloat16, float8_e4m3fn, as NumPy dtypes."""
    if name == "float16":
        return np.dtype(np.float16)
    import ml_dtypes  # comes with onnx

    return np.dtype(getattr(ml_dtypes, name))
