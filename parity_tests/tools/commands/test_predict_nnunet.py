"""`unet predict` on cases of nnU-Net, from NIfTI to NIfTI."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import unet_torch
from unet_data.nnunet import NnunetPlans, predict_case
from unet_tools.arguments.runtimes import open_checkpoint
from unet_tools.cli import main

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
from ...fixtures.nnunet_cases import AFFINE, SPACING, Stored


def test_the_command_goes_from_nifti_to_nifti(tmp_path, capsys):
    stored = Stored("3d_fullres")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    command = ["predict", str(model), str(images), "-o", str(tmp_path / "out"), "--runtime", "torch"]
    assert main(command) == 0
    printed = capsys.readouterr()
    shape = "x".join(map(str, stored.labels.shape))
    place = re.escape(str(tmp_path / "out/case.nii.gz"))  # lines of the terminal break anywhere
    assert re.fullmatch(rf"case→{place}\({shape},torch,\d+\.\ds\)", "".join(printed.err.split()))
    assert printed.out == ""
    found = nibabel.load(tmp_path / "out/case.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, stored.labels)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    assert main(command) == 2
    assert "exists; --overwrite" in capsys.readouterr().err
    one = [str(images / "case_0000.nii.gz"), "-o", str(tmp_path / "p.nii")]
    assert main(["predict", str(model), *one, "--output", "probabilities", "--json"]) == 0  # in PyTorch
    chances = np.asarray(nibabel.load(tmp_path / "p.nii").dataobj).T
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    direct = predict_case(runs, stored.image, SPACING, stored.plans, "probabilities")
    assert (
        np.abs(chances - direct).max() <= 1e-6
    )  # the distance from nnU-Net's labels depends on the threads: see above
    printed = capsys.readouterr()
    assert "→" not in printed.err
    done = json.loads(printed.out)["images"][0]
    assert (done["case"], done["runtime"]) == ("case", "torch")
    assert main([*command[:3], "-o", str(tmp_path / "planes.nii.gz"), "--runtime", "onnx"]) == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "planes.nii.gz").dataobj).T, stored.labels)
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "x"), "--tile", "64"]) == 2
    (tmp_path / "x.png").write_bytes(b"")
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "x.png")]) == 2
    (images / "case_0001.nii.gz").unlink()
    assert main([*command, "--overwrite"]) == 2
    assert "case_0001.nii.gz is missing" in capsys.readouterr().err


def test_a_scan_is_never_replaced_by_its_labels(tmp_path, capsys):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    scan = images / "case_0000.nii.gz"
    content = scan.read_bytes()
    (tmp_path / "link.nii.gz").symlink_to(scan)
    (tmp_path / "hard.nii.gz").hardlink_to(scan)
    (tmp_path / "there").symlink_to(images)
    (images / "case.nii.gz").write_bytes(content)
    single = images / "case.nii.gz"
    for target in (scan, tmp_path / "link.nii.gz", tmp_path / "hard.nii.gz", tmp_path / "there/../images" / scan.name):
        assert main(["predict", str(model), str(images), "-o", str(target), "--overwrite"]) == 2
        assert main(["predict", str(model), str(scan), "-o", str(target), "--overwrite"]) == 2
        assert "itself; choose another name" in capsys.readouterr().err
    assert main(["predict", str(model), str(single), "-o", str(images), "--overwrite"]) == 2
    assert "itself; choose another name" in capsys.readouterr().err
    assert {p.read_bytes() for p in (scan, single)} == {content}


def test_a_case_that_is_refused_keeps_no_other_from_its_result(tmp_path, capsys):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    for number in range(2):
        (images / f"bad_{number:04d}.nii.gz").write_bytes(b"not NIfTI")
    command = ["predict", str(model), str(images), "-o", str(tmp_path / "out"), "--runtime", "torch", "--json"]
    assert main(command) == 2
    printed = capsys.readouterr()
    assert "1 of 2 failed: bad;" in printed.err
    assert {r["case"]: "error" in r for r in json.loads(printed.out)["images"]} == {"bad": True, "case": False}
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out/case.nii.gz").dataobj).T, stored.labels)
    assert main([*command, "--skip-existing"]) == 2
    assert "case.nii" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_bundle_carries_nnunets_facts_and_predicts_the_same(tmp_path):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    assert main(["export", str(model), "-o", str(tmp_path / "bundle"), "--engines", "False"]) == 0
    assert NnunetPlans.load(tmp_path / "bundle").plans == stored.plans.plans
    assert NnunetPlans.load(tmp_path / "bundle/fold_1").folds == (".",)
    assert "`nnunet.json`: nnU-Net's plans" in (tmp_path / "bundle/fold_0/README.md").read_text()
    assert main(["predict", str(tmp_path / "bundle"), str(images), "-o", str(tmp_path / "out.nii.gz")]) == 0
    found = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj).T
    np.testing.assert_array_equal(found, stored.labels)


def test_the_networks_of_the_folder_must_be_the_plans(tmp_path, capsys):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    config = unet_torch.preset("same", widths=(2, 3), in_channels=2, out_channels=2)
    unet_torch.create(config).save_pretrained(model / "fold_1")
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "o"), "--runtime", "torch"]) == 2
    assert "the plans say (2, 2, 3)" in capsys.readouterr().err
