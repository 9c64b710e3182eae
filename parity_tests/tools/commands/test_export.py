"""`unet export` refuses in one line and leaves no files."""

import errno
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_data.nnunet import find_plans
from unet_export.tensorrt import child as tensorrt_child
from unet_spec import Checkpoint, random_tensors
from unet_tools.checking.findings import Finding
from unet_tools.cli import main
from unet_tools.commands import export

from ...fixtures.nnunet_cases import Stored
from .refusals import CONFIG, RTX, point, refused


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("--precision", "int8"), "int8 must be calibrated"),
        (("--precision", "fp8"), "--calibrate DATA"),
        (("--precision", "fp16", "fp16"), "listed twice"),
        (("--calibrate", "no/such/folder"), "no/such/folder"),
        (("--bake", "softmax", "argmax"), "not both"),
        (("--golden", "no.tif"), "no.tif"),
        (("--workspace-mib", "0"), "must be at least 1"),
        (("--name", "a/b"), "the name 'a/b' cannot be a model's"),
        (("--name", "cells", "--to", "cpp"), "--name is for the models for Triton in a bundle"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arguments, printed, work, capsys):
    before = sorted(p.name for p in work.iterdir())
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "False", *arguments)
    assert printed in line
    assert sorted(p.name for p in work.iterdir()) == before, "no partial bundle"


@pytest.mark.parametrize("name", ["model.onnx", "model.torch.onnx", "model.pt2", "model.stablehlo"])
def test_one_file_takes_no_precision(name, work, capsys):
    line = refused(capsys, "export", work / "checkpoint", "-o", work / name, "--precision", "fp16")
    assert "is one file in float32; for precisions, engines or --bake give a folder" in line
    assert not (work / name).exists()


def test_a_checkpoint_with_nan_weights(work, capsys):
    point(head__weight=np.nan).save(work / "checkpoint")
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "False")
    assert "head.weight contains NaN" in line
    assert not (work / "new").exists()


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'")
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("--compute-capabilities", "90"), "TensorRT for RTX builds for"),
        (("--compute-capabilities", "75", "--precision", "bf16"), "75 has no bf16"),
        (("--version-compatible",), "builds no version-compatible engines"),
        (("--hardware-compatible",), "list several compute capabilities instead"),
        (("--timing-cache", "no/such/folder/cache"), "cannot write no/such/folder/cache: there is no folder"),
    ],
)
def test_engines_that_cannot_be_built(arguments, printed, work, capsys):
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "True", *arguments)
    assert printed in line
    assert not (work / "new").exists()


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'")
def test_a_builder_that_crashes(work, capsys, monkeypatch):
    crash = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(tensorrt_child, "_CHILD", crash)
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "True")
    assert "crashed (SIGSEGV)" in line
    assert not (work / "new").exists()


def test_no_tensorrt(work, capsys, monkeypatch):
    monkeypatch.setattr("unet_export.bundle.engines.available_backends", lambda: ())
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "True")
    assert "no TensorRT is installed; pip install" in line
    assert not (work / "new").exists()


def test_a_disk_that_is_full(work, capsys, monkeypatch):
    right = Path.write_bytes

    def full(self, content):
        if self.name.endswith(".npz"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return right(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    before = sorted(p.name for p in work.iterdir())
    line = refused(capsys, "export", work / "checkpoint", "-o", work / "new", "--engines", "False", code=1)
    assert "No space left on device" in line
    assert sorted(p.name for p in work.iterdir()) == before


@pytest.mark.parametrize("code", [0, 1])
def test_folds_of_nnunet_are_bundles_beside_each_other_and_one_model_for_triton(code, tmp_path, monkeypatch, capsys):
    stored = Stored("2d")
    folder, out = stored.save(tmp_path / "model"), tmp_path / "out"
    done, called = [], {}

    def one(args, plans):
        done.append((args.checkpoint, args.out, args.name, plans.folds))
        args.out.mkdir(parents=True)
        return code if args.out.name == stored.folds[-1] else 0

    def add(source, server):
        called["server"] = (source, server)
        return ["a", "b"]

    monkeypatch.setattr(export, "_export", one)
    monkeypatch.setattr(export, "write_nnunet_repository", lambda *found: called.update(repository=found))
    monkeypatch.setattr(export, "add_models", add)
    words = ["export", str(folder), "-o", str(out), "--name", "cells", "--triton", str(tmp_path / "server")]
    assert main(words) == code  # of the worst fold
    assert done == [(folder / fold, out / fold, None, (".",)) for fold in stored.folds]
    where, plans, bundles, name = called["repository"]
    assert (where, plans.folds, name) == (out / "triton", tuple(stored.folds), "cells")
    assert bundles == [out / fold for fold in stored.folds]
    assert find_plans(out).folds == tuple(stored.folds)
    if code:
        assert "server" not in called  # a server gets no model that failed its check
    else:
        assert called["server"] == (out / "triton", tmp_path / "server")
        assert "server has the models a, b" in " ".join(capsys.readouterr().err.split())


def test_folds_of_nnunet_are_no_single_file(tmp_path, capsys):
    folder = Stored("2d").save(tmp_path / "model")
    line = refused(capsys, "export", folder, "-o", tmp_path / "m.onnx")
    assert "has 2 folds; export one of them to .onnx" in line
    line = refused(capsys, "export", folder, "-o", tmp_path / "b", "--triton-objects", "True")
    assert "nnU-Net's model for Triton gives labels; leave out --triton-objects" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def one_file(capsys, monkeypatch, work, *words, distance=1e-6, code=0):
    """What is printed, and with what the file would have been written."""
    given = {}

    def write(checkpoint, path, size, opset, fixed):
        given.update(path=path, size=size, opset=opset, fixed=fixed)
        return distance

    monkeypatch.setattr(export, "write_framework_file", write)
    assert main(["export", str(work / "checkpoint"), "-o", str(work / "m.onnx"), *words]) == code
    return capsys.readouterr().out, given


@pytest.mark.parametrize(("distance", "code"), [(1e-5, 0), (1.1e-5, 1)])
def test_one_file_is_as_good_as_float32_or_a_failure(distance, code, work, capsys, monkeypatch):
    printed, given = one_file(capsys, monkeypatch, work, distance=distance, code=code)
    assert given == {"path": work / "m.onnx", "size": (252, 252), "opset": None, "fixed": False}
    said = " ".join(printed.split())
    assert said.endswith(f"252x252 pixels, {distance:.1e} from the float64 reference (bound 1e-05)")
    printed, given = one_file(
        capsys, monkeypatch, work, "--json", "--opset", "17", "--size", "36", "44", distance=distance, code=code
    )
    assert given == {"path": work / "m.onnx", "size": (36, 44), "opset": 17, "fixed": True}
    square = one_file(capsys, monkeypatch, work, "--json", "--size", "36", distance=distance, code=code)[1]
    assert square["size"] == (36, 36)
    assert json.loads(printed) == {
        "file": str(work / "m.onnx"), "size": [36, 44], "worst_relative": distance, "bound": 1e-5,
    }  # fmt: skip


def test_one_file_of_volumes_is_traced_at_a_smaller_size(tmp_path, capsys, monkeypatch):
    config = CONFIG.replace(spatial_dims=3, widths=(2, 4))
    Checkpoint(config, random_tensors(config.graph, 2)).save(tmp_path / "checkpoint")
    assert one_file(capsys, monkeypatch, tmp_path)[1]["size"] == (60, 60, 60)
    line = refused(capsys, "export", tmp_path / "checkpoint", "-o", tmp_path / "m.onnx", "--size", "28", "36")
    assert "--size has 2 numbers; give one, or one for each of the 3 axes" in line


@pytest.mark.parametrize(
    ("out", "words", "printed"),
    [
        ("m.onnx", ("--sign", "key.pem"), "--sign signs a bundle; "),
        ("m.onnx", ("--triton-objects", "False"), "--triton-objects is for the models for Triton in a bundle; "),
        ("m.onnx", ("--bake", "argmax"), "is one file in float32"),
        ("m.onnx", ("--engines", "True"), "is one file in float32"),
        ("m.onnx", ("--calibrate", "synthetic"), "is one file in float32"),
        ("new", ("--opset", "17"), "--opset and --size are for one .onnx file, such as -o "),
        ("new", ("--size", "28", "28"), "new.onnx, not for a bundle"),
        ("new.pth", (), "new.pth: a bundle is a folder; unet convert "),
        ("new.zip", (), "new.zip: a bundle is a folder; --to bioimageio writes a .zip"),
        ("new", ("--title", "cells"), "--title needs --to; a bundle has no place for it"),
        ("new", ("--to", "cpp", "--sign", "key.pem"), "--sign signs a bundle, not what --to cpp writes"),
        ("new", ("--to", "web", "--triton", "server"), "--triton is for the models for Triton in a bundle; --to web"),
        ("new", ("--to", "web", "--precision", "fp16"), "--to web writes float32 for any machine; leave out"),
        ("new", ("--to", "web", "--bake", "argmax"), "leave out --precision, --bake and --engines"),
        ("new", ("--to", "web", "--engines", "True"), "leave out --precision, --bake and --engines"),
    ],
)
def test_what_a_result_has_no_place_for_is_refused(out, words, printed, work, capsys):
    line = refused(capsys, "export", work / "checkpoint", "-o", work / out, *words)
    assert printed in line
    assert not (work / out).exists()


@pytest.mark.parametrize("passed", [True, None, False])
def test_a_bundle_is_written_with_its_settings_and_checked(passed, work, capsys, monkeypatch):
    given = {}
    engine = SimpleNamespace(to_dict=lambda: {"file": "e"})

    def write(checkpoint, out, settings, **options):
        given.update(settings=settings, **options)
        (out / "part").mkdir(parents=True)
        (out / "part" / "a.bin").write_bytes(bytes(1234))
        return SimpleNamespace(engines=[engine], digest="abc")

    findings = [Finding("onnx", "fp32", ok=True), Finding("jax", "fp32", ok=passed)]
    monkeypatch.setattr(export, "write_bundle", write)
    monkeypatch.setattr(export, "sign_bundle", lambda *found: given.update(signed=found))
    monkeypatch.setattr(export, "check_bundle", lambda folder: findings)
    image = np.zeros((5, 6, 1), np.uint8)
    monkeypatch.setattr(export, "read_image", lambda path: image)
    words = ["export", str(work / "checkpoint"), "-o", str(work / "new"), "--precision", "fp16", "fp32"]
    words += ["--engines", "False", "--bake", "argmax", "--licence", "MIT", "--name", "cells", "--golden", "g.png"]
    words += ["--sign", "key.pem", "--triton-objects", "False"]
    assert main([*words, "--json"]) == (passed is False)
    found = json.loads(capsys.readouterr().out)
    own = asdict(findings[1])
    assert {**found, "findings": found["findings"][1]} == {
        "bundle": str(work / "new"), "digest": "abc", "signed": True, "engines": [{"file": "e"}], "findings": own,
    }  # fmt: skip
    settings = given["settings"]
    assert (settings.precisions, settings.engines, settings.fused_steps) == (("fp16", "fp32"), False, ("argmax",))
    assert (settings.licence, settings.name, settings.triton_objects) == ("MIT", "cells", False)
    assert given["golden_image"] is image
    assert given["calibration"] is None
    assert given["extras"] is None
    assert given["signed"] == (work / "new", "key.pem")
    shutil.rmtree(work / "new")
    assert main(words) == (passed is False)
    said = " ".join(capsys.readouterr().out.split())
    assert "part/a.bin" in said
    assert "1,234" in said
    assert said.endswith("digest of the bundle (SHA-256 of manifest.json): abc; signed with key.pem")
