"""`unet export` refuses in one line and leaves no files."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_data.nnunet import find_plans
from unet_export.tensorrt import child as tensorrt_child
from unet_tools.cli import main
from unet_tools.commands import export

from ...fixtures.nnunet_cases import Stored
from .refusals import RTX, point, refused


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
