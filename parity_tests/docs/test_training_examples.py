"""The examples of training."""

import functools
import json
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest

import unet_jax
from unet_data import cell_sequence, challenge_scores, membranes, read_stack, write_stack, write_truth
from unet_spec import Checkpoint, DataSpec, preset, random_tensors

from .. import EXAMPLES, ROOT


@pytest.fixture
def folder(tmp_path):
    data = membranes(6, 128, 0)
    for name, arrays in (("images", data.images), ("labels", [y.astype(np.uint8) * 255 for y in data.labels])):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            write_stack(tmp_path / "data" / name / f"{i}.png", array[None])
    return tmp_path / "data"


def test_the_script_has_at_most_40_lines():
    assert len((EXAMPLES / "train_own_folder" / "train_own_folder.py").read_text().splitlines()) <= 40


def test_the_notebook_has_text_pictures_and_the_outputs_of_one_run():
    path = EXAMPLES / "train_own_folder" / "train_own_folder.ipynb"
    assert path.stat().st_size < 1_000_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert sum(cell["cell_type"] == "markdown" for cell in notebook["cells"]) >= 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert "IoU" in printed
    assert not re.search(r"(^|[\s'\"])/\w+/\w+|Warning", printed), "a path or a warning of one machine"


@pytest.mark.slow
def test_the_script(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_own_folder.py", str(folder), str(tmp_path / "run"), "2"])
    runpy.run_path(str(EXAMPLES / "train_own_folder" / "train_own_folder.py"), run_name="__main__")
    assert "v_rand" in capsys.readouterr().out
    assert read_stack(tmp_path / "run" / "example.png").shape == (1, 128, 128, 1)
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_the_loop_has_at_most_60_lines():
    assert len((EXAMPLES / "own_loop" / "own_loop.py").read_text().splitlines()) <= 60


@pytest.mark.slow
def test_the_loop_goes_on_where_it_stopped(folder, tmp_path, monkeypatch, capsys):
    """To the weights of the run that was not stopped."""
    for out, counts in ("whole", "2"), ("parts", "12"):
        for steps in counts:
            monkeypatch.setattr(sys, "argv", ["own_loop.py", str(folder), str(tmp_path / out), steps])
            runpy.run_path(str(EXAMPLES / "own_loop" / "own_loop.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    whole, parts = lines[:2], [line for line in lines[3:] if not line.startswith("{")]
    assert parts == whole  # the losses of step 1, and then of step 2
    first, second = (Checkpoint.load(tmp_path / out / "best").tensors for out in ("whole", "parts"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


WITHOUT_JAX = """
import builtins, runpy, sys
real, missing = builtins.__import__, {"jax", "jaxlib", "flax", "optax", "orbax", "onnx", "unet_jax", "unet_export"}
def imported(name, *rest):  # importlib.util.find_spec, by which torch looks for others, is left alone
    if name.split(".")[0] in missing:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, *rest)
builtins.__import__ = imported
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_fine_tuning_in_pytorch_where_jax_is_missing(folder, tmp_path):
    """And JAX opens the result. Each image is normalised by its own values, as `unet train` may choose."""
    pytest.importorskip("torch")
    config = preset("paper", widths=(2, 4, 8), norm="batch")
    before = random_tensors(config.graph, 0)
    Checkpoint(config, before, DataSpec(normalization="image")).save(tmp_path / "best")
    script = EXAMPLES / "finetune_pytorch" / "finetune_pytorch.py"
    arguments = [str(script), str(tmp_path / "best"), str(folder), str(tmp_path / "tuned"), "2"]
    command = [sys.executable, "-c", WITHOUT_JAX, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "after: pixel accuracy" in done.stdout
    after = unet_jax.tensors(unet_jax.from_pretrained(tmp_path / "tuned"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {"head.weight", "encoder.0.conv1.weight", "encoder.0.norm1.running_mean"} <= changed


@pytest.mark.slow
def test_the_round_trip_gives_equal_accuracies(folder, tmp_path, monkeypatch, capsys):
    """Engines aside: parity_tests/export builds them."""
    pytest.importorskip("torch")
    unet_export = pytest.importorskip("unet_export")
    without = functools.partial(unet_export.write_bundle, settings=unet_export.BundleSettings(engines=False))
    monkeypatch.setattr(unet_export, "write_bundle", without)
    monkeypatch.setattr(sys, "argv", ["finetune_round_trip.py", str(tmp_path / "out"), str(folder), "1"])
    runpy.run_path(str(EXAMPLES / "round_trip" / "finetune_round_trip.py"), run_name="__main__")
    said = capsys.readouterr().out
    scores = [line.rpartition("accuracy ")[2] for line in said.splitlines() if "accuracy" in line]
    assert len(scores) == 7
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]
    assert scores[4] == scores[5] == scores[6]
    assert "in TensorRT     not run" in said


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
    notebook = json.loads((EXAMPLES / "train_own_folder" / "train_own_folder.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    named = cells[0].replace('"synthetic", Path("run"), 300', f'{str(folder)!r}, Path("run"), 2')
    assert named != cells[0]
    space = {}
    for cell in (named, *cells[1:]):
        exec(cell, space)
    assert space["guess"].shape == space["truth"].shape == (128, 128)
    assert space["scores"]["iou"] > 0
    assert len(space["figure"].axes) == 4
    plt.close("all")
