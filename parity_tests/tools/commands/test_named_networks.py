"""A network by name works like its folder in every function that accepts a checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from parity_tests.weights_package import install
from unet_data import write_stack
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 3, 4), dropout=0.0)
SAID = "cells: the network of tiny-weights 1.2, in "


@pytest.fixture
def site(tmp_path):
    """A folder with the installed package and an image."""
    data = DataSpec((0.5,), (0.2,), ("membrane", "cell"))
    install(tmp_path / "site", {"cells": Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), data)})
    image = np.random.default_rng(0).integers(0, 255, (1, 61, 47, 1), dtype=np.uint8)
    write_stack(tmp_path / "image.png", image)
    return tmp_path / "site"


@pytest.fixture
def folder(site, monkeypatch):
    """The folder of the network cells, installed for this process; the working directory is empty."""
    monkeypatch.syspath_prepend(str(site))
    (site.parent / "here").mkdir()
    monkeypatch.chdir(site.parent / "here")
    return site / "tiny_weights" / "cells"


TWINS = """
import sys
import numpy as np
import unet_jax, unet_torch
folder, x = sys.argv[1], np.random.default_rng(0).normal(size=(1, 44, 44, 1)).astype(np.float32)
for by_name in (unet_jax.from_pretrained, unet_jax.UNet.from_pretrained):
    one, other = by_name("cells"), unet_jax.from_pretrained(folder)
    assert np.array_equal(one(x), other(x))
    assert one.data == other.data != type(one.data)()
import torch
with torch.no_grad():
    for by_name in (unet_torch.from_pretrained, unet_torch.UNet.from_pretrained):
        one, other = (model(torch.from_numpy(x.transpose(0, 3, 1, 2))) for model in (by_name("cells"), unet_torch.from_pretrained(folder)))
        assert torch.equal(one, other)
"""  # noqa: E501


def in_a_process(site, *command):
    path = os.pathsep.join([str(site), *sys.path])
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=site.parent,
        env=os.environ | {"PYTHONPATH": path},
    )


@pytest.mark.slow
def test_both_twins_open_a_network_by_name_in_a_process_of_their_own(site):
    done = in_a_process(site, "-c", TWINS, str(site / "tiny_weights" / "cells"))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_predict_by_name_is_predict_by_folder_in_a_process_of_its_own(site):
    inner, flags = site / "tiny_weights" / "cells", ("--output", "probabilities")
    for source, out in (("cells", "name.npy"), (str(inner), "folder.npy")):
        done = in_a_process(site, "-m", "unet_tools.cli", "predict", source, "image.png", "-o", out, *flags)
        assert done.returncode == 0, done.stderr
        assert (f"{SAID}{inner}" in done.stderr) == (source == "cells")
    by_name, by_folder = (np.load(site.parent / f"{out}.npy") for out in ("name", "folder"))
    assert np.array_equal(by_name, by_folder)
    assert by_name.std() > 0


DOORS = {
    "info": ["info", "{}", "--json"],
    "plan": ["plan", "{}", "--image", "300", "--json"],
    "check": ["check", "{}", "--json"],
    "diff": ["diff", "{}", "{}", "--json"],
    "evaluate": ["evaluate", "{}", "synthetic", "--json"],
    "ensemble": ["ensemble", "{}", "-o", "{out}", "--json"],
    "convert": ["convert", "{}", "{out}", "--json"],
    "export": ["export", "{}", "-o", "{out}.onnx", "--json"],
}


@pytest.mark.parametrize("door", DOORS)
def test_every_command_takes_a_name_for_its_folder(folder, door, capsys, tmp_path):
    printed = []
    for number, source in enumerate(("cells", str(folder))):
        values = [a.replace("{}", source).replace("{out}", str(tmp_path / str(number))) for a in DOORS[door]]
        assert main(values) == 0
        out, error = capsys.readouterr()
        printed.append(
            json.loads(out.replace(str(tmp_path / str(number)), "OUT").replace(str(folder), "X").replace("cells", "X"))
        )
        assert (SAID in error) == (source == "cells")
    assert printed[0] == printed[1]
    made = [sorted([*tmp_path.glob(f"{number}.onnx"), *tmp_path.glob(f"{number}/*")]) for number in (0, 1)]
    files = [[file.read_bytes() for file in each] for each in made]
    assert files[0] == files[1]
    assert bool(files[0]) == (door in ("ensemble", "convert", "export"))


@pytest.mark.slow
def test_training_begins_with_a_network_by_name_and_goes_on(folder, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--tile", "44", "--no-report", "--learning-rate", "0"]
    assert main(["train", "synthetic", *flags, "--weights", "cells", "--steps", "1"]) == 0
    printed = capsys.readouterr().err.replace("\n", " ")
    count = len(Checkpoint.load(folder).tensors)
    assert f"weights of {folder}: {count} of {count} tensors used" in printed
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["settings"]["weights"] == str(folder)
    assert main(["train", *flags, "--resume", "--weights", "cells", "--steps", "2"]) == 0
    assert "continuing from step 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_by_name_as_config_is_taken_without_its_weights(folder, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--tile", "44", "--no-report", "--steps", "1"]
    assert main(["train", "synthetic", *flags, "--config", "cells"]) == 0
    assert "only its network is used, with new weights" in capsys.readouterr().err.replace("\n", " ")
    assert Checkpoint.load(tmp_path / "run" / "last").config == CONFIG


def test_nothing_is_written_into_an_installed_package(folder, capsys):
    assert main(["evaluate", "cells", "synthetic", "--choose-objects"]) == 2
    assert "cells belongs to an installed package: copy it with unet convert cells FOLDER" in capsys.readouterr().err


def test_a_folder_of_the_name_wins_and_the_command_says_so(folder, capsys):
    other = preset("same", widths=(2, 3))
    Checkpoint(other, random_tensors(other.graph, 1)).save("cells")
    assert main(["info", "cells", "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["parameters"] == other.graph.parameter_count
    assert error == "warning: the cells in this folder is used, not the network cells of tiny-weights 1.2\n"


@pytest.mark.parametrize("command", [["predict", "x.png", "-o", "y.png"], ["info"], ["export", "-o", "z"]])
def test_an_unknown_name_is_one_line_and_leaves_nothing_behind(folder, command, capsys, tmp_path):
    assert main([command[0], "cell", *command[1:]]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "no installed network of this name; installed: cells; did you mean 'cells'?" in line
    assert list((tmp_path / "here").iterdir()) == []
