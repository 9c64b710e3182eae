"""Checks that a file is an ONNX model of this package, before any runtime opens it.

Runtimes check little: an empty file parses as a model without nodes, text often parses as a model with unknown fields,
and NaN weights run without a message.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from unet_spec import InputError, NetworkConfig
from unet_spec.files import first_line
from unet_spec.untrusted.strict_json import parse_json
from unet_spec.weights.check import check_finite

from ..precision.formats import PrecisionRecipe
from .ops import INPUT, OUTPUT

FUSED_OUTPUTS = ("probabilities", "labels")


def read_onnx(source: bytes | str | os.PathLike[str], fused: bool = False) -> tuple[bytes, onnx.ModelProto, str]:
    """Reads an ONNX model and checks it.

    Args:
        source: A path, or the file's bytes.
        fused: Whether the model may take uint8 images and return probabilities or labels (`onnx.fused.fuse`).

    Returns:
        The bytes, the model, and its name for messages.

    Raises:
        InputError: If the file is missing or empty, does not parse, fails ONNX's full checker, has other inputs than
            "image" or other outputs than "logits", or contains a NaN or an infinity.

    Example:
        >>> from unet_export import emit_onnx, onnx_bytes, read_onnx
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> content, model, name = read_onnx(onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0))))
        >>> [value.name for value in (*model.graph.input, *model.graph.output)]
        ['image', 'logits']
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
        raise InputError(f"{where} is not an ONNX model, or only a part of one ({e})") from None
    defaults = {tensor.name for tensor in model.graph.initializer}  # inputs with a default are optional
    names = ([v.name for v in model.graph.input if v.name not in defaults], [v.name for v in model.graph.output])
    outputs = (OUTPUT, *FUSED_OUTPUTS) if fused else (OUTPUT,)
    if names[0] != [INPUT] or len(names[1]) != 1 or names[1][0] not in outputs:
        actual = " and ".join(f"{len(n)} {what}" for n, what in zip(names, ("inputs", "outputs"), strict=True))
        raise InputError(
            f"{where} is not an ONNX model of this project: expected input 'image', output 'logits'; it has {actual}"
        )
    if not fused and model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        raise InputError(
            f"{where} takes uint8 images, since its normalisation is fused in; expected a model that "
            "takes float32 images"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InputError(f"{where} stores weights in other files; expected a model in a single file")
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as e:
        first = first_line(e)
        raise InputError(f"{where} does not pass the ONNX checker: {first}") from None
    for tensor in model.graph.initializer:
        check_finite({tensor.name: _array(tensor, where)}, where)
    return content, model, where


def _array(tensor: onnx.TensorProto, where: str) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except Exception as e:  # NumPy and onnx raise many kinds of errors
        raise InputError(f"{where}: the tensor {tensor.name} is damaged ({first_line(e)})") from None


def config_of(model: onnx.ModelProto, where: str) -> NetworkConfig:
    """The network's config, from the model's metadata. Raises InputError if there is none."""
    for prop in model.metadata_props:
        if prop.key == "config":
            return NetworkConfig.from_json(prop.value, f"{where}, metadata 'config'")
    raise InputError(f"{where} does not state its network (no metadata 'config'); write it with emit_onnx")


def recipe_of(model: onnx.ModelProto, where: str) -> PrecisionRecipe:
    """The precision recipe in the model's metadata. Raises InputError if it is damaged or missing."""
    for prop in model.metadata_props:
        if prop.key == "recipe":
            place = f"{where}, metadata 'recipe'"
            return PrecisionRecipe.from_dict(parse_json(prop.value, place), place)
    raise InputError(f"{where} does not state its precision (no metadata 'recipe'); write it with emit_onnx")


def weights_of(model: onnx.ModelProto, where: str) -> dict[str, np.ndarray]:
    """The checkpoint's tensors that inference needs, with PyTorch's names; bit for bit in a float32 model.

    Raises InputError if one is missing or damaged.
    """
    own = config_of(model, where).graph.inference.params
    # Some are stored as a column or as the kernel of a 1x1 convolution, with the same numbers in the same order.
    every = {t.name: _array(t, where) for t in model.graph.initializer if t.name in own}
    if wrong := [name for name, array in every.items() if array.size != math.prod(own[name].shape)]:
        raise InputError(f"{where}: {wrong[0]} has shape {every[wrong[0]].shape}; {own[wrong[0]].shape} expected")
    weights = {name: array.reshape(own[name].shape) for name, array in every.items()}
    if missing := [name for name in own if name not in weights]:
        raise InputError(f"{where} lacks the tensor {missing[0]}; the float32 model of a bundle has all tensors")
    return weights


def value_types(model: onnx.ModelProto) -> dict[str, str]:
    """The dtype of every node's output, with TensorRT's type names, from ONNX's type inference."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    return {name: _TENSORRT[kind] for name, kind in types.items() if kind in _TENSORRT}


def border_types(model: onnx.ModelProto) -> tuple[str, str]:
    """The dtypes of the image and of the output, with TensorRT's type names."""
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
