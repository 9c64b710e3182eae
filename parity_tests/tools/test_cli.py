"""The command: usage, help, and one line for every bad input."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from unet_data import write_stack
from unet_tools.cli import COMMANDS, main, one_line


def test_usage_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)
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
        pytest.param("train --no-large-pages", None, [""], marks=pytest.mark.slow),
        pytest.param("train", "glibc.malloc.check=0", ["glibc.malloc.check=0"], marks=pytest.mark.slow),
        pytest.param("demo", None, [""], marks=pytest.mark.slow),
        pytest.param("info", None, [""], marks=pytest.mark.slow),
    ],
)
def test_training_takes_its_memory_in_large_pages(command, given, starts, tmp_path):
    """Each start of the interpreter writes a line with its setting."""
    found = "import os; print(os.environ.get('GLIBC_TUNABLES', ''), file=open(os.environ['STARTS'], 'a'))"
    (tmp_path / "sitecustomize.py").write_text(found)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment |= {"PYTHONPATH": str(tmp_path), "STARTS": str(tmp_path / "starts")}
    environment |= {"GLIBC_TUNABLES": given} if given else {}
    run = [sys.executable, "-W", "error", "-m", "unet_tools.cli", *command.split(), "--help"]
    printed = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert f"Example: unet {command.split()[0]}" in printed.stdout
    assert (tmp_path / "starts").read_text().splitlines() == starts


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
    "tile too small": (
        ["train", "{data}", "--out", "{tmp}/run", "--preset", "paper", "--tile", "20"],
        "the minimum of this network is",
    ),
    "negative steps": (["train", "{data}", "--out", "{tmp}/run", "--steps", "-1"], "steps is -1"),
    "samples and views": (["evaluate", "{checkpoint}", "{rgb}", "--samples", "2", "--augment", "flips"], "--augment"),
    "wrong channels": (["evaluate", "{checkpoint}", "{rgb}"], "3 channels, the network takes 1"),
    "unreadable image": (["predict", "{checkpoint}", "{text}", "-o", "{tmp}/o.png"], "text.png"),
    "unwritable kind": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.bmp"], "use .tif or .png"),
    "a folder over itself": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}"], "is the image {png} itself"),
    "a folder without images": (["predict", "{checkpoint}", "{empty}", "-o", "{tmp}/o"], "has no images"),
    "no runtime for it": (
        ["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.png", "--runtime", "tensorrt"],
        "engines",
    ),
    "small tile": (["predict", "{checkpoint}", "{png}", "-o", "{tmp}/o.png", "--tile", "30"], "the minimum is"),
    "not our weights": (["convert", "{foreign}", "{tmp}/w"], "neither the weights of a network of this project"),
    "not a state dict": (["convert", "{pickle}", "{tmp}/w"], "not a PyTorch file of plain tensors"),
    "no such source": (["convert", "{tmp}/nowhere.pth", "{tmp}/w"], "no such file"),
    "over a foreign folder": (["export", "{checkpoint}", "-o", "{tmp}"], "{tmp}"),
    "check of nothing": (["check", "{tmp}/nowhere"], "no checkpoint at"),
}


BOX = """╭─ Value error ──────────────────────────╮
│ Error parsing --tile: '2x' is no size; │
│ give one number                        │
│ ────────────────────────────────────── │
│ Perhaps you meant:                     │
│     --tile N                           │
╰────────────────────────────────────────╯
"""
ASCII_BOX = """ Value error
 --------------------------------------
  Error parsing --tile: '2x' is no size;
  give one number
  -------------------------------------
  Perhaps you meant:
      --tile N

"""


@pytest.mark.parametrize("box", [BOX, ASCII_BOX])
def test_a_box_of_an_error_becomes_one_line(box):
    assert one_line(box) == "Error parsing --tile: '2x' is no size; give one number; did you mean --tile?"
    assert one_line("a plain line\n") == "a plain line"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case, checkpoint, data, tmp_path, capsys):
    import pickle

    from safetensors.numpy import save_file

    names = {
        "checkpoint": checkpoint,
        "data": data,
        "tmp": tmp_path,
        "rgb": tmp_path / "rgb",
        "empty": tmp_path / "empty",
    }
    for key, name in (("text", "text.png"), ("png", "in.png"), ("foreign", "f.safetensors"), ("pickle", "p.pth")):
        names[key] = tmp_path / name
    if case != "empty folder":
        (tmp_path / "text.png").write_text("no picture")
        write_stack(tmp_path / "in.png", np.zeros((1, 80, 80, 1), np.uint8))
        save_file({"a": np.zeros(1)}, tmp_path / "f.safetensors")
        (tmp_path / "p.pth").write_bytes(pickle.dumps(print))
        (tmp_path / "empty").mkdir()
        for folder in ("images", "labels"):
            (tmp_path / "rgb" / folder).mkdir(parents=True)
        write_stack(tmp_path / "rgb/images/a.png", np.arange(4800, dtype=np.uint8).reshape(1, 40, 40, 3))
        write_stack(tmp_path / "rgb/labels/a.png", np.zeros((1, 40, 40), np.uint8))
    arguments, words = BAD[case]
    assert main([a.format(**names) for a in arguments]) == 2
    printed = capsys.readouterr().err.strip()
    *before, error = printed.splitlines()
    assert words.format(**names) in error
    assert all(line.startswith("files: ") for line in before)  # what was read until then
    assert not (tmp_path / "run").exists()


def test_what_an_address_is_signed_with_is_in_no_message(capsys):
    """Also where another word of the command line has a question mark."""
    secret = "X-Amz-Signature=5e1f"
    for words in (["info", f"https://127.0.0.1:9/net?{secret}"], ["info", f"https://127.0.0.1:9/a?{secret}", "what?"]):
        assert main(words) == 2
        printed = capsys.readouterr()
        assert secret not in printed.err + printed.out
        assert printed.err.count("\n") == 1
