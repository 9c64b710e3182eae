"""The shapes in the signatures of unet_export are right: its runtimes run in a process where beartype checks every
call."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from .. import NO_BYTECODE

for needed in ("onnxruntime", "jaxtyping", "beartype"):
    pytest.importorskip(needed, reason=f"{needed} is not installed; pip install 'unet-twins[onnx,test]'")

CODE = """
import importlib, pkgutil, typing
import beartype, google.protobuf.message, jaxtyping, jsonschema, onnx, onnxruntime
import numpy as np
from unet_data.inference import predict, stitch
from unet_spec import Checkpoint, preset, random_tensors

typing.TYPE_CHECKING = True  # the names of jaxtyping are imported for type checkers alone
with jaxtyping.install_import_hook("unet_export", "beartype.beartype"):
    import unet_export
    for module in pkgutil.walk_packages(unet_export.__path__, "unet_export."):
        importlib.import_module(module.name)
typing.TYPE_CHECKING = False
from unet_export import FLOAT32_BOUND, BundleSettings, Distance, MnnRuntime, load, reference, write_bundle

config = preset("paper", widths=(4, 8), in_channels=3, out_channels=4)
point = Checkpoint(config, random_tensors(config.graph, 0))
settings = BundleSettings(("fp16", "int8", "fp32"), engines=False, fused_steps=("normalize", "argmax"))
images = [np.random.default_rng(seed).integers(0, 256, (40, 52, 3)).astype(np.uint8) for seed in range(2)]
predictor = load(write_bundle(point, "bundle", settings, calibration=images))
assert predictor(np.zeros((2, 40, 52, 3), np.uint8)).shape == (2, 40, 52, 4)
x = np.random.default_rng(0).normal(size=(2, 20, 24, 3)).astype(np.float32)
expected = reference.reference_logits(point, x)
runtimes = [predictor.runtime]
if {mnn}:
    runtimes.append(MnnRuntime(predictor.bundle.onnx))
for runtime in runtimes:
    assert Distance.between(runtime.run(x), expected).worst_relative < FLOAT32_BOUND
wrong = (
    lambda: Distance.between(expected, expected[1:]),
    lambda: predictor.runtime.run(x.astype(np.float64)),
    lambda: reference.reference_logits(point, x.astype(np.int32)),
)
for call in wrong:
    try:
        call()
    except jaxtyping.TypeCheckError:
        continue
    raise AssertionError("a wrong shape or dtype was not noticed")
"""


@pytest.mark.slow
def test_runtimes_keep_the_shapes_of_their_signatures(tmp_path):
    code = CODE.format(mnn=find_spec("MNN") is not None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ | NO_BYTECODE
    )
    assert done.returncode == 0, done.stderr[-3000:]
