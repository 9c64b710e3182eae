"""`unet report`: report and verdict of a run, written again; moved data; runs without results."""

import json
import shutil

import pytest

from unet_tools.cli import main

from ...fixtures.pictures import GREY, LABELS, write

FLAGS = ["--recipe", "none", "--widths", "2", "4", "--steps", "4", "--tile", "28", "--validate-every", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the folder of its images."""
    folder = tmp_path_factory.mktemp("report")
    data = write(folder / "data", "png", GREY, LABELS)
    assert main(["train", str(data), "--out", str(folder / "run"), *FLAGS]) == 0
    return folder / "run", data


@pytest.mark.slow
def test_the_report_is_written_again_with_the_same_scores_and_verdict(trained, capsys):
    pytest.importorskip("jinja2")
    run, _ = trained
    page, before = (run / "report.html").read_text(), json.loads((run / "report.json").read_text())
    verdict = json.loads((run / "run.json").read_text())["verdict"]
    (run / "report.html").unlink()
    assert main(["report", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    baseline = {"baseline_pixel_accuracy": before["scores"]["baseline_pixel_accuracy"]}
    assert printed["best"] | baseline == before["scores"]
    assert printed["verdict"] == verdict == json.loads((run / "run.json").read_text())["verdict"]
    after = json.loads((run / "report.json").read_text())
    assert after["scores"] == pytest.approx(before["scores"])
    assert after["log"] == before["log"]
    assert len((run / "report.html").read_text()) == pytest.approx(len(page), rel=0.02)
    assert main(["report", str(run)]) == 0
    shown = capsys.readouterr()
    assert verdict["lines"][0] in shown.out.replace("\n", " ")
    assert f"look at {run / 'report.html'}" in shown.err


def test_of_data_that_moved(trained, tmp_path, capsys):
    run, data = trained
    shutil.copytree(data, tmp_path / "moved")
    kept = data.rename(data.with_name("away"))
    try:
        assert main(["report", str(run)]) == 2
        assert str(data) in capsys.readouterr().err
        assert main(["report", str(run), "--data", str(tmp_path / "moved")]) == 0
    finally:
        kept.rename(data)


def test_what_has_no_run_or_no_checkpoint_is_one_line(trained, tmp_path, capsys):
    run, _ = trained
    assert main(["report", str(tmp_path)]) == 2
    assert "has no run.json; give the folder of a training run (unet train DATA --out RUN)" in capsys.readouterr().err
    shutil.copytree(run, tmp_path / "begun")
    shutil.rmtree(tmp_path / "begun" / "best")
    assert main(["report", str(tmp_path / "begun")]) == 2
    assert f"has no best/ yet; unet train --out {tmp_path / 'begun'} --resume continues" in capsys.readouterr().err
