"""nnU-Net's own results, which parity_tests/make_nnunet_reference.py stored; and the command, from NIfTI to NIfTI."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import unet_torch
from unet_data.nnunet import Recipe, find_cases, predict_case, read_nifti, sliding, write_nifti
from unet_spec import Checkpoint, InputError, sources
from unet_tools.cli import main
from unet_tools.nnunet_rounding import probabilities_and_bounds
from unet_tools.runtimes import open_checkpoint

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
DATA = Path(__file__).with_name("data")
AFFINE = np.array([[0.7, 0, 0, -30], [0, 0.9, 0, 20], [0, 0, 4, 5], [0, 0, 0, 1.0]])
SPACING = (4.0, 0.9, 0.7)


class Stored:
    """What nnU-Net had and what it said."""

    def __init__(self, name: str):
        with np.load(DATA / f"nnunet_{name}.npz") as file:
            self.files = {key: file[key] for key in file.files}
        texts = json.loads(str(self.files["texts"]))
        self.folds = sorted({key.split(":")[0] for key in self.files if key.startswith("fold_")})
        axes = tuple(int(a) for a in self.files["mirror_axes"])
        self.recipe = Recipe.from_nnunet(texts["plans"], texts["dataset"], name, axes, tuple(self.folds))
        self.image = self.files["images"].transpose(0, 3, 2, 1)
        self.labels = self.files["labels"].T
        self.probabilities = self.files["probabilities"]

    def checkpoints(self) -> list[Checkpoint]:
        found = []
        for fold in self.folds:
            tensors = {k.split(":")[1]: v for k, v in self.files.items() if k.startswith(f"{fold}:")}
            metadata = {"plans": self.recipe.plans, "configuration": self.recipe.configuration}
            imported = sources.import_tensors("nnunet", tensors, metadata, fold)
            found.append(Checkpoint(imported.config, imported.tensors))
        return found

    def save(self, folder: Path) -> Path:
        for name, checkpoint in zip(self.folds, self.checkpoints(), strict=True):
            checkpoint.save(folder / name)
        self.recipe.save(folder)
        return folder

    def write_images(self, folder: Path) -> Path:
        folder.mkdir()
        for number, values in enumerate(self.files["images"]):
            nibabel.save(nibabel.Nifti1Image(values, AFFINE), folder / f"case_{number:04d}.nii.gz")
        return folder


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_pytorch_gives_nnunets_result(name):
    """Labels, and probabilities: of one thread within the rounding of the softmax; of more, whose sums are split
    otherwise, some of nnU-Net's sums in float16 round the other way."""
    stored = Stored(name)
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    labels = predict_case(runs, stored.image, SPACING, stored.recipe)
    np.testing.assert_array_equal(labels, stored.labels)
    assert len(np.unique(labels)) > 1
    chances = predict_case(runs, stored.image, SPACING, stored.recipe, "probabilities")
    assert np.abs(chances - stored.probabilities).max() <= 1e-4


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_onnx_runtime_gives_nnunets_result_but_for_its_rounding(name):
    """Its last bits are others, so some of nnU-Net's float16 sums round the other way: within the bounds of that."""
    stored = Stored(name)
    runs = [open_checkpoint(c, "onnx").run for c in stored.checkpoints()]
    np.testing.assert_array_equal(predict_case(runs, stored.image, SPACING, stored.recipe), stored.labels)
    own, low, high = probabilities_and_bounds(runs, stored.image, SPACING, stored.recipe)
    assert np.abs(own - stored.probabilities).max() <= 1e-4
    assert (low <= stored.probabilities).all()
    assert (stored.probabilities <= high).all()
    assert np.mean(high - low > 1e-4) < 0.2  # the bounds are near enough to say something


def test_bounds_of_rounding_see_what_is_no_rounding():
    """Logits a thousandth away, or no Gaussian weight: nnU-Net's result is out of bounds."""
    stored = Stored("2d")
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]

    def count(runs) -> int:
        _, low, high = probabilities_and_bounds(runs, stored.image, SPACING, stored.recipe)
        return int(((stored.probabilities < low) | (stored.probabilities > high)).sum())

    assert count(runs) == 0
    tilt = np.array([1e-3, 0, -1e-3], np.float32)
    assert count([lambda tiles, run=run: run(tiles) + tilt for run in runs]) > 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliding, "gaussian_weight", lambda size: np.ones(size, np.float16))
        assert count(runs) > 100


@pytest.mark.parametrize(
    "change",
    [
        lambda s: setattr(s, "image", s.image[::-1]),
        lambda s: s.recipe.plans["configurations"]["2d"].update(spacing=[0.8, 0.9]),
        lambda s: s.recipe.plans["configurations"]["2d"].update(use_mask_for_norm=[False, False]),
        lambda s: object.__setattr__(s.recipe, "mirror_axes", (0,)),
        lambda s: s.recipe.plans["configurations"]["2d"]["resampling_fn_data_kwargs"].update(order=1),
    ],
)
def test_another_step_is_another_result(change):
    """The comparison sees each of: channels swapped, another spacing, mask, mirroring, order of interpolation."""
    stored = Stored("2d")
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    change(stored)
    own = Recipe(**{f: getattr(stored.recipe, f) for f in Recipe.__dataclass_fields__})
    chances = predict_case(runs, stored.image, SPACING, own, "probabilities")
    assert np.abs(chances - stored.probabilities).max() > 1e-3


def test_the_command_goes_from_nifti_to_nifti(tmp_path, capsys):
    stored = Stored("3d_fullres")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    command = ["predict", str(model), str(images), "-o", str(tmp_path / "out"), "--runtime", "torch"]
    assert main(command) == 0
    found = nibabel.load(tmp_path / "out/case.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, stored.labels)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    one = [str(images / "case_0000.nii.gz"), "-o", str(tmp_path / "p.nii")]
    assert main(["predict", str(model), *one, "--output", "probabilities", "--json"]) == 0  # in PyTorch
    chances = np.asarray(nibabel.load(tmp_path / "p.nii").dataobj).T
    runs = [open_checkpoint(c, "torch").run for c in stored.checkpoints()]
    direct = predict_case(runs, stored.image, SPACING, stored.recipe, "probabilities")
    assert np.abs(chances - direct).max() <= 1e-6  # how near nnU-Net's are depends on the threads: see above
    done = json.loads(capsys.readouterr().out)["images"][0]
    assert (done["case"], done["runtime"]) == ("case", "torch")
    assert main([*command[:3], "-o", str(tmp_path / "planes.nii.gz"), "--runtime", "onnx"]) == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "planes.nii.gz").dataobj).T, stored.labels)
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "x"), "--tile", "64"]) == 2
    (tmp_path / "x.png").write_bytes(b"")
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "x.png")]) == 2
    (images / "case_0001.nii.gz").unlink()
    assert main([*command, "--overwrite"]) == 2
    assert "case_0001.nii.gz is missing" in capsys.readouterr().err


def test_a_case_that_is_refused_keeps_no_other_from_its_result(tmp_path, capsys):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    for number in range(2):
        (images / f"bad_{number:04d}.nii.gz").write_bytes(b"not NIfTI")
    command = ["predict", str(model), str(images), "-o", str(tmp_path / "out"), "--runtime", "torch", "--json"]
    assert main(command) == 2
    told = capsys.readouterr()
    assert "1 of 2 were not segmented: bad;" in told.err
    assert {r["case"]: "error" in r for r in json.loads(told.out)["images"]} == {"bad": True, "case": False}
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out/case.nii.gz").dataobj).T, stored.labels)
    assert main([*command, "--skip-existing"]) == 2
    assert "case.nii" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_bundle_carries_nnunets_facts_and_predicts_the_same(tmp_path):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    assert main(["export", str(model), "-o", str(tmp_path / "bundle"), "--engines", "False"]) == 0
    assert Recipe.load(tmp_path / "bundle").plans == stored.recipe.plans
    assert Recipe.load(tmp_path / "bundle/fold_1").folds == (".",)
    assert "`nnunet.json`: nnU-Net's plans" in (tmp_path / "bundle/fold_0/README.md").read_text()
    assert main(["predict", str(tmp_path / "bundle"), str(images), "-o", str(tmp_path / "out.nii.gz")]) == 0
    found = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj).T
    np.testing.assert_array_equal(found, stored.labels)


def test_nifti_round_trips_and_orientations(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    flipped = np.diag([-0.5, 2.0, 3.0, 1.0])[[0, 2, 1, 3]]
    nibabel.save(nibabel.Nifti1Image(values, flipped), tmp_path / "a.nii.gz")
    for reorient in (False, True):
        image = read_nifti([tmp_path / "a.nii.gz"], reorient)
        assert image.values.shape == ((1, 4, 3, 2) if not reorient else (1, 3, 4, 2))
        assert image.spacing == pytest.approx((3.0, 2.0, 0.5) if not reorient else (2.0, 3.0, 0.5))
        write_nifti(tmp_path / "b.nii.gz", image.values[0].astype(np.uint8), image)
        back = nibabel.load(tmp_path / "b.nii.gz")
        np.testing.assert_array_equal(np.asarray(back.dataobj), values)
        np.testing.assert_allclose(back.affine, flipped)
        assert back.get_data_dtype() == np.uint8
    flat = np.arange(12, dtype=np.float32).reshape(3, 4)
    nibabel.save(nibabel.Nifti1Image(flat, np.diag([2.0, 1.0, 1.0, 1.0])), tmp_path / "flat.nii")
    image = read_nifti([tmp_path / "flat.nii"])
    assert image.values.shape == (1, 1, 4, 3)
    assert image.spacing == (1998.0, 1.0, 2.0)


def test_files_that_are_no_case_are_named(tmp_path):
    (tmp_path / "a_0000.nii.gz").write_bytes(b"not NIfTI")
    with pytest.raises(InputError, match=r"a_0001\.nii\.gz is missing"):
        find_cases([tmp_path], 2)
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        read_nifti(find_cases([tmp_path], 1)["a"])
    with pytest.raises(InputError, match="no such file or folder"):
        find_cases([tmp_path / "b.nii.gz"], 1)
    with pytest.raises(InputError, match="not a NIfTI file"):
        find_cases([Path(__file__)], 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.float64), np.eye(4)), tmp_path / "c.nii")
    content = (tmp_path / "c.nii").read_bytes()
    (tmp_path / "c.nii").write_bytes(content[:-2000])
    with pytest.raises(InputError, match="cut short or damaged"):
        read_nifti([tmp_path / "c.nii"])
    bomb = bytearray(content)
    bomb[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1:4]
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(bomb)))
    with pytest.raises(InputError, match="its header promises 216000000000000 bytes"):
        read_nifti([tmp_path / "bomb.nii.gz"])
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 8), np.float64), np.eye(4)), tmp_path / "d.nii")
    (tmp_path / "c.nii").write_bytes(content)
    with pytest.raises(InputError, match="voxels, but"):
        read_nifti([tmp_path / "c.nii", tmp_path / "d.nii"])


def test_the_networks_of_the_folder_must_be_the_plans(tmp_path, capsys):
    stored = Stored("2d")
    model, images = stored.save(tmp_path / "model"), stored.write_images(tmp_path / "images")
    config = unet_torch.preset("same", widths=(2, 3), in_channels=2, out_channels=2)
    unet_torch.create(config).save_pretrained(model / "fold_1")
    assert main(["predict", str(model), str(images), "-o", str(tmp_path / "o"), "--runtime", "torch"]) == 2
    assert "the plans say (2, 2, 3)" in capsys.readouterr().err
