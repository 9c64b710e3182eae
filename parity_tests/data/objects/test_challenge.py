"""The Cell Tracking Challenge's layout, and linking by overlap."""

import numpy as np
import pytest
import tifffile

from unet_data import Linker
from unet_data.objects.challenge import mask_files, read_mask, read_tracks, segmentation_pairs, write_sequence
from unet_spec import InputError


def frame(*runs):
    """A row of 20 pixels with (number, first, last)."""
    row = np.zeros((1, 20), int)
    for number, first, last in runs:
        row[0, first:last] = number
    return row


def test_cells_move_divide_vanish_and_appear():
    linker = Linker()
    got = [
        linker.add(f)[0].tolist()
        for f in (
            frame((3, 0, 6), (9, 10, 14)),
            frame((1, 2, 8), (2, 11, 15)),  # both move
            frame((5, 2, 5), (6, 5, 8)),  # 1 divides, 2 vanishes
            frame((1, 2, 5), (2, 5, 8), (3, 15, 18)),
        )
    ]
    assert linker.tracks.tolist() == [[1, 0, 1, 0], [2, 0, 1, 0], [3, 2, 3, 1], [4, 2, 3, 1], [5, 3, 3, 0]]
    assert got[1] == frame((1, 2, 8), (2, 11, 15))[0].tolist()
    assert got[3] == frame((3, 2, 5), (4, 5, 8), (5, 15, 18))[0].tolist()


def test_too_small_an_overlap_is_no_link():
    for share, tracks in ((0.3, 1), (0.6, 2)):
        linker = Linker(share)
        linker.add(frame((1, 0, 4)))
        linker.add(frame((1, 2, 6)))
        assert len(linker.tracks) == tracks


def test_of_equal_overlaps_the_lowest_track_continues():
    linker = Linker()
    linker.add(frame((1, 0, 3), (2, 3, 6)))
    assert set(linker.add(frame((7, 0, 6)))[0].tolist()) == {0, 1}


def test_a_sequence_is_written_and_read(tmp_path):
    frames = [frame((3, 0, 6)), frame((8, 1, 7)), frame()]
    tracks = write_sequence(tmp_path / "01_RES", frames)
    np.testing.assert_array_equal(read_tracks(tmp_path / "01_RES" / "res_track.txt"), tracks)
    files = mask_files(tmp_path / "01_RES", "mask")
    assert list(files) == [(0, None), (1, None), (2, None)]
    assert tifffile.imread(files[0, None]).dtype == np.uint16
    np.testing.assert_array_equal(read_mask(files[1, None]) > 0, frames[1] > 0)


def test_true_planes_of_a_volume_meet_their_plane(tmp_path):
    volume = np.zeros((3, 2, 4), np.uint16)
    volume[1, 0] = 5
    for name, labels in (("01_RES/mask000.tif", volume), ("01_GT/SEG/man_seg_000_001.tif", volume[1])):
        (tmp_path / name).parent.mkdir(parents=True)
        tifffile.imwrite(tmp_path / name, labels)
    [(truth, guess)] = segmentation_pairs(tmp_path / "01_RES", tmp_path / "01_GT")
    np.testing.assert_array_equal(truth, guess)


@pytest.mark.parametrize(("text", "message"), [("1 2 3\n", "four numbers"), ("a b c d\n", "cannot be read")])
def test_damaged_tracks(tmp_path, text, message):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tracks(tmp_path / "t.txt")
    with pytest.raises(InputError, match="Cell Tracking Challenge"):
        mask_files(tmp_path, "mask")
    (tmp_path / "x.tif").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"x\.tif"):
        read_mask(tmp_path / "x.tif")
    linker = Linker()
    linker.add(frame())
    with pytest.raises(InputError, match="shape"):
        linker.add(np.zeros((2, 2), int))
