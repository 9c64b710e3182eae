"""Whether a file is an ONNX model that can be run, before any runtime sees it.

Runtimes are trusting: an empty file parses as a model without nodes, text often as one with unknown fields, and weights
that are NaN run without a word.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from unet_spec import InputError, NetworkConfig

from .onnx_ops import INPUT, OUTPUT
from .precision import Recipe

BAKED_OUTPUTS = ("probabilities", "labels")


def read_onnx(source: bytes | str | os.PathLike[str], baked: bool = False) -> tuple[bytes, onnx.ModelProto, str]:
    """The bytes, the model and a name for messages. `source`: a path, or the file's bytes. `baked`: whether the model
    may take bytes and give probabilities or labels (`baked.bake`).

    Raises InputError where the file is missing or empty, does not parse, fails ONNX's full checker, has not exactly the
    input "image" and the output "logits", or holds a NaN or an infinity.
    """
    if isinstance(source, bytes):
        content, where = source, "the ONNX model"
    else:
        where = str(source)
        try:
            content = Path(source).read_bytes()
        except OSError as e:
            raise InputError(f"cannot read {where}: {e.strerror or e}") from None
    if not content:
        raise InputError(f"{where} is empty; expected an ONNX model")
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as e:
        raise InputError(f"{where} is not an ONNX model, or a part of one ({e})") from None
    defaults = {tensor.name for tensor in model.graph.initializer}  # an input with a default need not be given
    names = ([v.name for v in model.graph.input if v.name not in defaults], [v.name for v in model.graph.output])
    outputs = (OUTPUT, *BAKED_OUTPUTS) if baked else (OUTPUT,)
    if names[0] != [INPUT] or len(names[1]) != 1 or names[1][0] not in outputs:
        found = " and ".join(f"{len(n)} {what}" for n, what in zip(names, ("inputs", "outputs"), strict=True))
        raise InputError(f"{where} is no ONNX model of ours: expected input 'image', output 'logits'; it has {found}")
    if not baked and model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        raise InputError(f"{where} takes bytes: its normalisation is baked in; expected a model of float32 images")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InputError(f"{where} keeps weights in other files; expected a model that is one file")
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as e:
        first = str(e).strip().splitlines()[0]
        raise InputError(f"{where} does not pass the ONNX checker: {first}") from None
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        floating = array.dtype.kind in "fV"  # ml_dtypes' own types are of kind V
        if floating and not all_finite(array.astype(np.float32)):
            raise InputError(f"{where}: {tensor.name} holds NaN or infinite values; such a network gives no result")
    return content, model, where


def config_of(model: onnx.ModelProto, where: str) -> NetworkConfig:
    """The network's config, from the model's metadata. Raises InputError where there is none."""
    for prop in model.metadata_props:
        if prop.key == "config":
            return NetworkConfig.from_json(prop.value, f"{where}, metadata 'config'")
    raise InputError(f"{where} does not say which network it is (no metadata 'config'); write it with emit_onnx")


def recipe_of(model: onnx.ModelProto, where: str) -> Recipe:
    """How the model computes, from its metadata. Raises InputError where that is damaged or missing."""
    for prop in model.metadata_props:
        if prop.key == "recipe":
            try:
                return Recipe.from_dict(json.loads(prop.value), f"{where}, metadata 'recipe'")
            except ValueError as e:
                raise InputError(f"{where}, metadata 'recipe': {e}") from None
    raise InputError(f"{where} does not say its precision (no metadata 'recipe'); write it with emit_onnx")


def weights_of(model: onnx.ModelProto, where: str) -> dict[str, np.ndarray]:
    """The network's own tensors, under PyTorch's names: those of the checkpoint that inference needs, bit for bit, if
    the model is float32. Raises InputError where one is missing."""
    own = config_of(model, where).graph.inference.params
    # Some are stored as a column or as the kernel of a 1x1 convolution: the same numbers in the same order.
    found = {
        t.name: numpy_helper.to_array(t).reshape(own[t.name].shape) for t in model.graph.initializer if t.name in own
    }
    if missing := [name for name in own if name not in found]:
        raise InputError(f"{where} lacks the tensor {missing[0]}; the float32 model of a bundle has them all")
    return found


def value_types(model: onnx.ModelProto) -> dict[str, str]:
    """The dtype of every value that a node computes, by TensorRT's names, as ONNX's own inference finds them."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    return {name: _TENSORRT[kind] for name, kind in known.items() if kind in _TENSORRT}


def border_types(model: onnx.ModelProto) -> tuple[str, str]:
    """The dtype of the image and of the output, by TensorRT's names."""
    image, output = (v.type.tensor_type.elem_type for v in (model.graph.input[0], model.graph.output[0]))
    return _TENSORRT[image], _TENSORRT[output]


_TENSORRT: dict[int, str] = {
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.FLOAT8E4M3FN: "FP8",
    onnx.TensorProto.UINT8: "UINT8",
}


def all_finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite, without an array of flags: minimum and maximum carry both on."""
    return array.size == 0 or bool(np.isfinite(array.min()) and np.isfinite(array.max()))
