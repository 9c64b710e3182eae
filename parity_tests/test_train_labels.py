"""`--labels`: what the numbers of the masks are, where the files alone cannot tell."""

import json

import numpy as np
import pytest

from unet_data import write_stack
from unet_spec import Checkpoint
from unet_tools.cli import main


@pytest.fixture
def data(tmp_path):
    """16-bit masks of the classes 0, 1 and 2, in blocks that touch."""
    rng = np.random.default_rng(0)
    for i in range(4):
        classes = np.kron(rng.permutation(9).reshape(3, 3) % 3, np.ones((16, 16), int)).astype(np.uint16)
        for folder, array in (("images", (classes * 90).astype(np.uint8)), ("labels", classes)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write_stack(tmp_path / "data" / folder / f"{i}.tif", array[None])
    return tmp_path / "data"


def told(capsys, *command):
    assert main([str(word) for word in command]) == 0
    return capsys.readouterr().out


def test_wide_masks_of_classes_are_classes_where_one_says_so(data, capsys):
    found = json.loads(told(capsys, "data", "check", data, "--json"))
    assert list(found["classes"]) == ["background", "foreground"]
    assert "--labels semantic" in " ".join(told(capsys, "data", "check", data).split())
    found = json.loads(told(capsys, "data", "check", data, "--labels", "semantic", "--json"))
    assert found["classes"] == pytest.approx({"class 0": 1 / 3, "class 1": 1 / 3, "class 2": 1 / 3})


@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_training_keeps_it_for_the_next_time(loader, data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    run = ["train", "data", "--out", "run", "--widths", "2", "3", "--steps", "2", "--tile", "28", "--no-report"]
    told(capsys, *run, "--labels", "semantic", "--loader", loader, "--workers", "0")
    assert Checkpoint.load(data.parent / "run" / "best").config.out_channels == 3
    assert json.loads((data.parent / "run" / "run.json").read_text())["settings"]["labels"] == "semantic"
    told(capsys, *run, "--resume", "--steps", "3")
    told(capsys, "train", "--config", "run/run.json")
    assert Checkpoint.load(data.parent / "run-2" / "best").config.out_channels == 3
    scores = json.loads(told(capsys, "evaluate", "run/best", "data", "--labels", "semantic", "--json"))
    assert 0 <= scores["iou"] <= 1
