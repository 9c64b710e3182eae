"""The check of fused models."""

import numpy as np
import pytest

from unet_spec import Checkpoint, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, onnx_bytes, write_bundle
from unet_tools.checking.fused import fused_finding

from ...fixtures.export_cases import CONFIG, DATA


def point(config=CONFIG) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 2), DATA)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("steps", [("normalize", "softmax"), ("normalize", "argmax"), ("normalize",)], ids="+".join)
def test_the_check_runs_the_fused_model_and_sees_what_is_wrong_in_it(steps, channels, tmp_path):
    bundle = write_bundle(
        point(CONFIG.replace(out_channels=channels)), tmp_path / "b", BundleSettings(engines=False, fused_steps=steps)
    )
    finding = fused_finding(bundle)
    assert finding is not None
    assert finding.ok, finding
    assert (finding.bound is None) == ("argmax" in steps)
    path = bundle.folder / bundle.manifest["baked"]["file"]
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "prepared.mean":
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.1), tensor.name)
            )
    path.write_bytes(onnx_bytes(model))
    broken = fused_finding(bundle)
    assert broken is not None
    assert broken.ok is False


def test_a_fused_model_of_bytes_is_not_compared_on_an_image_of_other_values(tmp_path):
    image = np.random.default_rng(0).random((33, 29, 3)).astype(np.float32)
    bundle = write_bundle(
        point(), tmp_path / "b", BundleSettings(engines=False, fused_steps=("normalize",)), golden_image=image
    )
    finding = fused_finding(bundle)
    assert finding is not None
    assert (finding.ok, finding.note) == (None, "its input is uint8, the golden image is float32")
