"""`unet predict` in parts, killed, and resumed: the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

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
def case(tmp_path, request):
    """A checkpoint without a halo, or with the given padding; "same" has a halo."""
    config = PRESETS["paper"].replace(widths=(2, 4, 6), dropout=0.0, padding=getattr(request, "param", "valid"))
    checkpoint = checkpoint_of(config, tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    return checkpoint, image, ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "--output", "logits"]


@pytest.mark.parametrize(
    ("case", "flags"),
    [("valid", ["--tile", "60"]), ("valid", ["--strips"]), ("same", ["--tile", "108"]), ("same", ["--strips"])],
    ids=["tiles", "strips", "tiles with a halo", "strips with a halo"],
    indirect=["case"],
)
def test_shards_and_resuming_give_the_same_bytes(case, flags, tmp_path, monkeypatch, capsys):
    _, _, command = case
    monkeypatch.setattr("unet_data.inference.plan.STRIP_ROWS", (16,))
    monkeypatch.setattr("unet_data.inference.plan.BAND_ROWS", 32)
    command = [*command, *flags, "--runtime", "torch", "--json"]
    calm, parts = tmp_path / "calm.npy", tmp_path / "parts.npy"
    assert main([*command, "-o", str(calm)]) == 0
    for part in ("2/3", "1/3"):
        assert main([*command, "-o", str(parts), "--shard", part]) == 0
        assert not parts.exists(), "a part looks whole"
    capsys.readouterr()
    assert main([*command, "-o", str(parts)]) == 0
    printed = json.loads(capsys.readouterr().out)["images"][0]
    assert 0 < printed["computed"] < printed["tiles"]
    if flags == ["--strips"]:  # after a restart a convolution has other blocks, which may round differently
        assert np.abs(np.load(parts) - np.load(calm)).max() <= 1e-6 * np.abs(np.load(calm)).max()
    else:
        assert parts.read_bytes() == calm.read_bytes()


@pytest.mark.parametrize("part", [["--shard", "2/3"], []], ids=["shard", "killed"])
def test_less_memory_later_does_not_move_the_tiles(case, part, tmp_path, monkeypatch, capsys):
    """The plan of the first process is kept, also with less memory or on another machine."""
    _, _, command = case
    command = [*command, "--runtime", "torch", "--json", "-o", str(tmp_path / "o.npy")]
    monkeypatch.setattr("unet_data.inference.plan._default_budget", lambda: 2**27)
    assert main([*command, "--shard", "1/3"]) == 0
    first = json.loads(capsys.readouterr().out)["images"][0]
    monkeypatch.setattr("unet_data.inference.plan._default_budget", lambda: 72 * 2**20)
    if part:
        assert main([*command, *part]) == 0
        capsys.readouterr()
    assert main(command) == 0
    second = json.loads(capsys.readouterr().out)["images"][0]
    assert second["tile"] == first["tile"]
    assert first["computed"] + second["computed"] <= second["tiles"]
    assert main([*command[:-1], str(tmp_path / "new.npy")]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["tile"] != first["tile"], "this would test nothing"


@pytest.mark.parametrize("case", ["valid", "same"], indirect=True)
def test_strips_of_another_height_go_on(case, tmp_path, monkeypatch):
    """The positions of bands do not depend on the strips."""
    _, _, command = case
    command = [*command, "--runtime", "torch", "--strips"]
    monkeypatch.setattr("unet_data.inference.plan.BAND_ROWS", 48)
    monkeypatch.setattr("unet_data.inference.plan.STRIP_ROWS", (96,))
    assert main([*command, "-o", str(tmp_path / "calm.npy")]) == 0
    assert main([*command, "-o", str(tmp_path / "o.npy"), "--shard", "1/2"]) == 0
    monkeypatch.setattr("unet_data.inference.plan.STRIP_ROWS", (16,))
    assert main([*command, "-o", str(tmp_path / "o.npy")]) == 0
    calm, found = np.load(tmp_path / "calm.npy"), np.load(tmp_path / "o.npy")
    assert np.abs(found - calm).max() <= 1e-5 * np.abs(calm).max()


@pytest.mark.slow
def test_killed_and_resumed_is_identical(tmp_path):
    checkpoint_of(PRESETS["paper"].replace(widths=(4, 8, 16), dropout=0.0), tmp_path / "ck")
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 255, (3001, 2003)).astype(np.uint8))
    command = [sys.executable, "-m", "unet_tools.cli", "predict", str(tmp_path / "ck"), str(tmp_path / "in.npy")]
    command += ["--tile", "300"]
    subprocess.run([*command, "-o", str(tmp_path / "calm.tif")], check=True, capture_output=True)
    part = tmp_path / "o.tif.part"
    for wanted in (5, 20, 40):
        process = subprocess.Popen([*command, "-o", str(tmp_path / "o.tif")], stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(part.glob("[0-9]*.npy"))) < wanted:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "o.tif").exists()
    subprocess.run([*command, "-o", str(tmp_path / "o.tif")], check=True, capture_output=True)
    assert np.array_equal(*(__import__("tifffile").imread(tmp_path / n) for n in ("o.tif", "calm.tif")))
    assert not part.exists()


def test_an_image_that_is_mended_is_predicted(case, tmp_path, capsys):
    """Otherwise the folder could contain tiles of another run; a folder with a tile is kept."""
    image = case[1].astype(np.float32)
    command = [*case[2], "-o", str(tmp_path / "o.npy"), "--tile", "76"]
    for y, kept in ((0, False), (-1, True)):
        spoilt = image.copy()
        spoilt[y, 0] = np.nan
        np.save(tmp_path / "in.npy", spoilt)
        assert main(command) == 2
        assert (tmp_path / "o.npy.part").exists() == kept
    shutil.rmtree(tmp_path / "o.npy.part")
    np.save(tmp_path / "in.npy", image)
    assert main(command) == 0
    capsys.readouterr()


def test_a_folder_of_the_user_is_neither_filled_nor_deleted(case, tmp_path, capsys):
    part, target = tmp_path / "r.npy.part", tmp_path / "r.npy"
    part.mkdir()
    (part / "precious.txt").write_text("precious")
    assert main([*case[2], "-o", str(target)]) == 2
    assert "contains precious.txt, which is not from a prediction" in capsys.readouterr().err
    assert [p.name for p in part.iterdir()] == ["precious.txt"]
    assert not target.exists()
    own = tmp_path / "mine.zarr"
    own.mkdir()
    (own / "a.txt").write_text("precious")
    assert main([*case[2], "-o", str(own), "--overwrite"]) == 2
    assert [p.name for p in own.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["link.npy", "hard.npy", "sub/../in.npy"])
def test_an_image_is_not_replaced_by_its_result(case, tmp_path, name, capsys):
    content = (tmp_path / "in.npy").read_bytes()
    (tmp_path / "link.npy").symlink_to(tmp_path / "in.npy")
    (tmp_path / "hard.npy").hardlink_to(tmp_path / "in.npy")
    (tmp_path / "sub").mkdir()
    assert main([*case[2], "-o", str(tmp_path / name), "--overwrite"]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert (tmp_path / "in.npy").read_bytes() == content
