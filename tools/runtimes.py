"""Opens a checkpoint or a bundle in the runtime that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

from unet_data.stitch import Run
from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, is_checkpoint

RuntimeName = Literal["jax", "torch", "onnx", "mnn", "mnn-fast", "tensorrt"]
_MNN = ("mnn", "mnn-fast")


class Runtime(Protocol):
    """Images (N, *spatial, C) float32, prepared and on the grid, to logits (N, *spatial, K) float32."""

    @property
    def run(self) -> Run:
        """A method, or a `unet_data.stitch.TwoPhase` where one batch of tiles is copied while another is computed."""
        ...


@dataclass(frozen=True)
class Network:
    """A network that is ready to run.

    Attributes:
        name: of the runtime.
        runtime: what runs it.
        config, data: the network, and how its images are prepared.
    """

    name: str
    runtime: Runtime
    config: NetworkConfig
    data: DataSpec


def open_network(path: Path, name: RuntimeName | None = None) -> Network:
    """A checkpoint or bundle folder as a network.

    A checkpoint runs in "onnx" (the default where it is installed), "torch", "jax", "mnn" (faster on a CPU) or
    "mnn-fast" (less exact); a bundle in "onnx", "mnn", "mnn-fast" or "tensorrt" (the default where a GPU fits one of
    its engines). Raises InputError: neither folder, a runtime that is not installed or cannot run this.
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
            return Network(name, MnnRuntime(bundle.onnx, fast=name == _MNN[1]), bundle.config, bundle.data)
        predictor = load(path, name or "auto")
        return Network(predictor.runtime.name, predictor.runtime, predictor.bundle.config, predictor.bundle.data)
    if name == "tensorrt":
        raise InputError(f"TensorRT runs engines; unet export {path} -o BUNDLE builds them")
    checkpoint = Checkpoint.load(path)
    chosen = name or next((n for n in ("onnx", "torch", "jax") if installed(n)), None)
    if chosen is None:
        raise InputError("no runtime is installed; pip install 'unet-twins[onnx]', or [torch] or [jax]")
    return Network(chosen, open_checkpoint(checkpoint, chosen), checkpoint.config, checkpoint.data)


def installed(name: str) -> bool:
    """Whether the packages of a runtime are there (not whether a GPU is)."""
    needs = {"jax": ("jax", "flax"), "torch": ("torch",), "onnx": ("onnx", "onnxruntime")}
    needs |= dict.fromkeys(_MNN, ("onnx", "MNN"))
    return all(find_spec(package) is not None for package in needs[name])


def open_checkpoint(checkpoint: Checkpoint, name: str) -> Runtime:
    """Runs loaded weights in any runtime but "tensorrt". Raises InputError where that is not installed."""
    if name not in get_args(RuntimeName) or name == "tensorrt":
        raise InputError(f"unknown runtime {name!r} for a checkpoint; there are jax, torch, onnx, mnn and mnn-fast")
    if not installed(name):
        raise InputError(f"the runtime {name} is not installed; pip install 'unet-twins[{name.removesuffix('-fast')}]'")
    if name == "onnx" or name in _MNN:
        from unet_export import MnnRuntime, OnnxRuntime, emit_onnx, onnx_bytes

        content = onnx_bytes(emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data))
        return MnnRuntime(content, fast=name == _MNN[1]) if name in _MNN else OnnxRuntime(content)
    if name == "jax":
        import unet_jax
        from unet_jax.runtime import JaxRuntime

        return JaxRuntime(unet_jax.from_checkpoint(checkpoint))
    import unet_torch
    from unet_torch.runtime import TorchRuntime

    return TorchRuntime(unet_torch.from_checkpoint(checkpoint))


__all__ = ["Network", "Runtime", "RuntimeName", "installed", "is_checkpoint", "open_checkpoint", "open_network"]
