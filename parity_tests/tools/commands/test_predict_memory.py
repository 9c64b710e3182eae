"""`unet predict` within a memory budget, and its report."""

import json
import re

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main

SIZE = (211, 149)


def checkpoint_of(config, folder):
    checkpoint = Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec())
    checkpoint.save(folder)
    return checkpoint


@pytest.fixture
def case(tmp_path):
    checkpoint = checkpoint_of(PRESETS["paper"].replace(widths=(2, 4, 6), dropout=0.0), tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    return checkpoint, image, ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "--output", "logits"]


def test_a_log_gets_lines_instead_of_a_bar(case, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.progress.LINE_EVERY", 0.0)
    assert main([*case[2], "--tile", "60", "-o", str(tmp_path / "o.npy")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " left" in line]
    assert len(lines) > 3
    assert re.fullmatch(r"o\.npy: 0\.0 of 0\.0 megapixels, \d+\.\d\d per second, 0:00:00 left", lines[-1])


def test_the_least_memory_that_is_named_is_enough(case, tmp_path, capsys):
    command = [*case[2], "-o", str(tmp_path / "o.npy"), "--memory"]
    assert main([*command, "1MiB"]) == 2
    error = capsys.readouterr().err.replace("\n", " ")
    named = re.search(r"the minimum is ([\d.]+) (MiB|GiB), of which the process already uses", error)
    assert named, error
    assert main([*command, f"{float(named[1]) + 0.01 * (named[2] == 'GiB')}{named[2]}"]) == 0


def test_a_whole_image_that_does_not_fit_is_refused_with_a_tile_that_does(tmp_path, monkeypatch, capsys):
    checkpoint_of(PRESETS["same-bilinear"].replace(widths=(2, 4, 6), dropout=0.0), tmp_path / "ck")
    np.save(tmp_path / "in.npy", np.zeros((400, 300), np.uint8))
    command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "-o", str(tmp_path / "o.npy")]
    monkeypatch.setattr("unet_data.inference.plan.available", lambda: 7 * 2**20)
    assert main(command) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "needs the whole image at once" in error
    tile, memory = re.findall(r"--tile (\S+) fits.*; --memory (\S+) tries the whole image", error)[0]
    assert not (tmp_path / "o.npy.part").exists()
    assert main([*command, "--tile", tile]) == 0
    assert main([*command, "--memory", memory, "--overwrite"]) == 0


BAD = {
    "output exists": (["-o", "{tmp}/in.npy.old.npy"], "exists; --overwrite replaces it"),
    "the image itself": (["-o", "{tmp}/in.npy", "--overwrite"], "in.npy itself; choose another name"),
    "a shard out of range": (["-o", "{tmp}/o.npy", "--shard", "4/3"], "is not a part; give i/n"),
    "a tile too small": (["-o", "{tmp}/o.npy", "--tile", "20"], "the minimum is"),
    "a tile of too many axes": (
        ["-o", "{tmp}/o.npy", "--tile", "60x60x60"],
        "--tile is 60x60x60, but there are 2 axes: give one number, or one per axis",
    ),
    "no tile": (["-o", "{tmp}/o.npy", "--tile", "60x"], "'60x' is no size"),
    "not an amount": (["-o", "{tmp}/o.npy", "--memory", "much"], "not an amount of memory"),
    "too little memory": (["-o", "{tmp}/o.npy", "--memory", "1MiB"], "the minimum is"),
    "strips in onnx": (["-o", "{tmp}/o.npy", "--strips", "--runtime", "onnx"], "add --runtime torch"),
    "strips of tiles": (["-o", "{tmp}/o.npy", "--strips", "--tile", "60"], "--strips needs no tiles"),
    "logits in uint8": (["-o", "{tmp}/o.npy", "--dtype", "uint8"], "cannot be written as uint8"),
    "no such folder": (["-o", "{tmp}/no/o.npy"], "create it first"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(what, case, tmp_path, capsys):
    flags, printed = BAD[what]
    (tmp_path / "in.npy.old.npy").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    assert main([*case[2], *(f.format(tmp=tmp_path) for f in flags)]) == 2
    error = capsys.readouterr().err
    assert printed in error.replace("\n", " ")
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "in.npy.old.npy").read_bytes() == b"old"


def test_the_record_says_what_was_planned_and_measured(case, tmp_path, capsys):
    assert main([*case[2], "-o", str(tmp_path / "o.npy"), "--tile", "60", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["images"][0]
    assert record["exact"]
    assert record["redundancy"] > 1
    assert record["predicted_bytes"] > 0
    assert record["resident_bytes"] >= record["measured_bytes"]
