"""A missing optional package is reported before any work, with the install command."""

import sys

import numpy as np
import pytest
from PIL import Image

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
OBJECTS = ["predict", "best", "image.png", "-o", "cells.tif", "--output", "objects"]
TRAIN = ["train", "synthetic", "--recipe", "none", "--steps", "1", "--widths", "2", "4", "--tile", "28", "--out", "run"]


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("matplotlib", "report", ["evaluate", "best", "synthetic", "--report", "page"]),
        ("jinja2", "report", ["evaluate", "best", "synthetic", "--report", "page"]),
        ("matplotlib", "report", ["diff", "best", "best", "-o", "plot.png"]),
        ("pyarrow", "objects", [*OBJECTS, "--table", "cells.parquet"]),
        ("roifile", "objects", [*OBJECTS, "--outlines", "cells.zip"]),
        ("tensorboardX", "tensorboard", [*TRAIN, "--log", "tensorboard"]),
        ("mlflow", "mlflow", [*TRAIN, "--log", "mlflow"]),
        ("wandb", "wandb", [*TRAIN, "--log", "wandb"]),
    ],
)
def test_it_is_named_before_any_work(package, extra, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), DataSpec((0.5,), (0.2,))).save("best")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save("image.png")
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{package} is not installed; pip install 'unet-twins[{extra}]'" in last
    assert sorted(tmp_path.iterdir()) == before
