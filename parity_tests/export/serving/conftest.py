"""Triton's description of configurations."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def protobuf():
    """tritonclient's model_config_pb2 without its gRPC client, which needs an older protobuf."""
    spec = importlib.util.find_spec("tritonclient")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("tritonclient is not installed; pip install tritonclient")
    path = Path(spec.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    found = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
