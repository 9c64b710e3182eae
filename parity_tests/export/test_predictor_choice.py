"""The runtime that a bundle is opened in, and what a predictor passes on to it; with stand-ins for the runtimes."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_data.io.facts import ReadSettings
from unet_export import Profile, load, predictor
from unet_export.bundle.describe import describe
from unet_export.bundle.manifest import Bundle
from unet_export.precision.formats import PrecisionRecipe
from unet_export.precision.variants import Variant
from unet_export.runtimes import openvino_runtime
from unet_export.tensorrt import runtime as tensorrt_runtime
from unet_export.tensorrt.engine_record import EngineRecord
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

CONFIG = preset("same", widths=(2, 4), in_channels=2, out_channels=3)
REST = (True, Profile.fixed(1, 20, 20), {}, 4, 0.0, "0" * 64)


def record(precision: str, backend: str = "tensorrt_rtx") -> EngineRecord:
    return EngineRecord(f"{backend}-{precision}.plan", backend, "1", (), precision, *REST)


def bundle_of(folder, config=CONFIG, engines=(), data=None) -> Bundle:
    variants = [Variant(PrecisionRecipe("fp16"), "model-fp16.onnx"), Variant(PrecisionRecipe(), "model.onnx")]
    point = Checkpoint(config, random_tensors(config.graph, 0), data or DataSpec())
    manifest = describe(point, variants, engines, None, None, None)
    (folder / "manifest.json").write_text("{}")
    return Bundle(folder, manifest)


class Constant:
    """A runtime whose logits are the first channel times 1, 2, 3 …"""

    name, config = "onnx", CONFIG

    def __init__(self, config=CONFIG):
        self.config, self.closed, self.sizes = config, 0, []

    def run(self, images):
        self.sizes.append(images.shape)
        return np.stack([images[..., 0] * (k + 1) for k in range(self.config.output_channels)], -1)

    def close(self):
        self.closed += 1


@pytest.fixture
def opened(monkeypatch):
    """What was opened: (runtime, file, further arguments). Engines run if their precision is in the second list."""
    calls, runs = [], []

    def engine(path, own, config):
        calls.append(("tensorrt", path.name, config))
        if own.precision not in runs:
            raise InputError(f"no {own.precision} here")
        return Constant()

    def runtime(name):
        return lambda path, *rest: calls.append((name, path.name, *rest)) or Constant()

    monkeypatch.setattr(tensorrt_runtime, "load_engine", engine)
    monkeypatch.setattr(predictor, "OnnxRuntime", runtime("onnx"))
    monkeypatch.setattr(openvino_runtime, "OpenVinoRuntime", runtime("openvino"))
    return calls, runs


def test_the_first_engine_that_runs_is_used_and_the_others_say_why_not(opened, tmp_path):
    calls, runs = opened
    bundle = bundle_of(tmp_path, engines=[record("fp16"), record("fp32"), record("int8")])
    runs.append("fp32")
    assert load(bundle).passed_over == {"tensorrt_rtx-fp16.plan": "no fp16 here"}
    assert calls == [("tensorrt", "tensorrt_rtx-fp16.plan", CONFIG), ("tensorrt", "tensorrt_rtx-fp32.plan", CONFIG)]
    calls.clear()
    assert load(bundle, "tensorrt", precision="fp32").passed_over == {}
    with pytest.raises(InputError, match=r"no engine of .* runs here: no fp16 here$"):
        load(bundle, "tensorrt", precision="fp16")
    assert [call[1] for call in calls] == ["tensorrt_rtx-fp32.plan", "tensorrt_rtx-fp16.plan"]


def test_where_no_engine_runs_onnx_runtime_does(opened, tmp_path):
    calls, _ = opened
    bundle = bundle_of(tmp_path, engines=[record("int8"), record("int8", "tensorrt")])
    assert load(bundle, threads=3).passed_over == dict.fromkeys(
        ("tensorrt_rtx-int8.plan", "tensorrt-int8.plan"), "no int8 here"
    )
    assert calls[-1] == ("onnx", "model.onnx", 3, None)
    with pytest.raises(InputError, match=r"runs here: no int8 here$"):  # one reason, once
        load(bundle, "tensorrt")
    assert load(bundle, precision="fp16").passed_over == {"tensorrt": "the bundle has no engine in fp16"}
    assert calls[-1] == ("onnx", "model-fp16.onnx", None, None)
    assert load(bundle_of(tmp_path)).passed_over == {"tensorrt": "the bundle has no engine"}


def test_a_runtime_or_a_provider_that_is_named_is_the_only_one_tried(opened, tmp_path):
    calls, runs = opened
    runs.append("fp32")
    bundle = bundle_of(tmp_path, engines=[record("fp32")])
    assert load(bundle, "onnx").passed_over == {}
    assert load(bundle, provider="cuda").passed_over == {}
    assert load(bundle, "openvino", 2).passed_over == {}
    assert load(bundle, "openvino", precision="fp32").runtime is not None
    assert calls == [
        ("onnx", "model.onnx", None, None), ("onnx", "model.onnx", None, "cuda"), ("openvino", "model.onnx", 2),
        ("openvino", "model.onnx", None),
    ]  # fmt: skip
    for arguments, message in (
        ({"runtime": "openvino", "precision": "fp16"}, "openvino runs a bundle in fp32, not in fp16"),
        ({"runtime": "tensorrt", "provider": "cuda"}, "provider is for the runtime onnx, not for tensorrt"),
        ({"precision": "int8"}, "has no int8; it has fp16, fp32"),
        ({"runtime": "x"}, "unknown runtime 'x'; allowed: auto, onnx, openvino, tensorrt"),
    ):
        with pytest.raises(InputError, match=message):
            load(bundle, **arguments)


def test_a_model_of_another_network_is_refused(opened, tmp_path):
    bundle = bundle_of(tmp_path, CONFIG.replace(activation="elu"))
    with pytest.raises(InputError, match=r"model\.onnx is a different network than .*manifest\.json describes"):
        load(bundle, "onnx")


def predictor_of(folder, config=CONFIG, data=None):
    return predictor.Predictor(bundle_of(folder, config, data=data), Constant(config), {"a": "b"})


def test_the_tile_is_the_bundles_unless_one_is_given(tmp_path):
    own = predictor_of(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 2)).astype(np.uint8)
    counts = []
    logits = own(images, 32, lambda *count: counts.append(count))
    np.testing.assert_allclose(
        logits, np.stack([images[..., 0] / np.float32(255) * k for k in (1, 2, 3)], -1), rtol=1e-6
    )
    assert max(max(size[1:3]) for size in own.runtime.sizes) <= 32
    assert counts == [(k + 1, len(counts)) for k in range(len(counts))]
    assert len(counts) == len(own.runtime.sizes) > 2
    own.runtime.sizes.clear()
    own(images)
    assert own.runtime.sizes == [(1, 40, 30, 2)] * 2  # the tile of 572 holds each image
    assert own.tile == (572, 572)
    own.runtime.sizes.clear()
    assert own.warm_up() > 0
    assert own.runtime.sizes == [(1, 572, 572, 2)]


def test_without_exact_tiles_the_smallest_size_stands_for_them(tmp_path):
    config = preset("same-bilinear", widths=(2, 4, 4), in_channels=2)
    own = predictor_of(tmp_path, config)
    assert own.bundle.tile is None
    assert own.tile == tuple(grid.minimum for grid in config.geometry.grids)
    assert "; whole images; onnx>" in repr(own)
    assert "2 channels to class 0, class 1; tiles of 572 x 572; onnx>" in repr(
        predictor_of(tmp_path, CONFIG.replace(out_channels=2))
    )


def test_the_distance_is_no_logit_and_overlapping_classes_are_chosen_one_by_one(tmp_path):
    images = np.full((1, 20, 24, 2), 128, np.uint8)
    distance = CONFIG.replace(distance_head=True)
    assert predictor_of(tmp_path, distance)(images).shape == (1, 20, 24, 3)
    overlapping = predictor_of(tmp_path, data=DataSpec(class_names=("a", "b", "c"), overlapping=True))
    assert (overlapping.labels(images) == 1).all()
    assert overlapping.labels(images).shape == (1, 20, 24, 3)
    logits = images[..., :1] / np.float32(255) * [1, 2, 3]
    np.testing.assert_allclose(overlapping.probabilities(images), 1 / (1 + np.exp(-logits)), rtol=1e-5)
    with pytest.raises(InputError, match="overlap"):
        overlapping.objects(images)


def test_closing_copies_and_reading(tmp_path):
    own = predictor_of(tmp_path)
    with own as entered:
        assert entered is own
    own.close()
    assert own.runtime.closed == 2
    again = copy.copy(own)
    assert again.passed_over == own.passed_over
    assert again.passed_over is not own.passed_over
    assert again.runtime is not own.runtime
    assert again.bundle is own.bundle
    assert isinstance(own.reading, ReadSettings)
    assert isinstance(SimpleNamespace(name="x", config=CONFIG, run=print, close=print), predictor.Runtime)
