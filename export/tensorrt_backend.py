"""Building engines: one module for `tensorrt` (10, 11) and `tensorrt_rtx`, whose interfaces are nearly the same.

What differs: TensorRT for RTX builds on a machine without a GPU, for the compute capabilities that it is told;
TensorRT builds on the GPU, for that GPU. Both are given strongly typed networks, so the precision is the ONNX model's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections import Counter
from pathlib import Path
from typing import Any

import onnx

from unet_spec import InputError
from unet_spec.checkpoint import replacing

from .engine_record import EngineRecord
from .onnx_check import border_types, config_of, read_onnx, recipe_of, value_types
from .onnx_ops import INPUT
from .precision import LEAST_CAPABILITY, capabilities_for
from .tensorrt_build import wrong_types
from .tensorrt_child import Progress, run_child
from .tensorrt_profile import Profile

BACKENDS = ("tensorrt_rtx", "tensorrt")
RTX_CAPABILITIES = ("75", "80", "86", "89", "120", "121")
"""What TensorRT for RTX builds for: Turing to Blackwell, without Hopper (90). There 1.7.1 builds an engine and refuses
to load it ("does not support this compute capability", seen on an H200)."""
DEFAULT_CAPABILITIES = ("80", "86", "89", "120", "121")
"""Without Turing: it lacks what all the others have, and an engine for several must do with what all have."""

_NARROW = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}


def available_backends() -> tuple[str, ...]:
    """Those of BACKENDS that are installed. Nothing is imported."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def build_engine(
    onnx: bytes | str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    profile: Profile,
    backend: str | None = None,
    compute_capabilities: tuple[str, ...] | None = None,
    workspace: int | None = None,
    tf32: bool = False,
    timing_cache: str | os.PathLike[str] | None = None,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    progress: Progress | None = None,
) -> EngineRecord:
    """Builds an engine from a model of `emit_onnx`, in a process of its own, and writes it: wholly or not at all.

    The precision is the model's; `tf32` makes a float32 model's products tf32. backend: None takes the first of
    BACKENDS that is installed. compute_capabilities: tensorrt_rtx only; None takes those of DEFAULT_CAPABILITIES that
    have the precision. workspace: bytes that a kernel may use; None leaves it to the builder. timing_cache: a file of
    measured kernels, used if it is there, and updated. version_compatible (runs in later versions too),
    hardware_compatible (on every GPU since Ampere): `tensorrt` only. progress: called with (phase, step, steps).

    The dtypes of the parsed, strongly typed network are read back, tensor by tensor, and must be the model's. That the
    engine loads and gives the right numbers cannot be shown without a GPU of the right kind. Ctrl-C ends the build.

    Raises InputError: a model that does not check, a profile off the network's grid, a backend that is not installed, a
    capability that it does not know or whose hardware lacks the precision, a tensor of another dtype, any error of the
    builder, and a crash of it.
    """
    content, model, where = read_onnx(onnx, baked=True)
    profile.check(config_of(model, where))
    precision = recipe_of(model, where).precision
    if tf32 and precision != "fp32":
        raise InputError(f"tf32 is a way to multiply float32; {where} is {precision}")
    precision = "tf32" if tf32 else precision
    backend = _backend(backend)
    capabilities = _capabilities(backend, compute_capabilities, precision)
    check_compatibility(backend, version_compatible, hardware_compatible)
    if not Path(out_path).absolute().parent.is_dir():
        raise InputError(f"cannot write {out_path}: there is no folder {Path(out_path).parent}")
    if timing_cache is not None and not Path(timing_cache).absolute().parent.is_dir():
        raise InputError(f"cannot write {timing_cache}: there is no folder {Path(timing_cache).parent}")
    if workspace is not None and workspace < 1:
        raise InputError(f"workspace is {workspace} bytes; it must be at least 1")
    job = {
        "backend": backend,
        "shapes": {INPUT: _shapes(profile, model)} | _noise_shapes(profile, model),
        "compute_capabilities": capabilities,
        "workspace": workspace,
        "tf32": tf32,
        "timing_cache": timing_cache is not None,
        "version_compatible": version_compatible,
        "hardware_compatible": hardware_compatible,
    }
    what = f"cannot build {Path(out_path).name} with {backend}"
    built, plan = run_child(
        job, _without_defaults(content, model), what, Path(timing_cache) if timing_cache else None, progress
    )
    _check_types(built, model, precision, backend)
    try:
        with replacing(Path(out_path)) as temporary:
            temporary.write_bytes(plan)
    except OSError as e:
        raise InputError(f"cannot write {out_path}: {e.strerror or e}") from None
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


def _shapes(profile: Profile, model: onnx.ModelProto) -> list[list[int]]:
    """The profile's least, usual and largest input as the model has it: channels first, or last where bytes come in."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    last = len(dims) - 1 if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8 else 1
    shapes = [list(shape) for shape in (profile.min, profile.opt, profile.max)]
    for shape in shapes:
        shape.insert(last, dims[last].dim_value)
    return shapes


def most_hypotheses(profile: Profile) -> int:
    """Rows of noise that an engine takes, where a network has a latent variable: 16 where it is for one image at a time
    (latency), else as many as images, since the ends of a profile must fit each other."""
    return 16 if profile.max[0] == 1 else profile.max[0]


def _noise_shapes(profile: Profile, model: onnx.ModelProto) -> dict[str, list[list[int]]]:
    """The same for every further input, (rows, features)."""
    further = {v.name: v.type.tensor_type.shape.dim[1].dim_value for v in list(model.graph.input)[1:]}
    rows = (1, profile.opt[0], most_hypotheses(profile))
    return {name: [[n, features] for n in rows] for name, features in further.items()}


def _without_defaults(content: bytes, model: onnx.ModelProto) -> bytes:
    """The model with every input to be given: TensorRT has no inputs with defaults, and would compute with those."""
    inputs = {v.name for v in model.graph.input}
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in inputs]
    if not defaults:
        return content
    plain = onnx.ModelProto.FromString(content)
    for tensor in defaults:
        plain.graph.initializer.remove(tensor)
    return plain.SerializeToString(deterministic=True)


def _check_types(built: dict[str, Any], model: onnx.ModelProto, precision: str, backend: str) -> None:
    """Raises InputError unless the network that was built has the dtypes of the model, tensor by tensor, and with that
    those that the precision is about: an engine that is float32 in name of something else must not pass."""
    narrow = _NARROW.get(precision)
    types = Counter(built["layer_types"])
    borders, found = border_types(model), (built["input_type"], built["output_type"])
    if found != borders:
        raise InputError(f"{backend} built {found} at the border, the model has {borders}; no engine was written")
    allowed = ("FLOAT", *((narrow,) if narrow else ()), *(("UINT8",) if "UINT8" in borders else ()))
    if wrong := wrong_types(types, allowed):
        raise InputError(f"{backend} built {wrong} where {precision} was asked; no engine was written")
    if narrow is not None and not types[narrow]:
        raise InputError(f"{backend} built no {narrow} where {precision} was asked; no engine was written")
    for name, wanted in value_types(model).items():
        if (found := built["tensor_types"].get(name, wanted)) != wanted:
            raise InputError(f"{backend} built {name} in {found}, the model has {wanted}; no engine was written")
    if built["tf32"] != (precision == "tf32"):
        asked = precision == "tf32"
        raise InputError(f"{backend} built with TF32 {built['tf32']}, asked was {asked}; no engine was written")


def _backend(name: str | None) -> str:
    available = available_backends()
    if name is None:
        if not available:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]'")
        return available[0]
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
    if name not in available:
        raise InputError(f"{name} is not installed; pip install 'unet-twins[{name.replace('_', '-')}]'")
    return name


def _capabilities(backend: str, wanted: tuple[str, ...] | None, precision: str) -> tuple[str, ...]:
    if backend != "tensorrt_rtx":
        if wanted:
            raise InputError(f"{backend} builds for the GPU at hand; compute capabilities are for tensorrt_rtx only")
        return ()
    if wanted is None:
        return capabilities_for(precision, DEFAULT_CAPABILITIES)
    check_capabilities(wanted, precision)
    return tuple(sorted(set(wanted), key=int))


def check_capabilities(wanted: tuple[str, ...], precision: str) -> None:
    """Raises InputError unless TensorRT for RTX builds for all of `wanted`, and their hardware has the precision."""
    if not wanted or (unknown := [c for c in wanted if c not in RTX_CAPABILITIES]):
        what = f"unknown compute capabilities {unknown}" if wanted else "no compute capability given"
        raise InputError(f"{what}; TensorRT for RTX builds for {', '.join(RTX_CAPABILITIES)}")
    if lacking := [c for c in wanted if c not in capabilities_for(precision, tuple(wanted))]:
        raise InputError(
            f"compute capability {', '.join(lacking)} has no {precision}: its hardware begins with"
            f" {LEAST_CAPABILITY[precision]}"
        )


def check_compatibility(backend: str, version: bool, hardware: bool) -> None:
    """Raises InputError where the backend has no version-compatible or hardware-compatible engines."""
    if backend != "tensorrt_rtx":
        return
    if version:
        raise InputError("tensorrt_rtx builds no version-compatible engines: they need a lean runtime, which it lacks")
    if hardware:
        raise InputError("tensorrt_rtx has no hardware-compatible level; name several compute capabilities instead")
