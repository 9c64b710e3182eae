"""A checkpoint for tests of refusals, and the printed line."""

import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export.tensorrt.settings import available_backends
from unet_tools.cli import main

CONFIG = PRESETS["paper"].replace(widths=(4, 8))
RTX = "tensorrt_rtx" in available_backends()


def point(**changes) -> Checkpoint:
    tensors = random_tensors(CONFIG.graph, 2)
    for name, value in changes.items():
        tensors[name.replace("__", ".")].ravel()[0] = value
    return Checkpoint(CONFIG, tensors, DataSpec((0.5,), (0.2,), ("a", "b")))


def refused(capsys, *arguments, code: int = 2) -> str:
    """Runs the command line and checks its exit code; returns its only line on standard error."""
    capsys.readouterr()
    actual = main([str(a) for a in arguments])
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert actual == code, (actual, printed)
    assert len(lines) == 1, lines
    assert lines[0].startswith("unet: ")
    assert "Traceback" not in printed.err
    assert not printed.out.strip()
    return lines[0]
