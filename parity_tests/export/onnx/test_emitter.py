"""The content of an ONNX file."""

import getpass
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from unet_export import emit_onnx
from unet_spec import Checkpoint, DataSpec, InputError, UNetConfig, random_tensors
from unet_spec.graph import Graph, Node
from unet_spec.ops import Add, AvgPool, Input, MaxPool, Upsample

from ...fixtures.family_cases import FAMILIES

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import onnx_bytes, save_onnx
from unet_export.onnx import emitter
from unet_export.onnx import ops as onnx_ops
from unet_export.onnx.emitter import IR_VERSION, OPSET
from unet_export.onnx.lowering import Lowered
from unet_export.precision.formats import PrecisionRecipe

from ...fixtures.onnx_cases import CASES, PAPER, distance


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
    printed = [os.getcwd(), os.path.dirname(onnx_ops.__file__), os.path.expanduser("~"), socket.gethostname(), ".py"]
    printed += [name for name in (os.environ.get("USER"), _user()) if name and len(name) > 4]
    assert not [text for text in printed if len(text) > 2 and text.encode() in content]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    tensors = random_tensors(PAPER.graph, 0)
    tensors["encoder.1.conv2.weight"][0, 0, 1, 1] = value
    with pytest.raises(InputError, match=r"encoder\.1\.conv2\.weight contains NaN or infinite values \(1 of 576\)"):
        emit_onnx(PAPER, tensors)


def test_other_tensors_and_dtypes_are_refused():
    tensors = random_tensors(PAPER.graph, 0)
    with pytest.raises(InputError, match=r"1 missing: head\.bias"):
        emit_onnx(PAPER, {k: v for k, v in tensors.items() if k != "head.bias"})
    with pytest.raises(InputError, match="cannot emit ONNX in float16; allowed: float32, float64"):
        emit_onnx(PAPER, tensors, dtype=np.float16)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4, 8, 16])
def test_maps_are_pooled_and_interpolated_by_any_factor(factor, align, dims):
    """UNet 3+ pools by up to 8 and interpolates by up to 16."""
    from onnx import TensorProto, helper

    window, size = (factor,) * dims, ((2, 3) if dims == 2 else (1, 2, 3))
    nodes = (
        Node("input", Input(2), ()),
        Node("small", MaxPool(window), ("input",)),
        Node("mean", AvgPool(window), ("input",)),
        Node("sum", Add(), ("small", "mean")),
        Node("large", Upsample(factor, align), ("sum",)),
    )
    graph = Graph(nodes, dims)
    writer = onnx_ops.Writer(Lowered(graph, {}), np.dtype(np.float32), PrecisionRecipe())
    values: dict[str, str] = {}
    for node in graph:
        values[node.name] = writer.write(node, [values[i] for i in node.inputs])
    shape = ["n", 2, *"dhw"[:dims]]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "logits")]
    body = helper.make_graph(writer.nodes, "ops", ends[:1], [ends[1]], writer.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = ort.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, *(n * factor for n in size), 2)).astype(np.float32)
    (found,) = session.run(None, {"image": np.moveaxis(images, -1, 1)})
    expected = graph.forward({}, images.astype(np.float64))
    assert distance(np.moveaxis(found, 1, -1), expected) <= 1e-6


def test_saving_leaves_a_whole_file_or_none(tmp_path):
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    save_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == onnx_bytes(model)
    with pytest.raises(InputError, match="cannot write"):
        save_onnx(model, tmp_path / "missing" / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_what_only_training_needs_is_not_exported():
    config = FAMILIES["unet++-deep"]
    names = {node.name for node in emit_onnx(config, random_tensors(config.graph, 0)).graph.node}
    assert not any(name.startswith(("heads.0", "heads.1")) for name in names)
    config = FAMILIES["probabilistic-unet"]
    names = {node.name for node in emit_onnx(config, random_tensors(config.graph, 0)).graph.node}
    assert not any(name.startswith("posterior") for name in names)


def test_versions_names_and_axes_of_a_model():
    config = CASES["article"].replace(in_channels=2, out_channels=3)
    tensors = random_tensors(config.graph, 0)
    model = emit_onnx(config, tensors)
    assert (OPSET, IR_VERSION) == (21, 10)
    assert (model.ir_version, model.producer_name, model.graph.name) == (10, "unet-twins", "unet")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
    recipe = PrecisionRecipe("bf16", ("head",))
    assert emit_onnx(config, tensors, recipe=recipe).opset_import[0].version == 22
    props = {p.key: json.loads(p.value) for p in emit_onnx(config, tensors, recipe=recipe).metadata_props}
    assert props["recipe"] == recipe.to_dict()
    assert set(props) == {"config", "data", "grid", "margin", "checkpoint_digest", "recipe"}
    double = emit_onnx(config, tensors, dtype=np.float64)
    assert [v.type.tensor_type.elem_type for v in (*double.graph.input, *double.graph.output)] == [11, 11]


def test_a_latent_variable_has_an_input_and_a_batch_of_its_own():
    config = FAMILIES["probabilistic-unet"]
    model = emit_onnx(config, random_tensors(config.graph, 0))
    assert [v.name for v in model.graph.input] == ["image", "noise"]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "out_batch"
    plain = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    assert plain.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_weights_of_more_than_protobufs_limit_are_refused(monkeypatch):
    tensors = random_tensors(PAPER.graph, 0)
    size = sum(tensors[name].size for name in PAPER.graph.params)
    assert emitter._LIMIT == 2**31 - 2**20
    for dtype, bytes_each in ((np.float32, 4), (np.float64, 8)):
        monkeypatch.setattr(emitter, "_LIMIT", size * bytes_each)
        emit_onnx(PAPER, tensors, dtype=dtype)
        monkeypatch.setattr(emitter, "_LIMIT", size * bytes_each - 1)
        with pytest.raises(InputError, match=r"0\.0 GiB of weights; a single ONNX file is limited to 2 GiB"):
            emit_onnx(PAPER, tensors, dtype=dtype)
