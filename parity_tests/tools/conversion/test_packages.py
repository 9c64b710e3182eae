"""The package of each source builds its network; NumPy, JAX, PyTorch and ONNX give the same output with the imported
weights.

Needs an interpreter with the packages, in UNET_SOURCES_PYTHON; docs/sources.md describes how to create it.
"""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import unet_jax
import unet_torch
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_jax.runtime import JaxRuntime
from unet_spec import Checkpoint
from unet_spec.sources import Origin
from unet_tools.cli import main
from unet_tools.conversion.tensor_files import read_files
from unet_torch.runtime import TorchRuntime

from ... import FIXTURES
from ...fixtures.sources.recorded import RECORDED

INTERPRETER = os.environ.get("UNET_SOURCES_PYTHON")
BUILD = FIXTURES / "sources" / "build.py"
SINGLE, DOUBLE = 1e-5, 1e-12
LARGE = {"smp_resnet50"}  # takes minutes in ONNX's Python evaluator
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INTERPRETER, reason="UNET_SOURCES_PYTHON names no interpreter that has the packages"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a folder for each case."""
    folder = tmp_path_factory.mktemp("sources") / "cases"
    only = os.environ.get("UNET_SOURCES_CASES", "").split() or list(RECORDED)
    run(BUILD, folder, *only)
    return folder


def run(script, *arguments):
    command = [INTERPRETER, str(script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def original(folder):
    """The file or folder that the package wrote, and the file with the tensors of the network of the outputs."""
    if (folder / "model").is_dir():
        return folder / "model", folder / "model" / "fold_0" / "checkpoint_final.pth"
    found = next(folder.glob("checkpoint.*"))
    return found, found


def in_float32(config):
    """The config with the constants that ONNX keeps as float32 attributes, whatever a model's dtype."""
    names = [name for name in ("norm_eps", "slope") if name in config.to_dict()]
    return config.replace(**{name: float(np.float32(getattr(config, name))) for name in names})


def relative(found, wanted):
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_package_and_ours(name, built, tmp_path):
    if not (built / name).is_dir():
        pytest.skip("not among UNET_SOURCES_CASES")
    whole, file = original(built / name)
    assert main(["convert", str(whole), str(tmp_path / "ours")]) == 0
    ours = Checkpoint.load(tmp_path / "ours" / "fold_0" if whole.is_dir() else tmp_path / "ours")
    x, single, double = (np.load(built / name / f"{key}.npy") for key in ("input", "float32", "float64"))

    def finished(logits):
        return 1 / (1 + np.exp(-logits)) if name.startswith("keras") else logits

    wide = Checkpoint(ours.config, {key: t.astype(np.float64) for key, t in ours.tensors.items()}, ours.data)
    errors = {
        "numpy float64": relative(finished(ours.config.graph.forward(wide.tensors, x)), double),
        "jax float64": relative(finished(JaxRuntime(unet_jax.from_checkpoint(wide)).run(x)), double),
        "torch float64": relative(finished(TorchRuntime(unet_torch.from_checkpoint(wide)).run(x)), double),
        "jax float32": relative(finished(JaxRuntime(unet_jax.from_checkpoint(ours)).run(x.astype(np.float32))), single),
        "torch float32": relative(
            finished(TorchRuntime(unet_torch.from_checkpoint(ours)).run(x.astype(np.float32))), single
        ),
        "onnxruntime float32": relative(
            finished(OnnxRuntime(onnx_bytes(emit_onnx(ours.config, ours.tensors))).run(x.astype(np.float32))), single
        ),
    }
    if name not in LARGE:  # ONNX Runtime has no float64 convolution on a CPU, but ONNX's evaluator has
        model = emit_onnx(ours.config, wide.tensors, dtype=np.float64)
        logits = ReferenceEvaluator(model).run(None, {"image": np.moveaxis(x, -1, 1).copy()})[0]
        wanted = in_float32(ours.config).graph.forward(wide.tensors, x)
        errors["onnx evaluator float64"] = relative(np.moveaxis(logits, 1, -1), wanted)
    print(f"\n{name}: " + ", ".join(f"{key} {value:.1e}" for key, value in errors.items()))
    for key, value in errors.items():
        assert value < (DOUBLE if "float64" in key else SINGLE), (key, value)

    origin = Origin.load(tmp_path / "ours" / "fold_0" if whole.is_dir() else tmp_path / "ours")
    assert origin is not None
    back = tmp_path / f"back{'' if whole.is_dir() else whole.suffix}"
    assert main(["convert", str(tmp_path / "ours"), str(back), "--to", origin.source]) == 0
    theirs = read_files(file).tensors
    again = read_files(back / "fold_0" / file.name if whole.is_dir() else back).tensors
    assert set(again) == set(theirs)
    assert all(t.dtype == again[key].dtype and t.tobytes() == again[key].tobytes() for key, t in theirs.items())
    run(BUILD, "--load", name, back, built / name)  # the package loads it and gives its own output, bit for bit


def test_what_is_recorded_is_what_the_packages_give(built):
    """recorded.json is the script's output: names, shapes, and float64 outputs within rounding."""
    fresh = json.loads((built / "recorded.json").read_text())
    for name, printed in fresh.items():
        kept = RECORDED[name]
        assert {k: v for k, v in printed.items() if k != "sample"} == {k: v for k, v in kept.items() if k != "sample"}
        np.testing.assert_allclose(printed["sample"], kept["sample"], rtol=1e-9, atol=1e-12)
