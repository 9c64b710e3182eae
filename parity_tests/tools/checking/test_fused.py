"""The check of fused models."""

import numpy as np
import pytest

from unet_spec import Checkpoint, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, onnx_bytes, write_bundle
from unet_tools.checking.fused import _as_reference, _overlapping, fused_finding

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


LOGITS = np.random.default_rng(1).normal(size=(1, 2, 3, 3))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def same(found, *expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_an_output_is_compared_with_what_its_steps_make_of_the_reference():
    labels, given = LOGITS.argmax(-1), np.random.default_rng(2).normal(size=(1, 3, 2, 3))
    last = np.moveaxis(given, 1, -1)
    same(_as_reference(given, LOGITS, ["normalize"]), last, LOGITS, last.argmax(-1))
    same(_as_reference(last, LOGITS, ["softmax"]), last, SOFTMAX, last.argmax(-1))
    same(_as_reference(1 - labels, LOGITS, ["argmax"]), 1 - labels, labels, 1 - labels)
    one = np.array([[[[0.4], [0.6], [0.5]]]])  # the probability of class 1; half is class 0
    logit = LOGITS[:, :1, :, :1]
    same(_as_reference(one, logit, ["softmax"]), one, 1 / (1 + np.exp(-logit)), [[[0, 1, 0]]])


def test_overlapping_classes_are_compared_as_masks():
    given = np.random.default_rng(2).uniform(size=(1, 3, 2, 3))
    last = np.moveaxis(given, 1, -1)
    same(_overlapping(given - 0.5, LOGITS, []), last - 0.5, LOGITS, last > 0.5)
    same(_overlapping(last, LOGITS, ["softmax"]), last, 1 / (1 + np.exp(-LOGITS)), last > 0.5)
    same(_overlapping(last > 0.5, LOGITS, ["argmax"]), last > 0.5, LOGITS > 0, last > 0.5)
