"""A stand-in for the module that Triton's Python backend gives to its models, as far as they use it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class Tensor:
    def __init__(self, name, values):
        self.name, self.values = name, values

    def as_numpy(self):
        return self.values


class Response:
    def __init__(self, output_tensors=(), error=None):
        self.outputs, self.printed = {t.name: t for t in output_tensors}, error

    def has_error(self):
        return self.printed is not None

    def error(self):
        return self.printed


class Error:
    def __init__(self, message):
        self.text = message

    def message(self):
        return self.text


def stand_in(monkeypatch, **more: Any) -> None:
    """Makes `triton_python_backend_utils` importable; more: what else it has."""
    utils = ModuleType("triton_python_backend_utils")
    vars(utils).update(
        Tensor=Tensor,
        InferenceResponse=Response,
        TritonError=Error,
        PreferredMemory=lambda kind, device: None,
        TRITONSERVER_MEMORY_CPU=0,
        get_input_tensor_by_name=lambda request, name: request.inputs[name],
        get_output_tensor_by_name=lambda response, name: response.outputs[name],
        **more,
    )
    monkeypatch.setitem(sys.modules, utils.__name__, utils)


def load_model(repository: Path, name: str) -> Any:
    """The model of a repository, from the file from which Triton loads it."""
    spec = importlib.util.spec_from_file_location("model", repository / name / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_name": name})
    return model
