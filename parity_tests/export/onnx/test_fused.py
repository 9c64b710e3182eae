"""Pre- and post-processing as ONNX: fused into the model, or as separate models."""

import numpy as np
import pytest

from unet_spec import PRESETS, DataSpec, InputError, preset, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import (
    EngineSettings,
    OnnxRuntime,
    PrecisionRecipe,
    Profile,
    build_engine,
    emit_onnx,
    onnx_bytes,
    read_onnx,
)
from unet_export.onnx.fused import fuse, postprocess_model, preprocess_model
from unet_export.tensorrt import build as tensorrt_build

from ...fixtures.export_cases import CONFIG, DATA, RTX, relative


@pytest.mark.parametrize("steps", [("normalize",), ("softmax",), ("argmax",), ("normalize", "softmax")], ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_fused_steps_compute_what_python_does(steps, channels):
    import onnxruntime as ort

    from unet_data import most_probable, probabilities
    from unet_data.inference.prepare import prepare

    config = CONFIG.replace(out_channels=channels)
    tensors = random_tensors(config.graph, 1)
    image = np.random.default_rng(1).integers(0, 256, (2, 20, 24, 3)).astype(np.uint8)
    model = fuse(emit_onnx(config, tensors, DATA), config, DATA, steps)
    content, _, _ = read_onnx(onnx_bytes(model), fused=True)
    prepared = prepare(image, config, DATA)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, DATA))).run(prepared)
    given = image if "normalize" in steps else np.moveaxis(prepared, -1, 1)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": given})
    if "argmax" in steps:
        assert found.dtype == np.uint8
        assert np.mean(found == most_probable(logits)) > 0.999
    elif "softmax" in steps:
        wanted = probabilities(logits)
        assert np.abs(found - (wanted[..., 1:] if channels == 1 else wanted)).max() < 1e-5
    else:
        assert relative(np.moveaxis(found, 1, -1), logits) < 1e-6
    with pytest.raises(InputError, match=r"not an ONNX model of this project|its normalisation is fused in"):
        OnnxRuntime(content)


@pytest.mark.slow
@RTX
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_of_bytes_in_and_labels_out(precision, tmp_path):
    recipe = PrecisionRecipe(precision)
    model = emit_onnx(CONFIG, random_tensors(CONFIG.graph, 1), DATA, recipe=recipe)
    content = onnx_bytes(fuse(model, CONFIG, DATA, ("normalize", "argmax")))
    record = build_engine(
        content, tmp_path / "e.plan", EngineSettings(Profile.fixed(1, 20, 24), compute_capabilities=("89",))
    )
    assert record.precision == precision
    assert record.layer_types["UINT8"] == 1
    assert ("HALF" in record.layer_types) == (precision == "fp16")


@RTX
def test_a_border_of_another_dtype_than_the_model_has_is_refused(tmp_path, monkeypatch):
    model = fuse(emit_onnx(CONFIG, random_tensors(CONFIG.graph, 1), DATA), CONFIG, DATA, ("normalize", "argmax"))
    built = {"input_type": "FLOAT", "output_type": "UINT8", "layer_types": {}, "tensor_types": {}, "tf32": False}
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *_: (built, b"plan"))
    with pytest.raises(
        InputError, match=r"built \('FLOAT', 'UINT8'\) inputs and outputs, the model has \('UINT8', 'UINT8'\)"
    ):
        build_engine(onnx_bytes(model), tmp_path / "e.plan", EngineSettings(Profile.fixed(1, 20, 24)))
    assert not list(tmp_path.iterdir())


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
    """preprocess → network → postprocess in ONNX, compared with preparation, mirroring and cropping in Python."""
    import onnxruntime as ort

    from unet_data import most_probable, predict_image, probabilities

    tensors, data = random_tensors(config.graph, 1), DataSpec((0.4,), (0.3,))
    image = np.random.default_rng(1).integers(0, 256, (2, *size, 1)).astype(np.uint8)
    network = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, data)))

    def session(model):
        return ort.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])

    (prepared,) = session(preprocess_model(config, data, 21, 10)).run(None, {"image": image})
    logits = np.moveaxis(network.run(np.moveaxis(prepared, 1, -1)), -1, 1)
    given = {"logits": np.ascontiguousarray(logits), "image": image}
    found_labels, found_probabilities = session(postprocess_model(config, data, 21, 10)).run(None, given)
    wanted = np.stack([predict_image(network.run, one, config, data) for one in image])
    expected = probabilities(wanted)[..., 1:] if config.out_channels == 1 else probabilities(wanted)
    assert np.abs(found_probabilities - expected).max() < 1e-5
    assert np.mean(found_labels == most_probable(wanted)) > 0.999


def test_classes_that_overlap_have_a_sigmoid_each():
    """The fused model and the two models of Triton's ensemble compared with NumPy."""
    import onnxruntime as ort

    from unet_data import predict_image, present_classes, probabilities

    config = preset("same", widths=(3, 4), out_channels=3)
    tensors, data = random_tensors(config.graph, 1), DataSpec((0.4,), (0.3,), ("a", "b", "c"), overlapping=True)
    image = np.random.default_rng(1).integers(0, 256, (1, 20, 24, 1)).astype(np.uint8)
    model = emit_onnx(config, tensors, data)
    network = OnnxRuntime(onnx_bytes(model))
    wanted = predict_image(network.run, image[0], config, data)[None]

    def run(model, given):
        session = ort.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])
        return session.run(None, given)

    chances, masks = probabilities(wanted, overlapping=True), present_classes(wanted)
    assert (masks.sum(-1) > 1).any()
    assert not np.allclose(chances.sum(-1), 1)
    (prepared,) = run(preprocess_model(config, data, 21, 10), {"image": image})
    logits = np.moveaxis(network.run(np.moveaxis(prepared, 1, -1)), -1, 1)
    given = {"logits": np.ascontiguousarray(logits), "image": image}
    labels, found = run(postprocess_model(config, data, 21, 10), given)
    np.testing.assert_allclose(found, chances, atol=1e-5)
    assert labels.shape == masks.shape
    assert np.mean(labels == masks) > 0.999
    for step, expected in (("softmax", chances), ("argmax", masks)):
        (output,) = run(fuse(model, config, data, [step]), {"image": np.ascontiguousarray(prepared)})
        np.testing.assert_allclose(output[:, :20, :24], expected, atol=1e-4 if step == "softmax" else 0.5)
        assert np.mean(np.abs(output[:, :20, :24] - expected) < 1e-4) > 0.999
