"""The network as one file for other programs."""

from pathlib import Path

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

from ... import ROOT

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_tools.cli import main
from unet_tools.conversion import framework_exports
from unet_tools.conversion.framework_exports import kind_of, write_framework_file

CONFIG = PRESETS["paper"].replace(widths=(4, 8))


@pytest.mark.parametrize(
    "name",
    ["model.onnx", *(pytest.param(f"model{kind}", marks=pytest.mark.slow) for kind in (".torch.onnx", ".pt2")),
     "model.stablehlo"],
)  # fmt: skip
def test_the_network_as_one_file_is_the_same_network(name, tmp_path):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    try:
        distance = write_framework_file(point, tmp_path / name, (28, 36))
    except InputError as e:
        if "is not installed" not in str(e):
            raise
        pytest.skip(str(e))
    assert distance <= 1e-5
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name.endswith(".onnx"):
        onnx.checker.check_model(tmp_path / name, full_check=True)
        assert str(ROOT).encode() not in (tmp_path / name).read_bytes()


def test_names_of_single_files():
    assert [kind_of(Path(n)) for n in ("m.onnx", "m.torch.onnx", "bundle", "b.v1")] == [
        ".onnx",
        ".torch.onnx",
        None,
        None,
    ]
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    with pytest.raises(InputError, match=r"with \.torch\.onnx, \.onnx, \.pt2, \.stablehlo, or a folder"):
        write_framework_file(point, Path("model.keras"), (28, 36))


def test_an_opset_that_is_too_old_is_refused_with_the_oldest_possible_one(tmp_path):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    with pytest.raises(InputError, match=r"cannot be written in ONNX opset 9; the oldest possible is 14$"):
        write_framework_file(point, tmp_path / "a.onnx", (28, 36), 9)
    with pytest.raises(InputError, match="cannot be written in ONNX opset 99: "):
        write_framework_file(point, tmp_path / "a.onnx", (28, 36), 99)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("opset", "preset_name"), [(15, "same"), (17, "paper"), (18, "unet++")])
def test_an_onnx_file_for_older_runtimes_with_one_size(opset, preset_name, tmp_path, capsys):
    config = PRESETS[preset_name].replace(widths=(2, 3))
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
    size = tuple(grid.above(24) for grid in config.geometry.grids)
    checkpoint.save(tmp_path / "c")
    options = ["--opset", str(opset), "--size", *map(str, size)]
    assert main(["export", str(tmp_path / "c"), "-o", str(tmp_path / "a.onnx"), *options]) == 0
    assert "(bound 1e-05)" in " ".join(capsys.readouterr().out.split())
    model = onnx.load(tmp_path / "a.onnx")
    assert model.opset_import[0].version == opset
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, config.in_channels, *size]
    with pytest.raises(InputError, match=r"--opset and --size are for \.onnx"):
        write_framework_file(checkpoint, tmp_path / "a.pt2", size, opset)


def test_the_distance_is_relative_to_the_largest_logit_of_float64(tmp_path, monkeypatch):
    """Two images that are no square, unless the file has one size."""
    point, given = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2)), {}
    double = {name: t.astype(np.float64) for name, t in point.tensors.items()}

    def write(checkpoint, path, x, *options):
        given.update(x=x, options=options)
        path.write_text("written")
        reference = CONFIG.graph.forward(double, x.astype(np.float64))
        given["largest"] = np.abs(reference).max()
        reference[0, 1, 0, 0] += 0.5
        return reference

    monkeypatch.setitem(framework_exports._WRITERS, ".onnx", ((), write))
    monkeypatch.setattr(framework_exports, "_old_onnx", write)
    for options, images in (((), 2), ((17,), 2), ((17, True), 1), ((None, True), 1)):
        found = write_framework_file(point, tmp_path / "m.onnx", (28, 36), *options)
        assert found == pytest.approx(0.5 / given["largest"], rel=1e-9)
        assert (given["x"].shape, given["x"].dtype) == ((images, 28, 36, CONFIG.in_channels), np.float32)
        assert given["options"] == ((*options, False)[:2] if options else ())
        assert 0.9 < given["x"].std() < 1.1
        assert (tmp_path / "m.onnx").read_text() == "written"


def test_what_a_file_cannot_have_is_refused_before_it_is_written(tmp_path, monkeypatch):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    with pytest.raises(InputError, match="29"):
        write_framework_file(point, tmp_path / "m.onnx", (28, 29))
    with pytest.raises(InputError, match=r"for \.onnx, the emitter's own; m\.stablehlo has its exporter's"):
        write_framework_file(point, tmp_path / "m.stablehlo", (28, 36), None, True)
    monkeypatch.setattr(framework_exports, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(InputError, match=r"^\.torch\.onnx needs onnxscript, which is not installed; pip install onnxs"):
        write_framework_file(point, tmp_path / "m.torch.onnx", (28, 36))
    assert not list(tmp_path.iterdir())
