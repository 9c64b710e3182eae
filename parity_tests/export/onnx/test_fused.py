"""Pre- and post-processing as ONNX: fused into the model, or as separate models."""

from contextlib import nullcontext

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
from unet_export.onnx.fused import check_steps, fuse, postprocess_model, preprocess_model
from unet_export.reference import whole_input
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
        assert found.shape[-1] == max(channels, 2)
        assert np.abs(found - probabilities(logits)).max() < 1e-5
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
    assert found_probabilities.shape == (*image.shape[:-1], config.classes)
    assert np.abs(found_probabilities - probabilities(wanted)).max() < 1e-5
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


@pytest.mark.parametrize("normalization", ["dataset", "image", "percentile", "none"])
def test_every_initializer_is_used(normalization):
    data = DataSpec((0.4,), (0.3,), normalization=normalization) if normalization == "dataset" else DataSpec(
        normalization=normalization
    )  # fmt: skip
    config = preset("same", widths=(2, 3), in_channels=1)
    for model in (preprocess_model(config, data, 21, 10), postprocess_model(config, data, 21, 10)):
        used = {name for node in model.graph.node for name in node.input}
        assert {constant.name for constant in model.graph.initializer} <= used


def test_steps_are_known_in_their_order_and_of_one_output():
    assert check_steps(["argmax", "normalize"]) == ("normalize", "argmax")
    assert check_steps(()) == ()
    with pytest.raises(InputError, match=r"unknown step 'crop' to fuse .*; allowed: normalize, softmax, argmax$"):
        check_steps(["normalize", "crop"])
    with pytest.raises(InputError, match=r"softmax .* or argmax .*, not both"):
        check_steps(["argmax", "softmax"])


def ends(model):
    """Name, type and axes of the inputs and outputs."""
    return [
        (v.name, v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_ends_of_the_models_have_names_types_and_axes(dims):
    config = preset("same", widths=(2, 3), spatial_dims=dims, in_channels=3, out_channels=4, distance_head=True)
    model = emit_onnx(config, random_tensors(config.graph, 0), DATA)
    axes = ["depth", "height", "width"][-dims:]
    out = [f"out_{axis}" for axis in axes]
    byte, single = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    image, network = ("image", byte, ["batch", *axes, 3]), ("image", single, ["batch", 3, *axes])
    assert ends(model) == [network, ("logits", single, ["batch", 5, *out])]
    assert ends(fuse(model, config, DATA, ["normalize"])) == [image, ("logits", single, ["batch", 5, *out])]
    assert ends(fuse(model, config, DATA, ["softmax"])) == [network, ("probabilities", single, ["batch", *out, 4])]
    assert ends(fuse(model, config, DATA, ["argmax"])) == [network, ("labels", byte, ["batch", *out])]
    before = preprocess_model(config, DATA, 21, 10)
    assert ends(before) == [image, ("prepared", single, ["batch", 3, *(f"canvas_{axis}" for axis in axes)])]
    after = postprocess_model(config, DATA, 21, 10)
    cut = ["batch", *(f"{axis}_cut" for axis in axes)]
    assert ends(after) == [
        ("logits", single, ["batch", 5, *out]), image, ("labels", byte, cut), ("probabilities", single, [*cut, 4])
    ]  # fmt: skip
    for each, name in ((before, "unet_preprocess"), (after, "unet_postprocess")):
        assert (each.graph.name, each.ir_version, each.producer_name) == (name, 10, "unet-twins")
        assert [(o.domain, o.version) for o in each.opset_import] == [("", 21)]


def test_the_model_itself_stays_and_the_fused_one_names_its_steps():
    model = emit_onnx(CONFIG, random_tensors(CONFIG.graph, 1), DATA)
    before = onnx_bytes(model)
    fused = fuse(model, CONFIG, DATA, ["argmax", "normalize"])
    assert onnx_bytes(model) == before
    assert {p.key: p.value for p in fused.metadata_props}["baked"] == '["normalize", "argmax"]'


@pytest.mark.parametrize("classes", [256, 257])
def test_labels_of_bytes_have_256_classes(classes):
    config = preset("same", widths=(2, 3), out_channels=classes)
    with pytest.raises(InputError, match="too small for 257 classes") if classes > 256 else nullcontext():
        postprocess_model(config, DataSpec(), 21, 10)


def run_model(model, **given):
    import onnxruntime as ort

    return ort.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"]).run(None, given)


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_logit_of_zero_is_no_class_and_a_distance_is_none_either(overlapping):
    channels = 2 if overlapping else 1
    config = preset("same", widths=(2, 3), out_channels=channels, distance_head=not overlapping)
    data = DataSpec(class_names=("a", "b"), overlapping=overlapping)
    logits = np.full((1, config.output_channels, 1, 4), 9, np.float32)
    logits[0, 0, 0] = [-1, 0, 1e-6, 2]
    labels, chances = run_model(
        postprocess_model(config, data, 21, 10), logits=logits, image=np.zeros((1, 1, 3, 1), np.uint8)
    )
    first = labels[..., 0] if overlapping else labels
    assert first.tolist() == [[[0, 0, 1]]]
    assert chances.shape == (1, 1, 3, 2)
    np.testing.assert_allclose(chances[0, 0, :, 0 if overlapping else 1], 1 / (1 + np.exp([1, 0, -1e-6])), rtol=1e-5)


@pytest.mark.parametrize("size", [(19, 20), (20, 19), (32, 33)])
def test_an_image_is_mirrored_by_the_margin_and_up_to_the_next_size_that_fits(size):
    config = preset("paper", widths=(2, 4))
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 1)).astype(np.uint8)
    (found,) = run_model(preprocess_model(config, DataSpec(), 21, 10), image=image)
    expected = whole_input(config.geometry, image[0] / np.float32(255))
    assert found.shape[2:] == expected.shape[1:-1]
    np.testing.assert_allclose(found[0, 0], expected[0, ..., 0], rtol=1e-6)
