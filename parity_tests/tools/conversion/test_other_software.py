"""unet export --to."""

import json
import zipfile

import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

WHO = ["--licence", "CC-BY-4.0", "--author", "Ada Lovelace", "--cite", "The paper, https://arxiv.org/abs/1505.04597"]
CONFIG = preset("paper", widths=(2, 3))


@pytest.fixture
def checkpoint(tmp_path):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 1), DataSpec((0.5,), (0.2,), ("sky", "cell")))
    point.save(tmp_path / "run" / "last")
    return tmp_path / "run" / "last"


def test_what_was_assumed_is_said(checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "m.zip"), "--to", "bioimageio", *WHO]) == 0
    assert "synthetic; --golden IMAGE" in (said := capsys.readouterr()).err
    assert "no validation scores are known" in said.err
    assert "blocks of y 22 + 2 k, x 22 + 2 k; halo y 10, x 10" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "m.zip", "--to", "bioimageio"], "needs --licence, such as CC-BY-4.0; and --author"),
        (["-o", "folder", "--to", "bioimageio", *WHO], "name it .zip, such as -o folder.zip"),
        (["-o", "m.zip", "--to", "bioimageio", "--precision", "fp16", *WHO], "leave out --precision"),
        (["-o", "folder", "--author", "Ada Lovelace"], "--author needs --to"),
        (["-o", "site", "--to", "web", "--author", "Ada Lovelace"], "--author is for --to bioimageio"),
        (["-o", "cpp", "--to", "cpp", "--licence", "CC0-1.0"], "--licence has no effect with --to cpp"),
        (["-o", "site", "--to", "web"], "npm install onnxruntime-web"),
    ],
)
def test_requests_that_are_refused(checkpoint, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(checkpoint), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_scores_come_from_the_run_or_from_a_file(checkpoint, tmp_path):
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"data": "x", "dice": 0.75}))
    (checkpoint.parent / "log.jsonl").write_text('{"step": 3, "pixel_accuracy": 0.5}\n{"step": 4, "loss": 1.0}\n')
    for arguments, row in (((), "| pixel_accuracy | 0.5 |"), (("--scores", str(scores)), "| dice | 0.75 |")):
        out = tmp_path / "m.zip"
        assert main(["export", str(checkpoint), "-o", str(out), "--to", "bioimageio", *WHO, *arguments]) == 0
        with zipfile.ZipFile(out) as archive:
            assert row in archive.read("README.md").decode()


def test_cpp_names_the_commands_that_build_it(checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "cpp"), "--to", "cpp"]) == 0
    assert "-DUNET_ENGINE=openvino" in capsys.readouterr().out
    assert "class_names sky\tcell" in (tmp_path / "cpp/network.txt").read_text()
