"""`unet train` on volumes."""

import json

import numpy as np
import pytest
import tifffile

from unet_data import membranes
from unet_spec import Checkpoint
from unet_tools.cli import main

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
