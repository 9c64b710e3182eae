"""`unet evaluate` on labels that number objects, and on sequences of the Cell Tracking Challenge."""

import json

import numpy as np
import pytest
import tifffile

from unet_data import ObjectSettings, instance_scores, objects_of, open_dataset, write_sequence
from unet_spec import Checkpoint
from unet_tools.cli import main

from ...data.objects.maps import discs
from .test_predict_objects import exact_network, image_of


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate("ab"):
        labels = np.zeros((61, 53), np.uint16)
        for number, circle in enumerate([(20, 20, 9), (20, 36, 8), (45, 30, 9 + seed)], start=1):
            labels[discs(labels.shape, [circle]) > 0] = number
        for folder, values in (("images", image_of(labels.shape) + (labels > 0)), ("labels", labels)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "data" / folder / f"{name}.tif", values)
    return tmp_path


def evaluate(folder, capsys, *flags):
    assert main(["evaluate", str(folder / "ck"), str(folder / "data"), "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("names", [("background", "cell"), ("background", "object", "border")])
def test_scores_are_those_of_predicted_objects_and_settings_are_stored(data, names, capsys):
    exact_network(data / "ck", len(names), names)
    before = Checkpoint.load(data / "ck")
    scores = evaluate(data, capsys)
    files = [str(data / "data" / "images" / f"{n}.tif") for n in "ab"]
    predict = ["predict", str(data / "ck"), *files, "--output", "objects"]
    assert main([*predict, "-o", str(data / "out")]) == 0
    truths = [np.asarray(own) for own in open_dataset(data / "data").instances]  # objects that touch lose a line
    expected = instance_scores(truths, [tifffile.imread(data / "out" / f"{n}.tif") for n in "ab"])
    for name, value in expected.items():
        assert scores[name] == (None if np.isnan(value) else pytest.approx(value)), name

    chosen = evaluate(data, capsys, "--choose-objects")
    assert chosen["ap_mean"] >= scores["ap_mean"]
    after = Checkpoint.load(data / "ck")
    assert after.digest() == before.digest()
    own = ObjectSettings.from_dict(after.data.objects, "stored")
    assert own.border == (2 if len(names) == 3 else None)
    assert evaluate(data, capsys)["ap_mean"] == chosen["ap_mean"]
    assert main([*predict, "-o", str(data / "again")]) == 0
    said = capsys.readouterr().err
    assert f"separated by {own.described()} (stored with the network)" in said
    again = [tifffile.imread(data / "again" / f"{n}.tif") for n in "ab"]
    assert instance_scores(truths, again)["ap_mean"] == pytest.approx(chosen["ap_mean"])


def test_settings_that_find_nothing_are_named(data, capsys):
    exact_network(data / "ck")
    point = Checkpoint.load(data / "ck")
    values = point.tensors | {list(point.tensors)[-1]: np.array([1e6, 0], np.float32)}  # background everywhere
    Checkpoint(point.config, values, point.data).save(data / "ck")
    assert main(["evaluate", str(data / "ck"), str(data / "data"), "--choose-objects"]) == 0
    assert "warning: no settings find an object of these images" in capsys.readouterr().err


def test_the_table_names_them(data, capsys):
    exact_network(data / "ck")
    assert main(["evaluate", str(data / "ck"), str(data / "data")]) == 0
    found = capsys.readouterr()
    assert "settings of the object separation: method distance" in found.err
    for name in ("objects_true", "ap@0.50", "pq@0.75", "ap_mean", "dsb2018", "aji", "split", "merged"):
        assert name in found.out
    assert "ap@0.55" not in found.out


def test_choosing_needs_objects(data, capsys):
    exact_network(data / "ck")
    command = ["evaluate", str(data / "ck"), str(data / "data"), "--choose-objects", "--labels", "semantic"]
    for name in "ab":
        path = data / "data" / "labels" / f"{name}.tif"
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8))
    assert main(command) == 2
    assert "labels that number objects" in capsys.readouterr().err
    assert objects_of(np.ones((3, 3)))[0].max() == 1


def test_a_sequence_of_the_challenge(tmp_path, capsys):
    frames = [np.zeros((9, 9), np.uint16) for _ in range(3)]
    for t, frame in enumerate(frames):
        frame[2:5, 1 + t : 4 + t] = 4
        frame[6:8, 6:8] = 9 * (t > 0)
    write_sequence(tmp_path / "01_RES", frames)
    for kind, stem in (("SEG", "man_seg"), ("TRA", "man_track")):
        (tmp_path / "01_GT" / kind).mkdir(parents=True)
        for t, frame in enumerate(frames):
            tifffile.imwrite(tmp_path / "01_GT" / kind / f"{stem}{t:03d}.tif", frame)
    (tmp_path / "01_GT" / "TRA" / "man_track.txt").write_text("4 0 2 0\n9 1 2 0\n")
    command = ["evaluate", str(tmp_path / "01_RES"), str(tmp_path / "01_GT")]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["seg"], scores["det"], scores["tra"]) == (1, 1, 1)
    blank = np.where(frames[2] == 9, 0, frames[2])
    tifffile.imwrite(tmp_path / "01_RES" / "mask002.tif", (blank > 0).astype(np.uint16))
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "0.8000" in said  # SEG: 4 of 5 objects
    (tmp_path / "01_RES" / "mask001.tif").unlink()
    assert main(command) == 2
    assert "frame 1" in capsys.readouterr().err


def test_the_report_shows_objects(data, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    exact_network(data / "ck")
    scores = evaluate(data, capsys, "--report", str(data / "page"))
    page = (data / "page" / "report.html").read_text()
    assert "Worst: " in page
    assert "Best: " in page
    saved = json.loads((data / "page" / "report.json").read_text())["objects"]
    counts = saved["counts"]
    assert (counts["split"], counts["merged"]) == (scores["split"], scores["merged"])
    assert counts["found"] + counts["false"] <= scores["objects_predicted"]
    assert saved["scores"]["ap@0.50"] == scores["ap@0.50"]
    write_sequence(data / "01_RES", [np.ones((3, 3), int)])
    assert main(["evaluate", str(data / "01_RES"), str(data), "--report", str(data / "other")]) == 2
    assert "--report" in capsys.readouterr().err
    assert not (data / "other").exists()
