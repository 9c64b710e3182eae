"""`unet train --labels`."""

import json

import numpy as np
import pytest

from unet_data import write_stack
from unet_spec import Checkpoint
from unet_tools.cli import main

from ...fixtures.no_training import STOPPED, without_training


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


def printed(capsys, *command):
    assert main([str(word) for word in command]) == 0
    return capsys.readouterr().out


def test_wide_masks_of_classes_are_classes_where_one_says_so(data, capsys):
    found = json.loads(printed(capsys, "data", "check", data, "--json"))
    assert list(found["classes"]) == ["background", "foreground"]
    assert "--labels semantic" in " ".join(printed(capsys, "data", "check", data).split())
    found = json.loads(printed(capsys, "data", "check", data, "--labels", "semantic", "--json"))
    assert found["classes"] == pytest.approx({"class 0": 1 / 3, "class 1": 1 / 3, "class 2": 1 / 3})


RUN = ["train", "data", "--out", "run", "--widths", "2", "3", "--steps", "2", "--tile", "28", "--no-report"]


@pytest.mark.slow
def test_a_network_of_these_classes_is_trained_and_evaluated(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    printed(capsys, *RUN, "--labels", "semantic")
    assert Checkpoint.load(data.parent / "run" / "best").config.out_channels == 3
    scores = json.loads(printed(capsys, "evaluate", "run/best", "data", "--labels", "semantic", "--json"))
    assert 0 <= scores["iou"] <= 1


@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_a_run_keeps_it_for_the_next_time(loader, data, monkeypatch):
    asked = without_training(monkeypatch)
    monkeypatch.chdir(data.parent)
    assert main([*RUN, "--labels", "semantic", "--loader", loader, "--workers", "0"]) == STOPPED
    assert json.loads((data.parent / "run" / "run.json").read_text())["settings"]["labels"] == "semantic"
    assert main([*RUN, "--resume", "--steps", "3"]) == STOPPED
    assert main(["train", "--config", "run/run.json"]) == STOPPED
    assert [call.config.out_channels for call in asked] == [3, 3, 3]
    assert [call.settings.data.labels for call in asked] == ["semantic"] * 3
    assert asked[2].out.name == "run-2"


@pytest.fixture
def masks(tmp_path):
    """Images with a disc inside a disc, and a mask file for each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    for i in range(6):
        distance = np.hypot(*(np.stack([y, x]) - rng.integers(12, 20, 2)[:, None, None]))
        discs = {"inner": distance < 5, "outer": distance < 10}
        image = 50 + 60 * discs["outer"] + 90 * discs["inner"] + rng.normal(0, 5, (32, 32))
        for folder, array in {"images": image, **{f"labels/{k}": 255 * m for k, m in discs.items()}}.items():
            (tmp_path / "masks" / folder).mkdir(parents=True, exist_ok=True)
            write_stack(tmp_path / "masks" / folder / f"{i}.png", array.clip(0, 255).astype(np.uint8)[None])
    return tmp_path / "masks"


@pytest.mark.slow
def test_classes_that_overlap_are_trained_on_and_measured(masks, capsys, monkeypatch):
    monkeypatch.chdir(masks.parent)
    printed(capsys, "train", "masks", "--labels", "overlapping", "--out", "run", "--preset", "same", "--widths", "4",
            "8", "--steps", "60", "--tile", "32", "--batch", "2", "--learning-rate", "0.02", "--loader", "grain",
            "--workers", "0", "--log", "tensorboard", "--validate-every", "60")  # fmt: skip
    best = Checkpoint.load(masks.parent / "run" / "best")
    assert (best.data.class_names, best.data.overlapping, best.config.out_channels) == (("inner", "outer"), True, 2)
    assert (masks.parent / "run" / "report.html").exists()
    output = printed(capsys, "evaluate", "run/best", "masks")
    assert "labels read as masks of overlapping classes, one file per class" in " ".join(output.split())
    scores = json.loads(printed(capsys, "evaluate", "run/best", "masks", "--json"))
    assert scores["iou outer"] > 0.6
    assert scores["iou"] == pytest.approx((scores["iou inner"] + scores["iou outer"]) / 2)
    printed(capsys, "train", "masks", "--out", "run", "--resume", "--steps", "61")
    found = json.loads(printed(capsys, "data", "check", "masks", "--labels", "overlapping", "--json"))
    assert found["classes"]["outer"] > found["classes"]["inner"] > 0


def test_masks_and_a_network_of_one_class_a_pixel_do_not_meet(masks, data, capsys, monkeypatch):
    monkeypatch.chdir(masks.parent)
    run = ["train", "data", "--out", "run", "--widths", "2", "3", "--steps", "1", "--tile", "28", "--no-report"]
    printed(capsys, *run, "--labels", "semantic")
    assert main(["evaluate", "run/best", "masks", "--labels", "overlapping"]) == 2
    assert "train a network with --labels overlapping" in " ".join(capsys.readouterr().err.split())
    assert main(["train", "masks", "--out", "other"]) == 2
    assert "pass --labels overlapping" in " ".join(capsys.readouterr().err.split())
