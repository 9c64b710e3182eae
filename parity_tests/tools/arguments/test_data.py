"""Which data sets are opened by windows, and which are loaded into memory."""

import numpy as np
import pytest

import unet_tools.arguments.data
from unet_data import cells, membranes
from unet_spec import InputError
from unet_tools.arguments.data import account_for, accounted, choose, open_data
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


def test_the_size_of_a_file_is_that_of_all_of_its_parts(tmp_path):
    (tmp_path / "a.zarr/0").mkdir(parents=True)
    (tmp_path / "a.zarr/0/x").write_bytes(bytes(5))
    (tmp_path / "a.zarr/y").write_bytes(bytes(7))
    assert unet_tools.arguments.data._bytes(tmp_path / "a.zarr") == 12
    assert unet_tools.arguments.data._bytes(tmp_path / "a.zarr/y") == 7
    assert unet_tools.arguments.data.LARGE == 2**30


def test_exactly_as_many_bytes_are_still_read_into_memory(tmp_path, monkeypatch):
    plain = write(tmp_path / "png", "png", GREY, LABELS)
    total = sum(path.stat().st_size for path in (plain / "images").iterdir())
    for large, stored in ((total, False), (total - 1, True)):
        monkeypatch.setattr(unet_tools.arguments.data, "LARGE", large)
        assert open_data(str(plain), stored=None).stored == stored
    assert not open_data(str(plain)).stored
    assert open_data(str(plain), stored=True).stored


@pytest.mark.parametrize(("subset", "count"), [("all", 6), ("train", 3), ("validation", 3)])
def test_a_part_of_the_data_by_the_split_of_the_training(subset, count):
    data = membranes(6, 32, 0)
    part, how = choose(data, subset, "0.5")
    assert len(part) == count
    assert (how is None) == (subset == "all")
    assert part.names[-1] == (data.names[2] if subset == "train" else data.names[-1])


def test_files_that_are_used_are_counted(tmp_path):
    plain = write(tmp_path / "png", "png", GREY, LABELS)
    assert accounted(open_data(str(plain))) == {
        "files_used": 2 * len(GREY), "files_left_out": {}, "decisions": open_data(str(plain)).decisions
    }  # fmt: skip
