"""`unet train --objects`: a border class, and object settings chosen on the validation images."""

import json

import numpy as np
import pytest
import tifffile

from unet_data import ObjectSettings
from unet_spec import Checkpoint
from unet_tools.cli import main

from ...data.objects.maps import discs


def folder_of(path, instances=True):
    rng = np.random.default_rng(0)
    for name in "abcd":
        labels = np.zeros((48, 52), np.uint16)
        for number, circle in enumerate([(15, 15, 8), (15, 30, 7), (34, 20, 9)], start=1):
            labels[(discs(labels.shape, [circle]) > 0) & (labels == 0)] = number if instances else 1
        image = (labels > 0) * 120 + rng.integers(0, 60, labels.shape)
        for kind, values in (("images", image.astype(np.uint8)), ("labels", labels)):
            (path / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path / kind / f"{name}.tif", values)
    return path


def train(data, out, *flags):
    small = ["--preset", "same", "--widths", "2", "4", "--steps", "2", "--tile", "32", "--batch", "1"]
    return main(["train", str(data), "--out", str(out), *small, "--no-large-pages", *flags])


def test_the_border_is_a_class_and_the_choice_is_stored(tmp_path, capsys):
    data = folder_of(tmp_path / "data")
    assert train(data, tmp_path / "run", "--objects") == 0
    said = capsys.readouterr()
    assert "with a class for the border (2 pixels wide) between objects" in said.err
    assert "best/ is chosen by ap_mean: mean AP of objects" in said.err
    assert "chosen on the validation images" in said.err
    assert "ap_mean" in said.out
    if (tmp_path / "run" / "report.json").exists():  # if matplotlib and jinja2 are installed
        shown = json.loads((tmp_path / "run" / "report.json").read_text())["objects"]
        assert shown["total_images"] == 1
        assert sum(shown["counts"].values()) > 0
        assert [image["rank"] for image in shown["images"]] == ["only"]
    best, last = (Checkpoint.load(tmp_path / "run" / name) for name in ("best", "last"))
    assert best.data.class_names == ("background", "object", "border")
    assert best.data.objects == last.data.objects
    assert ObjectSettings.from_dict(best.data.objects, "best").border == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["objects"] is True
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all("ap_mean" in record for record in records if "iou" in record)
    flags = ["-o", str(tmp_path / "o.tif"), "--output", "objects"]
    assert main(["predict", str(tmp_path / "run" / "best"), str(data / "images" / "a.tif"), *flags]) == 0
    assert "(stored with the network)" in capsys.readouterr().err


def test_labels_that_number_no_objects_are_refused(tmp_path, capsys):
    assert train(folder_of(tmp_path / "data", instances=False), tmp_path / "run", "--objects") == 2
    assert "give each object its own number" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_distance_head_is_trained_and_kept(tmp_path, capsys):
    data = folder_of(tmp_path / "data")
    assert train(data, tmp_path / "run", "--distance-head") == 0
    assert "chosen on the validation images" in capsys.readouterr().err
    best = Checkpoint.load(tmp_path / "run" / "best")
    assert best.config.distance_head
    assert ObjectSettings.from_dict(best.data.objects, "best").distance == 2
    report = tmp_path / "run" / "report.json"
    if report.exists():  # if matplotlib and jinja2 are installed
        before = json.loads(report.read_text())["objects"]
        assert before is not None
        assert main(["report", str(tmp_path / "run")]) == 0
        assert json.loads(report.read_text())["objects"] == before
    flags = ["-o", str(tmp_path / "o.tif"), "--output", "objects", "--object-settings", "method=predicted"]
    assert main(["predict", str(tmp_path / "run" / "best"), str(data / "images" / "a.tif"), *flags]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--distance-head needs labels that number objects"),
        (["--preset", "m-net"], "only a U-Net predicts distances"),
    ],
)
def test_a_distance_head_that_cannot_be_trained_is_refused(flags, message, tmp_path, capsys):
    assert train(folder_of(tmp_path / "data", instances=False), tmp_path / "run", "--distance-head", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
