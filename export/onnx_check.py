"""Whether a file is an ONNX model that can be run, before any runtime sees it.

Runtimes are trusting: an empty file parses as a model without nodes, text often as one with unknown fields, and weights
that are NaN run without a word.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from unet_spec import InputError, UNetConfig

from .onnx_ops import INPUT, OUTPUT


def read_onnx(source: bytes | str | os.PathLike[str]) -> tuple[bytes, onnx.ModelProto, str]:
    """The bytes, the model and a name for messages. `source`: a path, or the file's bytes.

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
    names = ([v.name for v in model.graph.input], [v.name for v in model.graph.output])
    if names != ([INPUT], [OUTPUT]):
        found = " and ".join(f"{len(n)} {what}" for n, what in zip(names, ("inputs", "outputs"), strict=True))
        raise InputError(f"{where} is no ONNX model of ours: expected input 'image', output 'logits'; it has {found}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InputError(f"{where} keeps weights in other files; expected a model that is one file")
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as e:
        first = str(e).strip().splitlines()[0]
        raise InputError(f"{where} does not pass the ONNX checker: {first}") from None
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not all_finite(array):
            raise InputError(f"{where}: {tensor.name} holds NaN or infinite values; such a network gives no result")
    return content, model, where


def config_of(model: onnx.ModelProto, where: str) -> UNetConfig:
    """The network's config, from the model's metadata. Raises InputError where there is none."""
    for prop in model.metadata_props:
        if prop.key == "config":
            return UNetConfig.from_json(prop.value, f"{where}, metadata 'config'")
    raise InputError(f"{where} does not say which network it is (no metadata 'config'); write it with emit_onnx")


def all_finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite, without an array of flags: minimum and maximum carry both on."""
    return array.size == 0 or bool(np.isfinite(array.min()) and np.isfinite(array.max()))
