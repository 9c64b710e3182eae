"""Opens a checkpoint or a bundle in a chosen runtime."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from unet_data.inference.network import OpenNetwork, Runtime
from unet_spec import Checkpoint, InputError, is_checkpoint
from unet_spec.weights.check import check_finite

from ..console import notes
from ..conversion.assumed import describe

RuntimeName = Literal["jax", "torch", "onnx", "openvino", "mnn", "mnn-fast", "tensorrt"]
_MNN = ("mnn", "mnn-fast")


def open_network(path: Path, name: RuntimeName | None = None) -> OpenNetwork:
    """Opens a checkpoint or bundle folder.

    A checkpoint runs in "onnx" (the default if installed), "torch", "jax", "openvino", "mnn" or "mnn-fast" (less
    exact). A bundle runs in "onnx", "openvino", "mnn", "mnn-fast" or "tensorrt" (the default if an engine fits this
    machine's GPU).
    Raises InputError if the folder is neither, or if the runtime is not installed or cannot run it.
    """
    from unet_export import is_bundle

    if is_bundle(path):
        if name in ("jax", "torch"):
            raise InputError(
                f"{path} is a bundle: it runs in onnx or tensorrt; give the checkpoint to run it in {name}"
            )
        from unet_export import load

        if name in _MNN:
            from unet_export import MnnRuntime, open_bundle

            bundle = open_bundle(path)
            return OpenNetwork(MnnRuntime(bundle.onnx, fast=name == _MNN[1]), bundle.data, path)
        predictor = load(path, name or "auto")
        if assumed := describe(predictor.bundle.data, str(path)):
            notes.print(assumed)
        return OpenNetwork(predictor.runtime, predictor.bundle.data, path)
    if name == "tensorrt":
        raise InputError(f"TensorRT runs engines; unet export {path} -o BUNDLE builds them")
    checkpoint = said_in_float32(Checkpoint.load(path), path)
    chosen = name or next((n for n in ("onnx", "torch", "jax") if installed(n)), None)
    if chosen is None:
        raise InputError("no runtime is installed; pip install 'unet-twins[onnx]', or [torch] or [jax]")
    return OpenNetwork(open_checkpoint(checkpoint, chosen), checkpoint.data, path)


def reopened(network: OpenNetwork, path: Path, name: RuntimeName) -> OpenNetwork:
    """A network of `open_network` in another runtime; what was printed of it is not printed again. The first one is
    closed. Raises InputError as `open_network`."""
    if (close := getattr(network.runtime, "close", None)) is not None:
        close()
    if is_checkpoint(path):
        return replace(network, runtime=open_checkpoint(in_float32(Checkpoint.load(path)), name))
    from unet_export import MnnRuntime, load, open_bundle

    if name in _MNN:
        return replace(network, runtime=MnnRuntime(open_bundle(path).onnx, fast=name == _MNN[1]))
    if name in ("jax", "torch"):
        raise InputError(f"{path} is a bundle: it runs in onnx, openvino, mnn or tensorrt, not in {name}")
    return replace(network, runtime=load(path, name).runtime)


def said_in_float32(stored: Checkpoint, path: Path) -> Checkpoint:
    """`in_float32`, and prints the assumptions about the checkpoint at `path`, and its dtype."""
    if assumed := describe(stored.data, str(path)):
        notes.print(assumed)
    checkpoint = in_float32(stored)
    if checkpoint is not stored:
        dtypes = ", ".join(sorted({t.dtype.name for t in stored.tensors.values()} - {"float32"}))
        notes.print(f"{path}: its weights are {dtypes}; they are converted to float32, in which every runtime computes")
    return checkpoint


def in_float32(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its weights in float32, the dtype of every runtime; returns float32 checkpoints unchanged."""
    if all(t.dtype == np.float32 for t in checkpoint.tensors.values()):
        return checkpoint
    return replace(checkpoint, tensors={name: t.astype(np.float32) for name, t in checkpoint.tensors.items()})


def installed(name: str) -> bool:
    """Whether the packages of a runtime are installed. It does not check for a GPU."""
    needs = {"jax": ("jax", "flax"), "torch": ("torch",), "onnx": ("onnx", "onnxruntime")}
    needs |= {"openvino": ("onnx", "openvino"), **dict.fromkeys(_MNN, ("onnx", "MNN"))}
    return all(find_spec(package) is not None for package in needs[name])


def open_checkpoint(checkpoint: Checkpoint, name: str) -> Runtime:
    """Opens loaded weights in any runtime except "tensorrt". Raises InputError if it is not installed or a weight is
    not finite."""
    allowed = ", ".join(each for each in get_args(RuntimeName) if each != "tensorrt")
    if name not in allowed.split(", "):
        raise InputError(f"unknown runtime {name!r} for a checkpoint; allowed: {allowed}")
    if not installed(name):
        raise InputError(f"the runtime {name} is not installed; pip install 'unet-twins[{name.removesuffix('-fast')}]'")
    check_finite(checkpoint.tensors, f"cannot run the network in {name}")
    if name in ("onnx", "openvino", *_MNN):
        from unet_export import MnnRuntime, OnnxRuntime, OpenVinoRuntime, emit_onnx, onnx_bytes

        content = onnx_bytes(emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data))
        if name == "openvino":
            return OpenVinoRuntime(content)
        return MnnRuntime(content, fast=name == _MNN[1]) if name in _MNN else OnnxRuntime(content)
    if name == "jax":
        import unet_jax
        from unet_jax.runtime import JaxRuntime

        return JaxRuntime(unet_jax.from_checkpoint(checkpoint))
    import unet_torch
    from unet_torch.runtime import TorchRuntime

    return TorchRuntime(unet_torch.from_checkpoint(checkpoint))


__all__ = [
    "OpenNetwork",
    "Runtime",
    "RuntimeName",
    "in_float32",
    "installed",
    "is_checkpoint",
    "open_checkpoint",
    "open_network",
]
