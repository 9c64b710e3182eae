"""`unet diff`: runtimes that agree, the layer where checkpoints diverge, and a wrong node in ONNX."""

import dataclasses
import json

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools import cli

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
from unet_data import write_stack
from unet_tools.cli import main

from ..diff.twins import CONFIG, VALID


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two checkpoints, the second with one flipped kernel; one that crops; one with other channels."""
    root = tmp_path_factory.mktemp("diff")
    tensors = random_tensors(CONFIG.graph, 3)
    Checkpoint(CONFIG, tensors).save(root / "a")
    wrong = tensors | {"decoder.1.block.conv1.weight": tensors["decoder.1.block.conv1.weight"][..., ::-1].copy()}
    Checkpoint(CONFIG, wrong).save(root / "b")
    Checkpoint(VALID, random_tensors(VALID.graph, 3)).save(root / "valid")
    other = dataclasses.replace(CONFIG, in_channels=3)
    Checkpoint(other, random_tensors(other.graph, 0)).save(root / "rgb")
    return root


@pytest.mark.parametrize(
    "runtimes",
    [("jax", "reference"), ("onnx", "reference"), ("torch", "onnx")],
    ids="-".join,
)
def test_the_command_says_that_runtimes_agree(folders, capsys, runtimes):
    if "onnx" in runtimes:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    assert main(["diff", str(folders / "a"), "--runtimes", *runtimes]) == 0
    assert "the same" in capsys.readouterr().out


def test_a_bundle_is_compared_by_the_checkpoint_in_it(folders, capsys, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    from unet_export import BundleSettings, write_bundle

    write_bundle(Checkpoint.load(folders / "a"), tmp_path / "bundle", BundleSettings(engines=False))
    assert main(["diff", str(tmp_path / "bundle"), str(folders / "b"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_forward"]["name"] == "decoder.1.block.conv1"


def test_three_equal_channels_are_a_remark_of_one_line(folders, capsys, tmp_path):
    write_stack(tmp_path / "grey.png", np.zeros((1, 50, 70, 3), np.uint8))
    for command in (["diff", str(folders / "a"), "--image"], ["check", str(folders / "a"), "--images"]):
        assert main([*command, str(tmp_path / "grey.png")]) == 0
        assert capsys.readouterr().err == "warning: three equal channels read as one\n"


def test_the_command_names_the_layer_where_checkpoints_part(folders, capsys, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (1, 50, 70, 1), np.uint8)
    write_stack(tmp_path / "image.png", picture)
    arguments = ["--image", str(tmp_path / "image.png"), "--json", "-o", str(tmp_path / "d.png")]
    assert main(["diff", str(folders / "a"), str(folders / "b"), *arguments]) == 1
    message = json.loads(capsys.readouterr().out)
    assert (message["same"], message["dtype"]) == (False, "float64")
    assert message["first_forward"]["name"] == "decoder.1.block.conv1"
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    assert main(["diff", str(folders / "a"), str(folders / "b"), "--tolerance", "10"]) == 0


def test_onnx_is_blamed_for_a_wrong_node(folders, capsys, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    import unet_export

    emit = unet_export.emit_onnx

    def off_centre(*args, **kwargs):
        model = emit(*args, **kwargs)
        name = "decoder.1.crop"
        node = next(n for n in model.graph.node if n.name == name)
        by_name = {t.name: t for t in model.graph.initializer}
        for tensor, shift in ((by_name[node.input[1]], 1), (by_name[node.input[2]], 1)):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + shift, tensor.name))
        return model

    monkeypatch.setattr("unet_tools.diff.sides.onnx.emit_onnx", off_centre)
    assert main(["diff", str(folders / "valid"), "--runtimes", "onnx", "reference", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_forward"]["name"] == "decoder.1.crop"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no checkpoint at"),
        (["a", "rgb"], "different channels"),
        (["a", "--runtimes", "onnx", "torch", "--dtype", "float64"], "float32"),
        (["a", "--runtimes", "jax", "reference", "--backward"], "no backward pass"),
        (["a", "-o", "plot.pdf"], ".png, .svg"),
        (["a", "--tolerance", "-1"], "tolerance is -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(folders, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folders)
    assert main(["diff", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("unet: ")
    assert message in error
    assert error.count("\n") == 1


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


DEEP = preset("unet++-deep", widths=(3, 4), in_channels=1)


@pytest.mark.parametrize(
    ("one", "other", "code", "message"),
    [
        (DEEP, preset("unet++", widths=(3, 4, 5), in_channels=1), 1, "diverges first at"),
        (DEEP, preset("m-net", widths=(3, 4, 5), in_channels=1), 2, "no module has the same path on both sides"),
        (preset("same", widths=(2, 2, 2, 2)), preset("paper", widths=(2, 2, 2, 2)), 2, "no small image size fits both"),
    ],
    ids=["alike", "foreign", "sizes"],
)
def test_diff_of_two_networks(one, other, code, message, tmp_path, capsys):
    """Of other depths, families and size grids."""
    checkpoint_of(one).save(tmp_path / "a")
    checkpoint_of(other).save(tmp_path / "b")
    for folders in ("ab", "ba"):
        assert unet("diff", *(tmp_path / folder for folder in folders)) == code
        printed = capsys.readouterr()
        assert message in (printed.err if code == 2 else printed.out)


def test_a_plot_is_not_replaced_unasked(folders, tmp_path, capsys):
    (tmp_path / "p.png").write_text("mine")
    command = ("diff", folders / "a", "--runtimes", "torch", "torch", "-o", tmp_path / "p.png")
    assert unet(*command) == 2
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "p.png").read_text() == "mine"
    assert unet(*command, "--overwrite") == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_weights_that_are_not_finite_differ_from_themselves(tmp_path, capsys):
    """Two NaN are not "the same", since such a network gives no result."""
    config = preset("same", widths=(2, 4))
    checkpoint = checkpoint_of(config)
    name = "encoder.0.conv2.weight"
    tensors = {**checkpoint.tensors, name: checkpoint.tensors[name] * np.float32(np.nan)}
    dataclasses.replace(checkpoint, tensors=tensors).save(tmp_path / "a")
    assert unet("diff", tmp_path / "a", "--runtimes", "reference", "torch") == 2
    assert f"{name} contains NaN" in capsys.readouterr().err


def test_activations_that_overflow_on_both_sides_differ(tmp_path, capsys):
    config = preset("same", widths=(2, 4), norm="none")
    checkpoint = checkpoint_of(config)
    tensors = {**checkpoint.tensors}
    for name in ("encoder.0.conv1.weight", "encoder.0.conv2.weight"):
        tensors[name] = np.full_like(tensors[name], 1e30)
    dataclasses.replace(checkpoint, tensors=tensors).save(tmp_path / "a")
    arguments = ("diff", tmp_path / "a", "--runtimes", "torch", "onnx", "--dtype", "float32")
    assert unet(*arguments) == 1
    assert "diverges first at encoder.0.conv2: output, NaN or infinite on both sides" in capsys.readouterr().out
