"""ONNX, TensorRT, the bundle that is deployed, and the runtimes that run it. Needs neither JAX nor PyTorch.

Importing this imports none of onnx, onnxruntime and TensorRT: each name below is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from .bundle import write_bundle
    from .bundle_engines import EngineSettings
    from .describe import default_tile
    from .engine_record import EngineRecord
    from .manifest import Bundle, is_bundle, open_bundle, read_manifest
    from .mnn_runtime import MnnRuntime
    from .onnx_check import read_onnx
    from .onnx_emitter import emit_onnx, onnx_bytes, save_onnx
    from .onnx_runtime import OnnxRuntime
    from .parity import Distance
    from .precision import PRECISIONS, Recipe
    from .runtime import Predictor, load
    from .simulation import simulate
    from .tensorrt_backend import available_backends, build_engine
    from .tensorrt_profile import Profile
    from .tensorrt_runtime import TensorRTRuntime, load_engine

_HOME = {
    "bundle": ("write_bundle",),
    "bundle_engines": ("EngineSettings",),
    "describe": ("default_tile",),
    "engine_record": ("EngineRecord",),
    "manifest": ("Bundle", "is_bundle", "open_bundle", "read_manifest"),
    "mnn_runtime": ("MnnRuntime",),
    "onnx_check": ("read_onnx",),
    "onnx_emitter": ("emit_onnx", "onnx_bytes", "save_onnx"),
    "onnx_runtime": ("OnnxRuntime",),
    "parity": ("Distance",),
    "precision": ("PRECISIONS", "Recipe"),
    "runtime": ("Predictor", "load"),
    "simulation": ("simulate",),
    "tensorrt_backend": ("available_backends", "build_engine"),
    "tensorrt_profile": ("Profile",),
    "tensorrt_runtime": ("TensorRTRuntime", "load_engine"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "PRECISIONS",
    "Bundle",
    "Distance",
    "EngineRecord",
    "EngineSettings",
    "MnnRuntime",
    "OnnxRuntime",
    "Predictor",
    "Profile",
    "Recipe",
    "TensorRTRuntime",
    "available_backends",
    "build_engine",
    "default_tile",
    "emit_onnx",
    "is_bundle",
    "load",
    "load_engine",
    "onnx_bytes",
    "open_bundle",
    "read_manifest",
    "read_onnx",
    "save_onnx",
    "simulate",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'unet_export' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"unet_export.{_MODULE[name]}"), name)
    except ModuleNotFoundError as e:
        if e.name is not None and e.name.split(".")[0] in ("onnx", "onnxruntime", "google", "jsonschema"):
            raise InputError(f"{name} needs {e.name}; pip install 'unet-twins[onnx]'") from None
        raise
