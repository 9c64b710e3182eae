"""Simulates a network in any precision in NumPy: a reference that needs no GPU.

ONNX Runtime's CPU provider cannot serve as this reference: it computes float16 models in float32, so overflow stays
hidden, and its int8 kernels saturate on CPUs without VNNI. Here every value that a file stores in a narrow format is
rounded to that format, including overflow, and products are summed in float32, as in tensor cores. Other effects of GPU
kernels (another order of the sums, sums in float16) can only be tested on a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unet_spec.graph import Node, evaluate
from unet_spec.ops import Op

from ..onnx.lowering import Lowered
from .formats import QUANTIZED, PrecisionRecipe, quantized, storage

if TYPE_CHECKING:
    from jaxtyping import Float32

Range = np.ndarray | np.float32
"""float32: one value per channel, or one for the whole tensor."""


def simulate(
    network: Lowered, recipe: PrecisionRecipe, images: Float32[np.ndarray, "n *spatial c"]
) -> Float32[np.ndarray, "out_n *out k"]:
    """Computes a network in the number formats of a recipe, rounding every stored value to its format.

    Args:
        network: The lowered network, from `lower_for(recipe.precision, graph, tensors)`.
        recipe: Number formats.
        images: (N, *spatial, C) float32, normalised, of a size on the network's grid.

    Returns:
        Logits (N, *out, K) float32. Overflow gives infinities and NaN.

    Raises:
        InputError: If `recipe` does not fit the network (`PrecisionRecipe.check`).

    Example:
        >>> import numpy as np
        >>> from unet_export import PrecisionRecipe, lower_for, simulate
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> network = lower_for("fp16", config.graph, random_tensors(config.graph, 0))
        >>> simulate(network, PrecisionRecipe("fp16"), np.zeros((1, 16, 16, 1), np.float32)).shape
        (1, 16, 16, 2)
    """
    graph = network.graph
    recipe.check(graph)
    stored, narrow = storage(graph, recipe), quantized(graph, recipe)

    def compute(node: Node, arrays: list[np.ndarray]) -> np.ndarray:
        dtype = stored[node.name]
        inputs = [rounded(x, dtype) if stored[i] != dtype else x for i, x in zip(node.inputs, arrays, strict=True)]
        params = {key: tensor.astype(np.float32) for key, tensor in node.select(network.tensors).items()}
        if node.name in narrow:
            inputs = [fake_quantized(inputs[0], np.float32(recipe.ranges[node.name]), recipe.precision)]
            weight = params["weight"]
            params["weight"] = fake_quantized(weight, weight_ranges(weight, node.op), recipe.precision)
        elif recipe.precision == "tf32" and node.op.convolution:
            inputs, params["weight"] = [tf32(inputs[0])], tf32(params["weight"])
        params = {key: rounded(tensor, dtype) for key, tensor in params.items()}
        return rounded(node.op.compute(params, *inputs), dtype)

    name = graph.output.name
    with np.errstate(all="ignore"):
        return evaluate(graph.nodes, graph.default_inputs(images.astype(np.float32)), compute, (name,))[name]


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """Rounds to the nearest value of "float16" or "bfloat16" (infinite beyond its range), as float32. "float32":
    unchanged."""
    if dtype == "float32":
        return x.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        return x.astype(narrow_dtype(dtype)).astype(np.float32)


def weight_ranges(weight: np.ndarray, op: Op) -> np.ndarray:
    """The largest magnitude per output channel, with axes of length 1 elsewhere; 1 for channels of zeros."""
    axes = tuple(a for a in range(weight.ndim) if a != op.output_axis)
    largest = np.abs(weight).max(axes, keepdims=True)
    return np.where(largest > 0, largest, 1).astype(np.float32)


def quantize(x: np.ndarray, ranges: Range, precision: str) -> tuple[np.ndarray, Range]:
    """(q, scale) with x ≈ q · scale: symmetric, round to even, saturating. q is int8 or float8 E4M3."""
    scale = step(ranges, precision)
    scaled = x.astype(np.float32) / scale
    if precision == "int8":
        return np.clip(np.rint(scaled), -128, 127).astype(np.int8), scale
    return np.clip(scaled, -448, 448).astype(narrow_dtype("float8_e4m3fn")), scale


def step(ranges: Range, precision: str) -> Range:
    """The scale that maps a range to the largest value of the format."""
    return ranges / np.float32(QUANTIZED[precision])


def fake_quantized(x: np.ndarray, ranges: Range, precision: str) -> np.ndarray:
    """x after `quantize` and dequantisation, float32. NaN stays NaN."""
    q, scale = quantize(np.nan_to_num(x, nan=0.0), ranges, precision)
    return np.where(np.isnan(x), np.float32(np.nan), q.astype(np.float32) * scale)


def tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to ten bits of mantissa, to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded_bits = (bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), rounded_bits.view(np.float32), x)


def narrow_dtype(name: str) -> np.dtype:
    """float16, bfloat16, float8_e4m3fn, as NumPy dtypes."""
    if name == "float16":
        return np.dtype(np.float16)
    import ml_dtypes  # installed with onnx

    return np.dtype(getattr(ml_dtypes, name))
