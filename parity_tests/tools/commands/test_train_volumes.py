"""`unet train` on volumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_data import membranes
from unet_spec import Checkpoint
from unet_tools.cli import main

from ...data.spacing.balls import ball

FLAGS = ["--widths", "2", "4", "--tile", "28", "--schedule", "constant", "--no-report", "--json"]


@pytest.fixture
def volumes(tmp_path):
    data = membranes(3, (12, 32, 40), 0, spatial_dims=3)
    assert data.labels is not None
    for kind, arrays, scale in (("images", [image[..., 0] for image in data.images], 1), ("labels", data.labels, 255)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name, array in zip("abc", arrays, strict=True):
            tifffile.imwrite(tmp_path / "data" / kind / f"{name}.tif", (array * scale).astype(np.uint8))
    return tmp_path / "data"


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [["--recipe", "paper-2015"], pytest.param(["--padding", "same", "--recipe", "modern"], marks=pytest.mark.slow)],
)
def test_a_network_of_volumes_is_trained_and_used(volumes, tmp_path, capsys, flags):
    run = tmp_path / "run"
    command = ["train", str(volumes), "--out", str(run), "--spatial-dims", "3", *flags, *FLAGS]
    assert main([*command, "--steps", "2"]) == 0, capsys.readouterr().err
    config = Checkpoint.load(run / "best").config.to_dict()
    assert config["spatial_dims"] == 3
    assert config["padding"] == ("same" if "same" in flags else "valid")
    if config["padding"] == "valid":
        assert main([*command, "--steps", "3", "--resume"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["evaluate", str(run / "best"), str(volumes), "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["iou"] < 1
    out = tmp_path / "out.tif"
    assert main(["predict", str(run / "best"), str(volumes / "images" / "a.tif"), "-o", str(out)]) == 0
    assert tifffile.imread(out).shape == (12, 32, 40)


@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_pictures_are_no_volumes(volumes, tmp_path, capsys, loader):
    for kind in ("images", "labels"):
        for path in (volumes / kind).iterdir():
            tifffile.imwrite(path, tifffile.imread(path)[0])
    flags = ["--spatial-dims", "3", "--loader", loader, *FLAGS]
    assert main(["train", str(volumes), "--out", str(tmp_path / "run"), *flags]) == 2
    line = capsys.readouterr().err
    assert "every file holds one plane, but the network is 3-D" in line
    assert line.count("\n") == 1


@pytest.fixture
def scans(tmp_path):
    """Scans of a ball as NIfTI files of two pixel sizes."""
    nibabel = pytest.importorskip("nibabel")
    spacings = ((1.0, 1.0, 1.0), (2.0, 1.0, 0.75), (1.0, 1.5, 1.5))
    for name, spacing in zip("abc", spacings, strict=True):
        mask = ball(spacing)
        for kind, values in (("images", mask * np.uint8(150) + np.uint8(50)), ("labels", mask.astype(np.uint8))):
            (tmp_path / "scans" / kind).mkdir(parents=True, exist_ok=True)
            file = nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([*spacing[::-1], 1.0]))
            file.header.set_xyzt_units("mm")
            nibabel.save(file, tmp_path / "scans" / kind / f"{name}.nii.gz")
    return tmp_path / "scans"


def test_the_plan_resamples_scans_of_several_pixel_sizes(scans, capsys):
    command = ["plan", str(scans), "--spatial-dims", "3", "--steps", "2", "--widths", "2", "4", "--json"]
    assert main(command) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["settings"]["spacing"] == "1,1,1"
    assert planned["figures"]["median"] == [24, 30, 36]
    assert main([*command, "--spacing", "none"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["settings"]["spacing"] == "none"
    assert "differ by a factor of up to 2 along an axis" in " ".join(said.err.split())
    assert main([*command, "--spacing", "2,1"]) == 2
    assert "one number, or one for each of the 3 axes" in capsys.readouterr().err


@pytest.mark.slow
def test_scans_of_several_pixel_sizes_are_resampled_and_results_have_their_own_pixels(scans, tmp_path, capsys):
    run, flags = tmp_path / "run", ["--spatial-dims", "3", "--steps", "2", "--recipe", "modern"]
    assert main(["train", str(scans), "--out", str(run), *flags, "--spacing", "auto", *FLAGS]) == 0
    checkpoint = Checkpoint.load(run / "best")
    assert (checkpoint.data.spacing, checkpoint.data.spacing_unit) == ((1.0, 1.0, 1.0), "mm")
    capsys.readouterr()
    assert main(["evaluate", str(run / "best"), str(scans), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    note = "resampled to pixels of 1 x 1 x 1 mm for the network, and its result back: 2 of 3 images"
    assert note in found["decisions"]
    out = tmp_path / "out"
    assert main(["predict", str(run / "best"), str(scans / "images"), "-o", str(out), "--json"]) == 0
    shapes = {Path(i["image"]).name: i["shape"] for i in json.loads(capsys.readouterr().out)["images"]}
    assert shapes == {"a.nii.gz": [24, 30, 36], "b.nii.gz": [12, 30, 48], "c.nii.gz": [24, 20, 24]}
