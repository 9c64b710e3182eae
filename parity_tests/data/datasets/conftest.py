"""Folders of stacks and of pairs."""

import numpy as np
import pytest

from unet_data import write_stack

from .folders import noise, png


@pytest.fixture
def stacks(tmp_path):
    write_stack(tmp_path / "train-volume.tif", noise(6, 8, 9))
    write_stack(tmp_path / "train-labels.tif", noise(6, 8, 9, seed=1, high=2) * np.uint8(255))
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    for index, name in enumerate(["b", "a", "c"]):
        png(tmp_path / "images" / f"{name}.png", noise(8, 9 + index, 3, seed=index))
        png(tmp_path / "labels" / f"{name}.png", noise(8, 9 + index, seed=index, high=2))
    return tmp_path
