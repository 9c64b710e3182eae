"""What surrounds the network, as ONNX: baked into the model, or as models of their own before and after it."""

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from parity_tests.export_cases import CONFIG, DATA, RTX, relative  # noqa: E402
from unet_export import (  # noqa: E402
    EngineSettings,
    OnnxRuntime,
    Profile,
    Recipe,
    build_engine,
    emit_onnx,
    load,
    onnx_bytes,
    read_onnx,
    tensorrt_backend,
    write_bundle,
)
from unet_export.baked import bake, postprocess_model, preprocess_model  # noqa: E402
from unet_tools.baked_check import baked_finding  # noqa: E402


@pytest.mark.parametrize("steps", [("normalize",), ("softmax",), ("argmax",), ("normalize", "softmax")], ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_steps_that_are_baked_in_compute_what_python_does(steps, channels):
    import onnxruntime as ort

    from unet_data.predict import labels, probabilities
    from unet_data.prepare import prepare

    config = CONFIG.replace(out_channels=channels)
    tensors = random_tensors(config.graph, 1)
    image = np.random.default_rng(1).integers(0, 256, (2, 20, 24, 3)).astype(np.uint8)
    model = bake(emit_onnx(config, tensors, DATA), config, DATA, steps)
    content, _, _ = read_onnx(onnx_bytes(model), baked=True)
    prepared = prepare(image, config, DATA)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, DATA))).run(prepared)
    given = image if "normalize" in steps else np.moveaxis(prepared, -1, 1)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": given})
    if "argmax" in steps:
        assert found.dtype == np.uint8
        assert np.mean(found == labels(logits)) > 0.999
    elif "softmax" in steps:
        wanted = probabilities(logits)
        assert np.abs(found - (wanted[..., 1:] if channels == 1 else wanted)).max() < 1e-5
    else:
        assert relative(np.moveaxis(found, 1, -1), logits) < 1e-6
    with pytest.raises(InputError, match=r"no ONNX model of ours|its normalisation is baked in"):
        OnnxRuntime(content)


@RTX
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_of_bytes_in_and_labels_out(precision, tmp_path):
    recipe = Recipe(precision)
    model = emit_onnx(CONFIG, random_tensors(CONFIG.graph, 1), DATA, recipe=recipe)
    content = onnx_bytes(bake(model, CONFIG, DATA, ("normalize", "argmax")))
    record = build_engine(content, tmp_path / "e.plan", profile=Profile.fixed(1, 20, 24), compute_capabilities=("89",))
    assert record.precision == precision
    assert record.layer_types["UINT8"] == 1
    assert ("HALF" in record.layer_types) == (precision == "fp16")


@RTX
def test_a_border_of_another_dtype_than_the_model_has_is_refused(tmp_path, monkeypatch):
    model = bake(emit_onnx(CONFIG, random_tensors(CONFIG.graph, 1), DATA), CONFIG, DATA, ("normalize", "argmax"))
    built = {"input_type": "FLOAT", "output_type": "UINT8", "layer_types": {}, "tensor_types": {}, "tf32": False}
    monkeypatch.setattr(tensorrt_backend, "run_child", lambda *_: (built, b"plan"))
    with pytest.raises(
        InputError, match=r"built \('FLOAT', 'UINT8'\) at the border, the model has \('UINT8', 'UINT8'\)"
    ):
        build_engine(onnx_bytes(model), tmp_path / "e.plan", profile=Profile.fixed(1, 20, 24))
    assert not list(tmp_path.iterdir())


def point(config=CONFIG) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 2), DATA)


@RTX
def test_engines_of_the_baked_model_are_in_the_bundle(tmp_path):
    settings = EngineSettings(Profile.fixed(1, 20, 24), ("89",))
    steps = ("normalize", "argmax")
    bundle = write_bundle(point(), tmp_path / "b", precisions=("fp16",), baked=steps, settings=settings)
    (network,), (baked,) = bundle.engines, bundle.baked_engines
    assert network.file.endswith("-sm89-fp16.plan")
    assert baked.file.endswith("-sm89-fp16-baked.plan")
    assert f"engines/{baked.file}" in bundle.manifest["files"]
    assert baked.file in (bundle.folder / "README.md").read_text(encoding="utf-8")
    predictor = load(bundle)  # wants logits, so it does not even try the other
    assert baked.file not in predictor.passed_over


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("steps", [("normalize", "softmax"), ("normalize", "argmax"), ("normalize",)], ids="+".join)
def test_the_check_runs_the_baked_model_and_sees_what_is_wrong_in_it(steps, channels, tmp_path):
    bundle = write_bundle(point(CONFIG.replace(out_channels=channels)), tmp_path / "b", engines=False, baked=steps)
    finding = baked_finding(bundle)
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
    broken = baked_finding(bundle)
    assert broken is not None
    assert broken.ok is False


def test_a_baked_model_of_bytes_is_not_judged_on_an_image_of_other_values(tmp_path):
    image = np.random.default_rng(0).random((33, 29, 3)).astype(np.float32)
    bundle = write_bundle(point(), tmp_path / "b", engines=False, baked=("normalize",), golden_image=image)
    finding = baked_finding(bundle)
    assert finding is not None
    assert (finding.ok, finding.note) == (None, "it takes bytes, the golden image is float32")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (PRESETS["paper"].replace(widths=(4, 8)), (37, 50)),
        (PRESETS["same"].replace(widths=(4, 8, 8), out_channels=1), (33, 46)),
        (PRESETS["paper"].replace(widths=(2, 4), spatial_dims=3, out_channels=3), (19, 22, 21)),
    ],
    ids=["valid", "same, one channel", "3-D"],
)
def test_the_models_around_the_network_are_the_whole_of_prediction(config, size):
    """preprocess → network → postprocess in ONNX, against preparation, mirroring and cutting in Python."""
    import onnxruntime as ort

    from unet_data.predict import labels, predict_image, probabilities

    tensors, data = random_tensors(config.graph, 1), DataSpec((0.4,), (0.3,))
    image = np.random.default_rng(1).integers(0, 256, (2, *size, 1)).astype(np.uint8)
    network = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, data)))

    def session(model):
        return ort.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])

    (prepared,) = session(preprocess_model(config, data, 21, 10)).run(None, {"image": image})
    logits = np.moveaxis(network.run(np.moveaxis(prepared, 1, -1)), -1, 1)
    given = {"logits": np.ascontiguousarray(logits), "image": image}
    found_labels, found_probabilities = session(postprocess_model(config, 21, 10)).run(None, given)
    wanted = np.stack([predict_image(network.run, one, config, data) for one in image])
    expected = probabilities(wanted)[..., 1:] if config.out_channels == 1 else probabilities(wanted)
    assert np.abs(found_probabilities - expected).max() < 1e-5
    assert np.mean(found_labels == labels(wanted)) > 0.999
