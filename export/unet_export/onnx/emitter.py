"""Emits a network as an ONNX model from its graph and its weights, without a framework or tracing.

The model's nodes, values and weights have the graph's names, so that layers can be compared between runtimes. The file
contains nothing else: equal weights give equal bytes on any machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, check_tensors
from unet_spec.errors import OutputError
from unet_spec.files import replacing
from unet_spec.weights.check import check_finite

from ..precision.formats import PrecisionRecipe, lower_for
from .ops import INPUT, OUTPUT, Writer
from .ops_families import further_inputs

OPSET = 21
"""Contains every operation used here (Gelu needs 20), and works in ONNX Runtime from 1.18 and in TensorRT."""
_OPSET_BF16 = 22  # the first with convolutions of bfloat16
IR_VERSION = 10  # the version of opset 21; older runtimes refuse newer ones
_LIMIT = 2**31 - 2**20  # a protobuf message is limited to 2 GiB

_AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}


def emit_onnx(
    config: NetworkConfig,
    tensors: Mapping[str, np.ndarray],
    data: DataSpec | None = None,
    *,
    dtype: DTypeLike = np.float32,
    recipe: PrecisionRecipe | None = None,
) -> onnx.ModelProto:
    """Emits a network as an ONNX model for inference: without dropout, and with the running statistics of batch norms.

    The input "image" is (N, C, *spatial), the output "logits" (N, K, *out), both of `dtype`. Batch and spatial sizes
    are dynamic; spatial sizes must be on the network's grid. The metadata has the keys `config`, `data`, `grid`,
    `margin`, `checkpoint_digest` and `recipe`, each a JSON text. Also in a float64 model, ONNX stores attributes such
    as a norm's epsilon in float32.

    Args:
        config: The network.
        tensors: Weights with PyTorch's names and axis orders.
        data: Input normalisation and class names, for the metadata.
        dtype: float32, or float64 for a reference evaluator.
        recipe: Number formats. None: everything in `dtype`. Input and output stay float32. Except in fp32 and tf32,
            batch norms are folded (`onnx.lowering`); int8 and fp8 models store weights in that format.

    Raises:
        InputError: If the tensors do not match the config, contain a NaN or an infinity, or exceed 2 GiB, or if the
            recipe does not fit the network.

    Example:
        >>> from unet_export import emit_onnx
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> model = emit_onnx(config, random_tensors(config.graph, 0))
        >>> [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        ['batch', 1, 'height', 'width']
    """
    dtype, recipe = np.dtype(dtype), recipe or PrecisionRecipe()
    _check(config, tensors, dtype, recipe)
    network = lower_for(recipe.precision, config.graph, tensors)
    recipe.check(network.graph)
    writer = Writer(network, dtype, recipe)
    values: dict[str, str] = {}
    for node in network.graph:
        values[node.name] = writer.write(node, [values[i] for i in node.inputs])
    axes = _AXES[config.spatial_dims]
    element = helper.np_dtype_to_tensor_dtype(dtype)
    image = ["batch", config.in_channels, *axes]
    further = further_inputs(network.graph, element)
    # One image may have many hypotheses.
    logits = ["out_batch" if further else "batch", config.output_channels, *(f"out_{axis}" for axis in axes)]
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "unet",
            [helper.make_tensor_value_info(INPUT, element, image), *further],
            [helper.make_tensor_value_info(OUTPUT, element, logits)],
            writer.initializers,
        ),
        opset_imports=[helper.make_opsetid("", opset_of(recipe))],
        ir_version=IR_VERSION,
        producer_name="unet-twins",
    )
    helper.set_model_props(model, _metadata(config, tensors, data or DataSpec(), recipe))
    return model


def _check(config: NetworkConfig, tensors: Mapping[str, np.ndarray], dtype: np.dtype, recipe: PrecisionRecipe) -> None:
    if dtype not in (np.float32, np.float64):
        raise InputError(f"cannot emit ONNX in {dtype}; allowed: float32, float64")
    if dtype == np.float64 and recipe.precision != "fp32":
        raise InputError(f"cannot emit ONNX in float64 and {recipe.precision}; a float64 model is float64 throughout")
    check_tensors(config.graph, tensors, "cannot emit ONNX")
    check_finite({name: tensors[name] for name in config.graph.params}, "cannot emit ONNX")
    if (size := sum(tensors[name].size for name in config.graph.params) * dtype.itemsize) > _LIMIT:
        raise InputError(f"cannot emit ONNX: {size / 2**30:.1f} GiB of weights; a single ONNX file is limited to 2 GiB")


def opset_of(recipe: PrecisionRecipe) -> int:
    """The ONNX opset for a recipe."""
    return _OPSET_BF16 if recipe.precision == "bf16" else OPSET


def _metadata(
    config: NetworkConfig, tensors: Mapping[str, np.ndarray], data: DataSpec, recipe: PrecisionRecipe
) -> dict[str, str]:
    axes = range(config.spatial_dims)
    grids = [config.geometry.grid(axis) for axis in axes]
    values = {
        "config": config.to_dict(),
        "data": data.to_dict(),
        "grid": [{"minimum": grid.minimum, "step": grid.step} for grid in grids],
        "margin": [config.geometry.margin(axis) for axis in axes],
        "checkpoint_digest": Checkpoint(config, tensors, data).digest(),
        "recipe": recipe.to_dict(),
    }
    return {key: json.dumps(value) for key, value in values.items()}


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    """Serialises a model. Equal models give equal bytes.

    Args:
        model: Model of `emit_onnx`.

    Example:
        >>> from unet_export import emit_onnx, onnx_bytes
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> len(onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))) > 4 * config.graph.parameter_count
        True
    """
    return model.SerializeToString(deterministic=True)


def save_onnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes a model to a file, atomically.

    Args:
        model: Model of `emit_onnx`.
        path: The file.

    Raises:
        InputError: If it cannot be written.

    Example:
        >>> from unet_export import emit_onnx, read_onnx, save_onnx
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> save_onnx(emit_onnx(config, random_tensors(config.graph, 0)), "model.onnx")
        >>> read_onnx("model.onnx")[2]
        'model.onnx'
    """
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(onnx_bytes(model))
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror or e}") from None
