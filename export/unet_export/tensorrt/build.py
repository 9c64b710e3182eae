"""Builds engines with `tensorrt` (10, 11) and `tensorrt_rtx`, whose interfaces are nearly the same.

TensorRT for RTX builds without a GPU, for the given compute capabilities; TensorRT builds on a GPU, for that GPU. Both
receive strongly typed networks, so the precision is that of the ONNX model. This module checks the request and the
result, `child` runs the build process, and `builder` is the program of that process.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from unet_spec import InputError
from unet_spec.errors import OutputError
from unet_spec.files import replacing

from ..onnx.check import border_types, config_of, read_onnx, recipe_of, value_types
from ..onnx.ops import INPUT
from .builder import TIMING, wrong_types
from .child import Progress, run_child
from .engine_record import EngineRecord
from .profile import Profile
from .settings import EngineSettings, Job

_NARROW = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}


def build_engine(
    onnx: bytes | str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    settings: EngineSettings | None = None,
    progress: Progress | None = None,
) -> EngineRecord:
    """Builds a TensorRT engine from a model of `emit_onnx`, in a separate process, and writes it atomically.

    The dtypes of the parsed, strongly typed network are read back, tensor by tensor, and must equal those of the model.
    Whether the engine loads and computes correctly can only be tested on a suitable GPU. Ctrl-C stops the build.

    Args:
        onnx: A path, or the file's bytes. The engine has the model's precision.
        out_path: The file to write.
        settings: None: the defaults of `EngineSettings`.
        progress: Called with (phase, step, steps).

    Returns:
        The record of the engine.

    Raises:
        InputError: A model that fails its checks, a profile off the network's grid, a backend or compute capability
            that is unknown, not installed or lacks the precision, a tensor of another dtype, and an error or a crash
            of the builder.

    Example:
        >>> from unet_export import EngineSettings, Profile, available_backends, build_engine, emit_onnx, onnx_bytes
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> model = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))
        >>> if "tensorrt_rtx" in available_backends():
        ...     settings = EngineSettings(Profile.fixed(1, 32, 32), ("89",), backend="tensorrt_rtx")
        ...     assert build_engine(model, "a.plan", settings).precision == "fp32"
    """
    content, model, where = read_onnx(onnx, fused=True)
    precision = recipe_of(model, where).precision
    settings = settings or EngineSettings()
    profile, backend, capabilities = settings.resolve(config_of(model, where), precision)
    precision = "tf32" if settings.tf32 else precision
    cache = None if settings.timing_cache is None else Path(settings.timing_cache)
    for file in (Path(out_path), *([] if cache is None else [cache])):
        if not file.absolute().parent.is_dir():
            raise InputError(f"cannot write {file}: there is no folder {file.parent}")
    settings = replace(settings, profile=profile, backend=backend, compute_capabilities=capabilities)
    if cache is not None:  # the child uses a copy
        settings = replace(settings, timing_cache=Path(TIMING))
    job = Job(settings, {INPUT: _image_shapes(profile, model)} | noise_shapes(profile, model))
    what = f"cannot build {Path(out_path).name} with {backend}"
    built, plan = run_child(job, _without_defaults(content, model), what, cache, progress)
    _check_types(built, model, precision, backend)
    try:
        with replacing(Path(out_path)) as temporary:
            temporary.write_bytes(plan)
    except OSError as e:
        raise OutputError(f"cannot write {out_path}: {e.strerror or e}") from None
    return EngineRecord(
        file=Path(out_path).name,
        backend=backend,
        version=built["version"],
        compute_capabilities=capabilities,
        precision=precision,
        reproducible=built["reproducible"],
        profile=profile,
        layer_types=built["layer_types"],
        bytes=len(plan),
        seconds=built["seconds"],
        sha256=hashlib.sha256(plan).hexdigest(),
    )


def _image_shapes(profile: Profile, model: onnx.ModelProto) -> list[list[int]]:
    """The profile's three input shapes: channels first, or channels last if the model takes uint8."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    last = len(dims) - 1 if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8 else 1
    shapes = [list(shape) for shape in (profile.min, profile.opt, profile.max)]
    for shape in shapes:
        shape.insert(last, dims[last].dim_value)
    return shapes


def noise_shapes(profile: Profile, model: onnx.ModelProto) -> dict[str, list[list[int]]]:
    """The three shapes (rows, features) of every further input."""
    further = {v.name: v.type.tensor_type.shape.dim[1].dim_value for v in list(model.graph.input)[1:]}
    rows = (1, profile.opt[0], profile.max_hypotheses)
    return {name: [[n, features] for n in rows] for name, features in further.items()}


def _without_defaults(content: bytes, model: onnx.ModelProto) -> bytes:
    """Removes the defaults of the model's inputs: TensorRT would treat them as constants."""
    inputs = {v.name for v in model.graph.input}
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in inputs]
    if not defaults:
        return content
    plain = onnx.ModelProto.FromString(content)
    for tensor in defaults:
        plain.graph.initializer.remove(tensor)
    return plain.SerializeToString(deterministic=True)


def _check_types(built: dict[str, Any], model: onnx.ModelProto, precision: str, backend: str) -> None:
    """Rejects an engine that silently uses another dtype: raises InputError unless all tensors of the built network
    have the dtypes of the model and of the precision."""
    narrow = _NARROW.get(precision)
    types = Counter(built["layer_types"])
    borders, actual = border_types(model), (built["input_type"], built["output_type"])
    if actual != borders:
        raise InputError(f"{backend} built {actual} inputs and outputs, the model has {borders}; no engine was written")
    allowed = ("FLOAT", *((narrow,) if narrow else ()), *(("UINT8",) if "UINT8" in borders else ()))
    if wrong := wrong_types(types, allowed):
        raise InputError(f"{backend} built {wrong} but {precision} was requested; no engine was written")
    if narrow is not None and not types[narrow]:
        raise InputError(f"{backend} built no {narrow} but {precision} was requested; no engine was written")
    for name, expected in value_types(model).items():
        if (actual := built["tensor_types"].get(name, expected)) != expected:
            raise InputError(f"{backend} built {name} in {actual}, the model has {expected}; no engine was written")
    if built["tf32"] != (precision == "tf32"):
        expects_tf32 = precision == "tf32"
        raise InputError(
            f"{backend} built with TF32 {built['tf32']}, but {expects_tf32} was requested; no engine was written"
        )
