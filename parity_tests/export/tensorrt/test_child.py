"""Crashes of the process that builds an engine."""

import sys

import pytest

from unet_spec import InputError

from ...fixtures.export_cases import RTX

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export import EngineSettings, build_engine
from unet_export.tensorrt import child as tensorrt_child

from .tiny import PROFILE, model_bytes


@RTX
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            r"crashed \(SIGSEGV\); last line: it printed nothing",
        ),
        ("import sys; sys.exit('out of memory')", "ended with exit code 1; last line: out of memory"),
        ("pass", "ended with exit code 0"),
    ],
)
def test_a_crash_of_the_builder_becomes_a_message(code, message, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_child, "_CHILD", (sys.executable, "-c", code))
    with pytest.raises(InputError, match=message) as caught:
        build_engine(model_bytes(), tmp_path / "a.plan", EngineSettings(PROFILE))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
