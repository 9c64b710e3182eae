"""The command: fixed spellings, exit codes, one line for bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from unet_data import membranes, read_stack, write_stack
from unet_data.evaluate import measure
from unet_data.test_time import augmented
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import COMMANDS, main
from unet_tools.data import open_data
from unet_tools.runtimes import open_network

PAPER = preset("paper", widths=(2, 3, 4), dropout=0.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "checkpoint"
    Checkpoint(PAPER, random_tensors(PAPER.graph, 0), DataSpec((0.5,), (0.2,), ("membrane", "cell"))).save(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    made = membranes(4, 61, 0)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for name, image, label in zip("abcd", made.images, made.labels, strict=True):
        write_stack(folder / "images" / f"{name}.png", image[None])
        write_stack(folder / "labels" / f"{name}.png", (label[None] * 255).astype(np.uint8))
    return folder


def test_usage_names_every_command(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Example: unet {name}" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: elsewhere memory is asked for in another way")
@pytest.mark.parametrize(
    ("command", "given", "starts"),
    [
        ("train", None, ["", "glibc.malloc.hugetlb=1"]),
        ("demo", None, ["", "glibc.malloc.hugetlb=1"]),
        ("train", "glibc.malloc.check=0", ["glibc.malloc.check=0"]),
        ("info", None, [""]),
    ],
)
def test_training_takes_its_memory_in_large_pages(command, given, starts, tmp_path):
    """Each start of the interpreter writes a line: the setting that it found."""
    found = "import os; print(os.environ.get('GLIBC_TUNABLES', ''), file=open(os.environ['STARTS'], 'a'))"
    (tmp_path / "sitecustomize.py").write_text(found)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment |= {"PYTHONPATH": str(tmp_path), "STARTS": str(tmp_path / "starts")}
    environment |= {"GLIBC_TUNABLES": given} if given else {}
    run = [sys.executable, "-W", "error", "-m", "unet_tools.cli", command, "--help"]
    told = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert f"Example: unet {command}" in told.stdout
    assert (tmp_path / "starts").read_text().splitlines() == starts


def test_info_says_what_the_paper_says(capsys):
    assert main(["info", "--preset", "paper", "--input", "572", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == 31_030_658
    assert told["macs"] == 150_428_424_448
    assert told["nearest"]["512"] == [508, 524]
    assert told["crops"] == [4, 16, 40, 88]
    assert told["margin"] == 92


def test_info_on_a_checkpoint_and_as_torchinfo(checkpoint, capsys):
    assert main(["info", str(checkpoint)]) == 0
    assert "encoder.2.conv2" in capsys.readouterr().out
    assert main(["info", "--preset", "article", "--style", "torchinfo"]) == 0
    assert "233,389,361,040" in capsys.readouterr().out


def test_train_resume_evaluate_predict_and_check(data, tmp_path, capsys):
    run = tmp_path / "run"
    flags = ["--preset", "paper", "--widths", "2", "4", "--steps", "4", "--validate-every", "2", "--tile", "36"]
    assert main(["train", str(data), "--out", str(run), *flags, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["best"]) >= {"pixel_accuracy", "iou", "dice"}
    assert {p.name for p in run.iterdir()} >= {"best", "last", "log.jsonl", "run.json", "state"}
    assert main(["train", str(data), "--out", str(run), *flags]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", str(data), "--out", str(run), "--resume", "--steps", "6", "--json"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run / "best"), str(data), "--subset", "validation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1
    assert main(["check", str(run / "last"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]


def test_training_tells_what_it_does(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.progress.LINE_EVERY", 0.0)
    flags = ["--widths", "2", "4", "--steps", "3", "--tile", "36", "--log-every", "1", "--no-report"]
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    lines = capsys.readouterr().err.splitlines()
    told = r"U-Net, \d+ parameters, on \d+ x .+; 3 image\(s\) to train on, 1 to measure on; a step takes 1 of 36x36"
    assert re.fullmatch(told, lines[0])
    assert lines[1] == f"{data}: 2 classes: background, foreground"
    assert re.fullmatch(r"step 1 of 3: loss \d+\.\d{4}  .* steps/s", lines[2])
    assert lines[5].startswith("step 3: pixel_accuracy ")
    assert "  dice " in lines[5]


def test_evaluate_augmented_is_of_the_views_mean(data, tmp_path, capsys):
    checkpoint = tmp_path / "mixed"  # weights that find half of all pixels to be of either class
    Checkpoint(PAPER, random_tensors(PAPER.graph, 5), DataSpec((0.5,), (0.2,))).save(checkpoint)
    network, dataset = open_network(checkpoint), open_data(str(data))
    plain = measure(network.runtime.run, network.config, network.data, dataset)
    views = augmented(network.runtime.run, "flips+turns")
    expected = measure(views, network.config, network.data, dataset, objects=True, warp=True)
    assert expected["dice"] != plain["dice"]
    assert main(["evaluate", str(checkpoint), str(data), "--augment", "flips+turns", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("runtime", ["jax", "torch", "onnx"])
def test_a_stack_in_gives_a_stack_out(checkpoint, tmp_path, runtime, capsys):
    stack = np.random.default_rng(0).integers(0, 255, (3, 37, 41, 1), dtype=np.uint8)
    write_stack(tmp_path / "in.tif", stack)
    out = tmp_path / f"{runtime}.tif"
    assert main(["predict", str(checkpoint), str(tmp_path / "in.tif"), "-o", str(out), "--runtime", runtime]) == 0
    found = read_stack(out)
    assert found.shape == (3, 37, 41, 1)
    assert set(np.unique(found)) <= {0, 1}
    flags = ["--output", "probabilities", "--tile", "64", "--overwrite"]
    assert main(["predict", str(checkpoint), str(tmp_path / "in.tif"), "-o", str(out), *flags]) == 0
    p = read_stack(out)
    assert p.dtype == np.float32
    assert np.array_equal(p > 0.5, found > 0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert_there_and_back_is_bit_for_bit(checkpoint, tmp_path, suffix, capsys):
    there, flax, back = tmp_path / f"w{suffix}", tmp_path / "flax.safetensors", tmp_path / "back"
    assert main(["convert", str(checkpoint), str(there)]) == 0
    assert main(["convert", str(there), str(flax), "--to", "flax"]) == 0
    assert main(["convert", str(flax), str(back), "--from", "flax", "--to", "checkpoint"]) == 0
    assert (back / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    if suffix == ".safetensors":  # a .pth holds tensors and nothing else
        assert (back / "config.json").read_text() == (checkpoint / "config.json").read_text()


def test_export_then_check_and_predict_from_the_bundle(checkpoint, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    assert main(["export", str(checkpoint), "-o", str(bundle), "--json"]) == 0
    capsys.readouterr()
    assert main(["check", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    write_stack(tmp_path / "in.png", np.zeros((1, 40, 40, 1), np.uint8))
    assert main(["predict", str(bundle), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png")]) == 0
    assert (
        main(["predict", str(bundle), str(tmp_path / "in.png"), "-o", str(tmp_path / "o.png"), "--runtime", "jax"]) == 2
    )


def test_a_wrong_network_fails_the_check(checkpoint, tmp_path, monkeypatch, capsys):
    """A twin with a bug: exit code 1, and the table says which."""
    from unet_torch import blocks

    monkeypatch.setitem(blocks.ACTIVATIONS, "relu", lambda x: x.clamp(min=-1e-3))
    assert main(["check", str(checkpoint), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {f["runtime"] for f in told["findings"] if f["ok"] is False} == {"torch"}


BAD = {
    "no such command": (["trian"], "did you mean 'train'"),
    "no such flag": (["train", "{data}", "--lerning-rate", "1"], "did you mean --learning-rate?"),
    "size off the grid": (["info", "--input", "512"], "nearest valid: 508 or 524"),
    "too many sizes": (["info", "--input", "572", "572", "572"], "3 numbers"),
    "unknown preset": (["info", "--preset", "papre"], "unknown preset"),
    "one level": (["info", "--widths", "8"], "two levels or more"),
    "preset and checkpoint": (["info", "{checkpoint}", "--preset", "paper"], "not both"),
    "no checkpoint": (["info", "{tmp}/nowhere"], "no checkpoint at"),
    "no data": (["train", "{tmp}/nowhere", "--out", "{tmp}/run"], "nowhere"),
    "empty folder": (["train", "{tmp}", "--out", "{tmp}/run"], "{tmp}"),
    "tile too small": (["train", "{data}", "--out", "{tmp}/run", "--tile", "20"], "the least that fits"),
    "negative steps": (["train", "{data}", "--out", "{tmp}/run", "--steps", "-1"], "steps is -1"),
    "samples and views": (["evaluate", "{checkpoint}", "{rgb}", "--samples", "2", "--augment", "flips"], "--augment"),
    "wrong channels": (["evaluate", "{checkpoint}", "{rgb}"], "3 channels, the network takes 1"),
    "unreadable image": (["predict", "{checkpoint}", "{text}", "-o", "{tmp}/o.png"], "text.png"),
    "unwritable kind": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.bmp"], "use .tif or .png"),
    "a folder over itself": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}"], "is the image itself"),
    "a folder of images": (["predict", "{checkpoint}", "{rgb}", "-o", "{tmp}/o"], "is a folder; name the images in it"),
    "no runtime for it": (
        ["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.png", "--runtime", "tensorrt"],
        "engines",
    ),
    "small tile": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.png", "--tile", "30"], "the least that works"),
    "not our weights": (["convert", "{foreign}", "{tmp}/w"], "not the weights of our U-Net"),
    "not a state dict": (["convert", "{pickle}", "{tmp}/w"], "not a PyTorch file of plain tensors"),
    "no such source": (["convert", "{tmp}/nowhere.pth", "{tmp}/w"], "no such file"),
    "over a foreign folder": (["export", "{checkpoint}", "-o", "{tmp}"], "{tmp}"),
    "check of nothing": (["check", "{tmp}/nowhere"], "no checkpoint at"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case, checkpoint, data, tmp_path, capsys):
    import pickle

    from safetensors.numpy import save_file

    names = {"checkpoint": checkpoint, "data": data, "tmp": tmp_path, "rgb": tmp_path / "rgb"}
    for key, name in (("text", "text.png"), ("png", "in.png"), ("foreign", "f.safetensors"), ("pickle", "p.pth")):
        names[key] = tmp_path / name
    if case != "empty folder":
        (tmp_path / "text.png").write_text("no picture")
        write_stack(tmp_path / "in.png", np.zeros((1, 80, 80, 1), np.uint8))
        save_file({"a": np.zeros(1)}, tmp_path / "f.safetensors")
        (tmp_path / "p.pth").write_bytes(pickle.dumps(print))
        for folder in ("images", "labels"):
            (tmp_path / "rgb" / folder).mkdir(parents=True)
        write_stack(tmp_path / "rgb/images/a.png", np.zeros((1, 40, 40, 3), np.uint8))
        write_stack(tmp_path / "rgb/labels/a.png", np.zeros((1, 40, 40), np.uint8))
    arguments, words = BAD[case]
    assert main([a.format(**names) for a in arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert words.format(**names) in told
    assert told.count("\n") == 0
    assert not (tmp_path / "run").exists()
