"""The emitted ONNX model against the float64 NumPy reference, in ONNX Runtime and in ONNX's own evaluator."""

import dataclasses
import getpass
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, UNetConfig, random_tensors
from unet_spec.config import ActivationName
from unet_spec.graph import Graph, Node
from unet_spec.ops import Input, Op

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_export import OnnxRuntime, emit_onnx, onnx_bytes, onnx_ops, read_onnx, save_onnx  # noqa: E402
from unet_export.lowering import Lowered  # noqa: E402
from unet_export.precision import Recipe  # noqa: E402

WIDTHS = (4, 8, 16)
BASE = PRESETS["same"].replace(widths=WIDTHS, conv_bias=True, norm="none")
PAPER = PRESETS["paper"].replace(widths=WIDTHS)
CASES: dict[str, UNetConfig] = {
    **{name: config.replace(widths=WIDTHS) for name, config in PRESETS.items()},
    **{f"norm-{norm}": BASE.replace(norm=norm, norm_groups=4) for norm in ("group", "instance")},
    **{f"activation-{name}": BASE.replace(activation=name) for name in ActivationName.__args__},
    "half-pixel": BASE.replace(upsampling="bilinear", align_corners=False),
    "crop-half-pixel": PAPER.replace(upsampling="bilinear", align_corners=False, in_channels=3, out_channels=5),
    "3d-valid": PAPER.replace(widths=(2, 4), spatial_dims=3),
    "3d-group": BASE.replace(widths=(4, 8), spatial_dims=3, norm="group", norm_groups=2),
    "3d-trilinear": BASE.replace(widths=(4, 8), spatial_dims=3, upsampling="bilinear", norm="instance"),
    "3d-half-pixel": BASE.replace(
        widths=(4, 8), spatial_dims=3, upsampling="bilinear", align_corners=False, norm="batch"
    ),
}


def sample(config: UNetConfig, batch: int, extra: int = 1) -> np.ndarray:
    """Images of another size on every axis, with a mean far from zero."""
    grid = config.geometry.grid()
    size = [grid.minimum + grid.step * (extra + axis) for axis in range(config.spatial_dims)]
    return np.random.default_rng(5).normal(2.0, 1.0, (batch, *size, config.in_channels)).astype(np.float32)


def reference(config: UNetConfig, tensors: dict, images: np.ndarray) -> np.ndarray:
    doubles = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    return config.graph.forward(doubles, images.astype(np.float64))


def distance(logits: np.ndarray, wanted: np.ndarray) -> float:
    assert logits.shape == wanted.shape
    return float(np.abs(logits - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_agrees_with_the_reference_at_two_sizes(name):
    config = CASES[name]
    tensors = random_tensors(config.graph, 1)
    model = emit_onnx(config, tensors)
    onnx.checker.check_model(model, full_check=True)
    runtime = OnnxRuntime(onnx_bytes(model))
    for batch, extra in ((2, 1), (1, 2)):
        images = sample(config, batch, extra)
        logits = runtime.run(images)
        assert logits.dtype == np.float32
        assert distance(logits, reference(config, tensors, images)) <= 1e-5


def exact_bound(config: UNetConfig) -> float:
    """ONNX keeps the slope of leaky_relu, and its evaluator the sqrt(2) of gelu, in float32, whatever the dtype."""
    return {"leaky_relu": 1e-8, "gelu": 1e-6}.get(config.activation, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_onnx_evaluator_in_float64_agrees_exactly(name):
    from onnx.reference import ReferenceEvaluator

    # 2⁻¹⁷ is about 1e-5 and the same number in float32, in which ONNX holds epsilon.
    config = CASES[name].replace(norm_eps=2.0**-17)
    tensors = random_tensors(config.graph, 1, np.float64)
    images = sample(config, 1, 0).astype(np.float64)
    evaluator = ReferenceEvaluator(emit_onnx(config, tensors, dtype=np.float64))
    (logits,) = evaluator.run(None, {"image": np.moveaxis(images, -1, 1)})
    assert logits.dtype == np.float64
    assert distance(np.moveaxis(logits, 1, -1), reference(config, tensors, images)) <= exact_bound(config)


def test_a_large_mean_does_not_spoil_the_group_norm():
    """E[x²] − E[x]² would lose every digit here."""
    config = CASES["norm-group"]
    tensors = random_tensors(config.graph, 1)
    tensors["encoder.0.conv1.bias"] += 1000
    images = sample(config, 1)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) <= 1e-3


@pytest.mark.parametrize("bug", ["half-pixel", "epsilon", "order", "crop", "statistics", "leaky"])
def test_a_planted_bug_is_caught(bug, monkeypatch):
    """The bound of 1e-5 sees each of these."""
    config = {
        "half-pixel": CASES["same-bilinear"],
        "epsilon": CASES["norm-instance"],
        "statistics": CASES["article"],
        "leaky": CASES["activation-leaky_relu"],
    }.get(bug, PAPER)
    right = onnx_ops.Writer.add

    def wrong(self, op_type, name, inputs, **attributes):
        if bug == "half-pixel" and op_type == "Resize":
            attributes["coordinate_transformation_mode"] = "half_pixel"
        if bug == "epsilon" and op_type == "InstanceNormalization":
            attributes["epsilon"] = 1e-3
        if bug == "order" and op_type == "Concat":
            inputs = inputs[::-1]
        if bug == "statistics" and op_type == "BatchNormalization":
            inputs = [*inputs[:2], inputs[3], inputs[2], inputs[4]]
        if bug == "leaky" and op_type == "LeakyRelu":
            attributes["alpha"] = 0.0101
        return right(self, op_type, name, inputs, **attributes)

    constant = onnx_ops.Writer.constant

    def moved(self, name, values, dtype=None):
        if bug == "crop" and name.endswith((".starts", ".ends")):
            values = [v + 1 for v in values]
        return constant(self, name, values, dtype)

    monkeypatch.setattr(onnx_ops.Writer, "add", wrong)
    monkeypatch.setattr(onnx_ops.Writer, "constant", moved)
    tensors, images = random_tensors(config.graph, 1), sample(config, 2)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) > 1e-5


def test_nodes_and_weights_carry_the_names_of_the_graph():
    config = CASES["article"]
    model = emit_onnx(config, random_tensors(config.graph, 0))
    names = {node.name for node in model.graph.node}
    assert names == {node.name for node in config.graph if node.op.kind not in ("input", "dropout")}
    assert {t.name for t in model.graph.initializer} >= set(config.graph.params)
    assert [v.name for v in model.graph.input] == ["image"]
    assert [v.name for v in model.graph.output] == ["logits"]


def test_metadata_says_what_the_network_is():
    data = DataSpec((0.5,), (0.25,), ("a", "b"))
    tensors = random_tensors(PAPER.graph, 0)
    props = {p.key: json.loads(p.value) for p in emit_onnx(PAPER, tensors, data).metadata_props}
    assert UNetConfig.from_dict(props["config"]) == PAPER
    assert DataSpec.from_dict(props["data"], "") == data
    assert props["grid"] == [{"minimum": 44, "step": 4}] * 2
    assert props["margin"] == [20, 20]
    assert props["checkpoint_digest"] == Checkpoint(PAPER, tensors, data).digest()


def test_bytes_are_the_same_in_another_process_and_folder(tmp_path):
    code = (
        "import sys, hashlib\nfrom unet_spec import PRESETS, random_tensors\nfrom unet_export import *\n"
        "c = PRESETS['article'].replace(widths=(4, 8, 16))\n"
        "print(hashlib.sha256(onnx_bytes(emit_onnx(c, random_tensors(c.graph, 0)))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, env=environment
        ).stdout
        for folder, environment in (
            (tmp_path, os.environ | {"PYTHONHASHSEED": "1"}),
            (os.getcwd(), os.environ | {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "USER": "somebody"}),
        )
    }
    assert len(digests) == 1


def test_nothing_of_this_machine_is_in_the_bytes():
    content = onnx_bytes(emit_onnx(PAPER, random_tensors(PAPER.graph, 0)))
    told = [os.getcwd(), os.path.dirname(onnx_ops.__file__), os.path.expanduser("~"), socket.gethostname(), ".py"]
    told += [name for name in (os.environ.get("USER"), _user()) if name and len(name) > 4]
    assert not [text for text in told if len(text) > 2 and text.encode() in content]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    tensors = random_tensors(PAPER.graph, 0)
    tensors["encoder.1.conv2.weight"][0, 0, 1, 1] = value
    with pytest.raises(InputError, match=r"encoder\.1\.conv2\.weight holds NaN or infinite values \(1 of 576\)"):
        emit_onnx(PAPER, tensors)


def test_other_tensors_and_dtypes_are_refused():
    tensors = random_tensors(PAPER.graph, 0)
    with pytest.raises(InputError, match=r"1 missing: head\.bias"):
        emit_onnx(PAPER, {k: v for k, v in tensors.items() if k != "head.bias"})
    with pytest.raises(InputError, match="cannot emit ONNX in float16; allowed: float32, float64"):
        emit_onnx(PAPER, tensors, dtype=np.float16)


def test_an_operation_that_nobody_wrote_yet_is_named():
    @dataclasses.dataclass(frozen=True)
    class Attention(Op):
        kind = "attention"

    graph = Graph((Node("input", Input(1), ()), Node("gate", Attention(), ("input",))), 2)
    writer = onnx_ops.Writer(Lowered(graph, {}), np.dtype(np.float32), Recipe())
    with pytest.raises(NotImplementedError, match="'gate': no ONNX is written yet for the operation 'attention'"):
        onnx_ops.emit(graph["gate"].op, graph["gate"], ["image"], writer)


def test_files_that_are_no_model_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match=r"cannot read .*model\.onnx: No such file"):
        OnnxRuntime(path)
    content = onnx_bytes(emit_onnx(PAPER, random_tensors(PAPER.graph, 0)))
    for junk, told in (
        (b"", "is empty"),
        (b"just some text, no protobuf\n" * 9, "is not an ONNX model|is no ONNX model of ours"),
        (b"a", "is not an ONNX model|is no ONNX model of ours"),
        (content[: len(content) // 2], "is not an ONNX model"),
        (content[:-10], "is not an ONNX model|does not pass"),
    ):
        path.write_bytes(junk)
        with pytest.raises(InputError, match=told) as caught:
            OnnxRuntime(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_models_that_are_not_sound_are_refused():
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    dangling = onnx.ModelProto.FromString(onnx_bytes(model))
    dangling.graph.node[3].input[0] = "nowhere"
    with pytest.raises(InputError, match="does not pass the ONNX checker"):
        read_onnx(onnx_bytes(dangling))
    poisoned = onnx.ModelProto.FromString(onnx_bytes(model))
    weights = np.frombuffer(poisoned.graph.initializer[0].raw_data, np.float32).copy()
    weights[3] = np.nan
    poisoned.graph.initializer[0].raw_data = weights.tobytes()
    with pytest.raises(InputError, match=r"encoder\.0\.conv1\.weight holds NaN"):
        read_onnx(onnx_bytes(poisoned))
    nameless = onnx.ModelProto.FromString(onnx_bytes(model))
    del nameless.metadata_props[:]
    with pytest.raises(InputError, match="does not say which network it is"):
        OnnxRuntime(onnx_bytes(nameless))


def test_images_that_do_not_fit_are_refused():
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(PAPER, random_tensors(PAPER.graph, 0))), threads=1)
    with pytest.raises(InputError, match="nearest valid per axis: 48, 48 or 52"):
        runtime.run(np.zeros((1, 48, 50, 1), np.float32))
    with pytest.raises(InputError, match="float32 images, not float64"):
        runtime.run(np.zeros((1, 48, 48, 1)))
    with pytest.raises(InputError, match="3 channels"):
        runtime.run(np.zeros((1, 48, 48, 3), np.float32))
    with pytest.raises(InputError, match="holds no image"):
        runtime.run(np.zeros((0, 48, 48, 1), np.float32))


def test_saving_leaves_a_whole_file_or_none(tmp_path):
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    save_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == onnx_bytes(model)
    with pytest.raises(InputError, match="cannot write"):
        save_onnx(model, tmp_path / "missing" / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_importing_the_package_imports_no_runtime():
    code = "import sys, unet_export; print({'onnx', 'onnxruntime', 'tensorrt_rtx', 'torch', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.slow
def test_the_full_width_agrees_too():
    config = PRESETS["article"]
    tensors = random_tensors(config.graph, 1)
    images = np.random.default_rng(0).normal(size=(1, 188, 204, 1)).astype(np.float32)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) <= 1e-5
