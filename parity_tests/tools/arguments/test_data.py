"""Which data sets are opened by windows, and which are loaded into memory."""

import numpy as np
import pytest

import unet_tools.arguments.data
from unet_data import cells, membranes
from unet_spec import InputError
from unet_tools.arguments.data import account_for, accounted, open_data
from unet_tools.cli import main

from ...fixtures.pictures import GREY, LABELS, write

SYNTHETIC = unet_tools.arguments.data.SYNTHETIC  # before a fixture makes it small


def test_what_is_opened_by_windows(tmp_path, monkeypatch, capsys):
    plain = write(tmp_path / "png", "png", GREY, LABELS)
    np.save(plain / "images" / "0_seg.npy", GREY[0])  # of another program: left out and reported
    assert not open_data(str(plain), stored=None).stored
    monkeypatch.setattr(unet_tools.arguments.data, "LARGE", 1000)
    assert open_data(str(plain), stored=None).stored
    assert not open_data(str(plain / "images"), stored=None).stored  # without labels
    assert not open_data("synthetic", stored=None).stored
    (tmp_path / "empty").mkdir()
    arrays = open_data(str(write(tmp_path / "npy", "npy", GREY, LABELS)))
    np.testing.assert_array_equal(arrays.images[0][..., 0], np.squeeze(GREY[0]))
    assert main(["data", "check", str(tmp_path / "empty")]) == 2
    assert "has no images" in capsys.readouterr().err


def test_files_and_decisions_are_accounted_for(tmp_path, capsys):
    plain = write(tmp_path / "png", "png", GREY, LABELS)
    (plain / "images" / "notes.txt").touch()
    data = open_data(str(plain))
    lines = account_for(data)
    assert lines == [
        f"files: {2 * len(GREY)} paired, 1 left out",
        "left out, unsupported file ending (.txt): " + ("images/notes.txt"),
    ]
    left_out = {str(plain / "images" / "notes.txt"): "unsupported file ending (.txt)"}
    assert accounted(data)["files_left_out"] == left_out
    assert account_for(open_data("synthetic")) == []


def test_the_synthetic_data_set_is_drawn_from_the_seed():
    assert SYNTHETIC == {2: (24, 384), 3: (6, 96)}
    for dims, (count, size) in unet_tools.arguments.data.SYNTHETIC.items():
        opened = open_data("synthetic", dims, seed=7, ignore=255)
        np.testing.assert_array_equal(opened.images, membranes(count, size, 7, spatial_dims=dims).images)
        assert (opened.ignore, opened.path) == (255, "synthetic")


def test_words_for_synthetic_cells(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(unet_tools.arguments.data.SYNTHETIC, 2, (3, 64))
    for style in ("phase-contrast", "dic"):
        opened, drawn = open_data(f"synthetic:{style}", seed=4), cells(3, 64, 4, style)
        np.testing.assert_array_equal(opened.images, drawn.images)
        np.testing.assert_array_equal(opened.instances, drawn.instances)
        assert opened.path == f"synthetic:{style}"
    assert main(["data", "check", "synthetic:fluorescence"]) == 2
    said = capsys.readouterr().err
    for word in ("synthetic,", "synthetic:phase-contrast", "synthetic:dic"):
        assert word in said
    with pytest.raises(InputError, match="generates 2-D images"):
        open_data("synthetic:dic", 3)
