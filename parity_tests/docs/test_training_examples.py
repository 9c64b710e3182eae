"""The examples of training."""

import json
import runpy
import sys

import numpy as np
import pytest

from unet_data import cell_sequence, challenge_scores, membranes, read_stack, write_stack, write_truth
from unet_spec import Checkpoint, DataSpec, preset, random_tensors

from .. import EXAMPLES


@pytest.fixture
def folder(tmp_path):
    data = membranes(6, 128, 0)
    for name, arrays in (("images", data.images), ("labels", [y.astype(np.uint8) * 255 for y in data.labels])):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            write_stack(tmp_path / "data" / name / f"{i}.png", array[None])
    return tmp_path / "data"


def test_the_script_has_at_most_40_lines():
    assert len((EXAMPLES / "train_own_folder.py").read_text().splitlines()) <= 40


def test_the_notebook_is_clean():
    notebook = json.loads((EXAMPLES / "train_own_folder.ipynb").read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            compile("".join(cell["source"]), cell["id"], "exec")


@pytest.mark.slow
def test_the_script(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_own_folder.py", str(folder), str(tmp_path / "run"), "2"])
    runpy.run_path(str(EXAMPLES / "train_own_folder.py"), run_name="__main__")
    assert "v_rand" in capsys.readouterr().out
    assert read_stack(tmp_path / "run" / "example.png").shape == (1, 128, 128, 1)
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_the_loop_has_at_most_60_lines():
    assert len((EXAMPLES / "own_loop.py").read_text().splitlines()) <= 60


@pytest.mark.slow
def test_the_loop_goes_on_where_it_stopped(folder, tmp_path, monkeypatch, capsys):
    """To the weights of the run that was not stopped."""
    for out, counts in ("whole", "2"), ("parts", "12"):
        for steps in counts:
            monkeypatch.setattr(sys, "argv", ["own_loop.py", str(folder), str(tmp_path / out), steps])
            runpy.run_path(str(EXAMPLES / "own_loop.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    whole, parts = lines[:2], [line for line in lines[3:] if not line.startswith("{")]
    assert parts == whole  # the losses of step 1, and then of step 2
    first, second = (Checkpoint.load(tmp_path / out / "best").tensors for out in ("whole", "parts"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_fine_tuning_in_pytorch_and_back(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    config = preset("paper", widths=(2, 4, 8), norm="batch")
    before = random_tensors(config.graph, 0)
    Checkpoint(config, before, DataSpec((0.5,), (0.2,))).save(tmp_path / "best")
    arguments = [str(tmp_path / "best"), str(folder), str(tmp_path / "tuned"), "2"]
    monkeypatch.setattr(sys, "argv", ["finetune_pytorch.py", *arguments])
    runpy.run_path(str(EXAMPLES / "finetune_pytorch.py"), run_name="__main__")
    assert f"the same {len(before)} tensors in JAX" in capsys.readouterr().out
    after = Checkpoint.load(tmp_path / "tuned").tensors
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {"head.weight", "encoder.0.conv1.weight", "encoder.0.norm1.running_mean"} <= changed


def test_cell_tracking_has_at_most_80_lines():
    assert len((EXAMPLES / "cell_tracking" / "track_cells.py").read_text().splitlines()) <= 80


@pytest.mark.slow
def test_cell_tracking(tmp_path, monkeypatch, capsys):
    for seed, name in enumerate(("01", "02")):
        drawn = cell_sequence(7, 64, seed, diameter=16.0)
        write_truth(tmp_path / "data", drawn.images, drawn.labels, drawn.tracks, name)
    (tmp_path / "data" / "01_GT" / "SEG" / "man_seg003.tif").unlink()  # real sequences have labels of some frames only
    arguments = [str(tmp_path / "data"), str(tmp_path / "out"), "2"]
    monkeypatch.setattr(sys, "argv", ["track_cells.py", *arguments])
    space = runpy.run_path(str(EXAMPLES / "cell_tracking" / "track_cells.py"), run_name="__main__")
    assert space["training"].names == tuple(f"01-t00{i}" for i in (0, 1, 2, 4, 5))
    assert space["validation"].names == ("01-t006",)
    said = capsys.readouterr().out
    assert "02: 7 frames" in said
    scores = challenge_scores(tmp_path / "out" / "02_RES", tmp_path / "data" / "02_GT")
    assert f"SEG {scores['seg']:.3f}  DET {scores['det']:.3f}  TRA {scores['tra']:.3f}" in said


@pytest.mark.slow
def test_the_notebook(folder, tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "train_own_folder.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    named = cells[0].replace('"synthetic", Path("run"), 300', f'{str(folder)!r}, Path("run"), 2')
    assert named != cells[0]
    space = {}
    for cell in (named, *cells[1:]):
        exec(cell, space)
    assert space["guess"].shape == space["truth"].shape == (128, 128)
    assert space["result"].scores["iou"] > 0
    assert len(space["figure"].axes) == 3
    plt.close(space["figure"])
