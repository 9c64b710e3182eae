"""A checkpoint and a folder of images and labels, written once."""

from __future__ import annotations

import numpy as np
import pytest

from unet_data import membranes, write_stack
from unet_spec import Checkpoint, DataSpec, preset, random_tensors

SMALL = {2: (6, 48), 3: (3, 32)}
PAPER = preset("paper", widths=(2, 3, 4), dropout=0.0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "checkpoint"
    Checkpoint(PAPER, random_tensors(PAPER.graph, 0), DataSpec((0.5,), (0.2,), ("membrane", "cell"))).save(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    made = membranes(4, 61, 0)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for name, image, label in zip("abcd", made.images, made.labels, strict=True):
        write_stack(folder / "images" / f"{name}.png", image[None])
        write_stack(folder / "labels" / f"{name}.png", (label[None] * 255).astype(np.uint8))
    return folder


@pytest.fixture(autouse=True)
def small_synthetic(monkeypatch):
    """Makes the data set "synthetic" smaller; arguments/test_data.py tests its real size."""
    monkeypatch.setattr("unet_tools.arguments.data.SYNTHETIC", SMALL)
