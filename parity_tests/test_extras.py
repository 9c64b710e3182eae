"""The extras that messages name can be installed."""

import re
import tomllib

import pytest

from . import ROOT

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")


def test_extras_that_messages_name_can_be_installed():
    root = ROOT
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "export", "tools", "docs")
    files = [path for name in folders for path in (root / name).rglob("*") if path.suffix in (".py", ".md")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    named = {extra for found in re.findall(r"unet-twins\[([a-z,-]+)\]", text) for extra in found.split(",")}
    assert {"onnx", "openvino", "tensorrt-rtx"} <= named <= set(project["optional-dependencies"])
