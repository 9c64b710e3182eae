"""unet convert of models of the BioImage Model Zoo."""

import zipfile

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main
from unet_tools.conversion import zoo_files

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, write_bundle

WHO = ["--licence", "CC-BY-4.0", "--author", "Ada Lovelace", "--cite", "The paper, https://arxiv.org/abs/1505.04597"]
CONFIG = preset("paper", widths=(2, 3))


@pytest.fixture
def checkpoint(tmp_path):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 1), DataSpec((0.5,), (0.2,), ("sky", "cell")))
    point.save(tmp_path / "run" / "last")
    return tmp_path / "run" / "last"


@pytest.fixture
def package(checkpoint, tmp_path):
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "m.zip"), "--to", "bioimageio", *WHO]) == 0
    return tmp_path / "m.zip"


def test_a_model_of_the_zoo_and_back(checkpoint, package, tmp_path):
    assert main(["convert", str(package), str(tmp_path / "back")]) == 0
    assert Checkpoint.load(tmp_path / "back").digest() == Checkpoint.load(checkpoint).digest()
    assert Checkpoint.load(tmp_path / "back").data.class_names == ("sky", "cell")


def _only(package, out, keep, rename=lambda name: name):
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if keep(name):
                new.writestr(rename(name), old.read(name))
    return out


def test_of_a_package_without_a_checkpoint_the_onnx_is_read(checkpoint, package, tmp_path):
    bare = _only(package, tmp_path / "bare.zip", lambda name: name not in ("config.json", "model.safetensors"))
    assert main(["convert", str(bare), str(tmp_path / "back")]) == 0
    assert Checkpoint.load(tmp_path / "back").digest() == Checkpoint.load(checkpoint).digest()
    assert Checkpoint.load(tmp_path / "back").data.mean == (0.5,)


def test_a_bundle_or_an_onnx_file_of_ours_and_back(checkpoint, tmp_path):
    point = Checkpoint.load(checkpoint)
    write_bundle(point, tmp_path / "bundle", BundleSettings(engines=False))
    for number, source in enumerate(("bundle", "bundle/model.onnx")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / f"back{number}")]) == 0
        back = Checkpoint.load(tmp_path / f"back{number}")
        assert (back.digest(), back.data) == (point.digest(), point.data)


def test_a_bundle_that_lacks_tensors_of_training_or_is_damaged_is_refused(checkpoint, tmp_path, capsys, monkeypatch):
    write_bundle(Checkpoint.load(checkpoint), tmp_path / "bundle", BundleSettings(engines=False))
    monkeypatch.setattr(zoo_files, "_from_onnx", lambda _: None)
    assert main(["convert", str(tmp_path / "bundle"), str(tmp_path / "back")]) == 2
    assert "no tensors that only training needs; convert the checkpoint" in capsys.readouterr().err
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"")
    assert main(["convert", str(tmp_path / "bundle"), str(tmp_path / "back")]) == 2
    assert "model.onnx" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


def test_of_another_project_the_state_dict_is_read(checkpoint, package, tmp_path):
    foreign = _only(
        package,
        tmp_path / "foreign.zip",
        lambda name: name in ("rdf.yaml", "model.safetensors"),
        lambda name: name.replace("model", "weights"),
    )
    assert main(["convert", str(foreign), str(tmp_path / "back"), "--preset", "paper"]) == 0
    tensors = Checkpoint.load(tmp_path / "back").tensors
    assert all(np.array_equal(t, tensors[name]) for name, t in Checkpoint.load(checkpoint).tensors.items())


def test_a_package_without_weights_of_a_known_kind(package, tmp_path, capsys):
    bare = _only(package, tmp_path / "bare.zip", lambda name: name == "rdf.yaml")
    assert main(["convert", str(bare), str(tmp_path / "back")]) == 2
    assert "expected a checkpoint of unet train, an ONNX file" in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


def test_a_damaged_package(package, tmp_path, capsys):
    content = bytearray(package.read_bytes())
    middle = content.find(b"model.safetensors") + 200
    content[middle : middle + 40] = bytes(40)
    package.write_bytes(content)
    assert main(["convert", str(package), str(tmp_path / "back")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "back").exists()
