"""Writes a network to a single float32 file, for programs that do not need a bundle:

.onnx         the emitter's own: batch size, height and width are free
.torch.onnx   torch.onnx.export of the PyTorch twin
.pt2          torch.export of the PyTorch twin
.stablehlo    jax.export of the JAX twin: serialised StableHLO for CPU, CUDA and TPU

Traced files have a dynamic batch size and the height and width of the trace.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import Checkpoint, InputError
from unet_spec.files import first_line, writing


def kind_of(path: Path) -> str | None:
    """The kind of file for a name; None: the folder of a bundle."""
    return next((kind for kind in _WRITERS if path.name.endswith(kind)), None)


def write_framework_file(
    checkpoint: Checkpoint, path: Path, size: tuple[int, ...], opset: int | None = None, fixed: bool = False
) -> float:
    """Writes the file, loads it again and runs it. Returns the distance from the float64 reference, relative to its
    largest logit. The input is float32 and normalised: (N, *size, C) for .stablehlo, (N, C, *size) for the others.

    Only for .onnx: `opset` for older runtimes (None: the emitter's), and `fixed` for a single image of `size`.

    Raises InputError for another name, a size off the grid, or a missing package.
    """
    kind = kind_of(path)
    if kind is None:
        raise InputError(f"cannot write {path}: give a file name with {', '.join(_WRITERS)}, or a folder for a bundle")
    packages, write = _WRITERS[kind]
    if missing := [name for name in packages if find_spec(name) is None]:
        raise InputError(f"{kind} needs {missing[0]}, which is not installed; pip install {missing[0]}")
    checkpoint.config.geometry.check(size)
    images = 1 if fixed else 2
    x = np.random.default_rng(0).normal(size=(images, *size, checkpoint.config.in_channels)).astype(np.float32)
    with writing(path) as temporary:
        if opset is None and not fixed:
            logits = write(checkpoint, temporary, x)
        elif kind == ".onnx":
            logits = _old_onnx(checkpoint, temporary, x, opset, fixed)
        else:
            raise InputError(f"--opset and --size are for .onnx, the emitter's own; {path.name} has its exporter's")
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    reference = checkpoint.config.graph.forward(double, x.astype(np.float64))
    return float(np.abs(logits - reference).max() / np.abs(reference).max())


def _onnx(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    from unet_export import OnnxRuntime, emit_onnx, save_onnx

    save_onnx(emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data), path)
    return OnnxRuntime(path).run(x)


def _old_onnx(checkpoint: Checkpoint, path: Path, x: np.ndarray, opset: int | None, fixed: bool) -> np.ndarray:
    """Like `_onnx`, converted to an older opset by ONNX's converter, or with fixed sizes."""
    import onnx

    from unet_export import emit_onnx
    from unet_export.onnx.emitter import IR_VERSION
    from unet_export.runtimes.onnx_runtime import open_session, run_session

    model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data)
    if opset is not None:
        model = _in_opset(model, opset)
        model.ir_version = min(IR_VERSION, onnx.helper.find_min_ir_version_for(model.opset_import, True))
    if fixed:
        output = checkpoint.config.geometry.output_shape(x.shape[1:-1])
        for value, sizes in ((model.graph.input[0], x.shape[1:-1]), (model.graph.output[0], output)):
            for place, number in zip(value.type.tensor_type.shape.dim, (1, None, *sizes), strict=True):
                if number is not None:
                    place.dim_value = number
        del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    image = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    (logits,) = run_session(open_session(path.read_bytes(), "fp32", path.name), ["logits"], {"image": image})
    return np.moveaxis(logits, 1, -1)


def _in_opset(model: Any, opset: int) -> Any:
    """The model in another opset. Raises InputError with the oldest one that is possible."""
    from onnx.version_converter import convert_version

    from unet_export.onnx.emitter import OPSET

    reason = ""
    for possible in range(opset, max(opset, OPSET) + 1):
        try:
            converted = convert_version(model, possible)
        except Exception as e:  # C++ errors of many kinds
            reason = reason or first_line(e)
            continue
        if possible == opset:
            return converted
        raise InputError(f"this network cannot be written in ONNX opset {opset}; the oldest possible is {possible}")
    raise InputError(f"this network cannot be written in ONNX opset {opset}: {reason}")


def _torch_onnx(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    import torch
    from onnx import ModelProto

    from unet_export.runtimes.onnx_runtime import open_session, run_session
    from unet_torch import from_checkpoint

    image = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            from_checkpoint(checkpoint).eval(),
            (torch.from_numpy(image),),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
        )
    assert program is not None
    content = _without_places(ModelProto.FromString(program.model_proto.SerializeToString()))
    path.write_bytes(content)
    (logits,) = run_session(open_session(content, "fp32", path.name), ["logits"], {"image": image})
    return np.moveaxis(logits, 1, -1)


def _without_places(model) -> bytes:
    """Removes the exporter's source locations of nodes, which contain paths of this machine."""
    for part in (model.graph, *model.functions):
        for item in (part, *part.node, *part.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    return model.SerializeToString(deterministic=True)


def _torch(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    import torch

    from unet_torch import from_checkpoint

    image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(from_checkpoint(checkpoint), (image,), dynamic_shapes=shapes)
    content = io.BytesIO()  # torch's errors on a full disk are unclear
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())
    with torch.inference_mode():
        return np.moveaxis(torch.export.load(path).module()(image).numpy(), 1, -1)


def _jax(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    import jax
    import jax.export
    from flax import nnx

    from unet_jax import from_checkpoint

    model = from_checkpoint(checkpoint)
    model.eval()
    graph, state = nnx.split(model)

    def forward(image: jax.Array) -> jax.Array:
        return nnx.merge(graph, state)(image)

    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), np.float32)
    path.write_bytes(jax.export.export(jax.jit(forward), platforms=("cpu", "cuda", "tpu"))(shape).serialize())
    loaded = jax.export.deserialize(bytearray(path.read_bytes()))
    return np.asarray(loaded.call(x))


_WRITERS: dict[str, tuple[tuple[str, ...], Callable[[Checkpoint, Path, np.ndarray], np.ndarray]]] = {
    ".torch.onnx": (("torch", "onnx", "onnxscript", "onnxruntime"), _torch_onnx),
    ".onnx": (("onnx", "onnxruntime"), _onnx),
    ".pt2": (("torch",), _torch),
    ".stablehlo": (("jax", "flax"), _jax),
}
"""By file name ending: the required packages, and the function that writes the file and runs it on images (N, *spatial,
C)."""
