"""Crashes of the process that builds an engine."""

import os
import sys

import pytest

from unet_spec import InputError

from ...fixtures.export_cases import RTX

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export import EngineSettings, build_engine
from unet_export.tensorrt import child as tensorrt_child
from unet_export.tensorrt.child import run_child
from unet_export.tensorrt.settings import Job

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


JOB = Job(EngineSettings(PROFILE, ("89",), backend="tensorrt_rtx"), {"image": [[1, 1, 20, 20]] * 3})
PROGRAM = """
import json, os, sys
from pathlib import Path
job = json.loads(sys.stdin.read())
print("a note")
print(json.dumps(["Building engine", 2, 5]), flush=True)
timing = Path("timing.cache")
result = {"model": Path("model.onnx").read_text(), "shapes": job["shapes"], "seed": os.environ["PYTHONHASHSEED"],
          "path": os.environ["PYTHONPATH"], "timing": timing.read_text() if timing.is_file() else None}
Path("engine.plan").write_bytes(b"plan")
timing.write_text("new timings")
Path("result.json").write_text(json.dumps(result))
"""


def test_the_child_gets_its_job_and_its_files_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_child, "_CHILD", (sys.executable, "-S", "-c", PROGRAM))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["here", "", "/there"]))
    monkeypatch.chdir(tmp_path)
    steps, cache = [], tmp_path / "timings"
    result, plan = run_child(JOB, b"the model", "what", cache, lambda *step: steps.append(step))
    assert plan == b"plan"
    assert steps == [("Building engine", 2, 5)]
    assert result == {
        "model": "the model", "shapes": JOB.shapes, "seed": "0", "timing": None,
        "path": os.pathsep.join([str(tmp_path / "here"), "/there"]),
    }  # fmt: skip
    assert cache.read_text() == "new timings"
    cache.write_text("old timings")
    assert run_child(JOB, b"", "what", cache)[0]["timing"] == "old timings"
    assert cache.read_text() == "new timings"
    assert run_child(JOB, b"", "what")[0]["timing"] is None
    assert {p.name for p in tmp_path.iterdir()} == {"timings"}


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("open('result.json', 'w').write('{\"error\": \"no memory\"}')", "^what: no memory$"),
        ("import sys; open('result.json', 'w').write('{}'); sys.exit(3)", "^what: .* ended with exit code 3; last"),
        (
            "import sys; sys.exit('first\\nlast')",
            "^what: the builder's process ended with exit code 1; last line: last$",
        ),
    ],
)
def test_an_error_of_the_child_is_one_line(program, message, monkeypatch):
    monkeypatch.setattr(tensorrt_child, "_CHILD", (sys.executable, "-S", "-c", program))
    with pytest.raises(InputError, match=message):
        run_child(JOB, b"", "what")


def test_the_builder_is_a_module_that_never_imports_from_the_current_folder():
    assert list(tensorrt_child._CHILD) == [sys.executable, "-P", "-m", "unet_export.tensorrt.builder"]
    assert [tensorrt_child._ending(code) for code in (-11, -99, 0, 2)] == [
        "crashed (SIGSEGV)", "crashed (signal 99)", "ended with exit code 0", "ended with exit code 2"
    ]  # fmt: skip
