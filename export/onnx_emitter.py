"""A network as an ONNX model, straight from its graph and its weights: no framework, no tracing.

The model's nodes, values and weights carry the graph's names, so that a difference found in one runtime can be traced
to a layer of any other. Nothing else goes into the file: equal weights give equal bytes, on any machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, check_tensors
from unet_spec.checkpoint import replacing

from .onnx_check import all_finite
from .onnx_ops import INPUT, OUTPUT, Writer
from .onnx_ops_families import further_inputs
from .precision import Recipe, lower_for

OPSET = 21
"""The least that says everything here (Gelu came with 20), and one that ONNX Runtime from 1.18 and TensorRT take."""
_OPSET_BF16 = 22  # convolutions of bfloat16 came with it
IR_VERSION = 10  # the one that belongs to opset 21; the library's own newest would lock older runtimes out
_LIMIT = 2**31 - 2**20  # a protobuf message ends at 2 GiB

_AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}


def emit_onnx(
    config: NetworkConfig,
    tensors: Mapping[str, np.ndarray],
    data: DataSpec | None = None,
    *,
    dtype: DTypeLike = np.float32,
    recipe: Recipe | None = None,
) -> onnx.ModelProto:
    """The network as an ONNX model for inference (dropout vanishes, batch norm uses its running statistics).

    Input "image" (N, C, *spatial) and output "logits" (N, K, *spatial), both of `dtype`: float32, or float64 for a
    reference evaluator. Batch and spatial sizes are free; the sizes must lie on the network's grid, which the
    metadata names: keys `config`, `data`, `grid`, `margin`, `checkpoint_digest`, `recipe`, each a JSON text.

    recipe: what is computed in which dtype; None is float32 throughout (or float64, with that dtype). Input and output
    stay float32. In all but fp32 and tf32, batch norms are folded (`lowering`); in int8 and fp8, weights are stored in
    that format.

    ONNX holds attributes such as a norm's epsilon in float32, also in a float64 model.

    Raises InputError where the tensors are not the config's, hold a NaN or an infinity, or exceed 2 GiB, and where the
    recipe is not for this network.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise InputError(f"cannot emit ONNX in {dtype}; allowed: float32, float64")
    check_tensors(config.graph, tensors, "cannot emit ONNX")
    for name in config.graph.params:
        if not all_finite(tensors[name]):
            bad = int((~np.isfinite(tensors[name])).sum())
            raise InputError(f"cannot emit ONNX: {name} holds NaN or infinite values ({bad} of {tensors[name].size})")
    if (size := sum(tensors[name].size for name in config.graph.params) * dtype.itemsize) > _LIMIT:
        raise InputError(f"cannot emit ONNX: {size / 2**30:.1f} GiB of weights; a single ONNX file holds 2 GiB at most")

    recipe = recipe or Recipe()
    if dtype == np.float64 and recipe.precision != "fp32":
        raise InputError(f"cannot emit ONNX in float64 and {recipe.precision}; a float64 model is float64 throughout")
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
    # Of one image, there may be many hypotheses.
    logits = ["out_batch" if further else "batch", config.out_channels, *(f"out_{axis}" for axis in axes)]
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


def opset_of(recipe: Recipe) -> int:
    """The ONNX opset that a file of this recipe needs."""
    return _OPSET_BF16 if recipe.precision == "bf16" else OPSET


def _metadata(
    config: NetworkConfig, tensors: Mapping[str, np.ndarray], data: DataSpec, recipe: Recipe
) -> dict[str, str]:
    axes = range(config.spatial_dims)
    grids = [config.geometry.grid(axis) for axis in axes]
    values = {
        "config": config.to_dict(),
        "data": asdict(data),
        "grid": [{"minimum": grid.minimum, "step": grid.step} for grid in grids],
        "margin": [config.geometry.margin(axis) for axis in axes],
        "checkpoint_digest": Checkpoint(config, tensors, data).digest(),
        "recipe": recipe.to_dict(),
    }
    return {key: json.dumps(value) for key, value in values.items()}


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    """The file's bytes; the same for the same model."""
    return model.SerializeToString(deterministic=True)


def save_onnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes the model: wholly or not at all. Raises InputError where the place is not writable."""
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(onnx_bytes(model))
    except OSError as e:
        raise InputError(f"cannot write {path}: {e.strerror or e}") from None
