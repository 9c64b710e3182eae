"""Mirrored windows of an image, against numpy.pad."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_data import mirror_index, mirror_window, windows
from unet_data.windows import bands, middle
from unet_spec import InputError


@given(size=st.integers(1, 9), start=st.integers(-60, 60), length=st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_index_is_numpy_reflect(size, start, length):
    far = 110
    padded = np.pad(np.arange(size), far, mode="reflect")
    np.testing.assert_array_equal(mirror_index(start, start + length, size), padded[start + far : start + far + length])


def test_index_by_hand():
    assert mirror_index(-3, 7, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert mirror_index(10**12, 10**12 + 2, 3).tolist() == [0, 1]
    assert mirror_index(-2, 3, 1).tolist() == [0] * 5


@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize(
    ("size", "start", "shape"),
    [
        ((6, 7), (1, 2), (3, 4)),
        ((6, 7), (0, 0), (6, 7)),
        ((6, 7), (-4, 3), (9, 9)),
        ((6, 7), (-40, 35), (3, 5)),
        ((3, 2), (-5, -5), (15, 16)),
        ((1, 5), (-3, -1), (8, 8)),
        ((4, 5, 6), (-2, 3, 0), (5, 7, 6)),
        ((2, 5, 6), (-9, 1, 20), (12, 3, 4)),
    ],
)
def test_window_is_numpy_pad(size, start, shape, channels):
    image = np.random.default_rng(0).integers(0, 255, size + channels, dtype=np.uint8)
    far = 60
    padded = np.pad(image, [(far, far)] * len(size) + [(0, 0)] * len(channels), mode="reflect")
    expected = padded[tuple(slice(far + a, far + a + n) for a, n in zip(start, shape, strict=True))]
    window = mirror_window(image, start, shape)
    assert window.dtype == image.dtype
    np.testing.assert_array_equal(window, expected)


class Recorder(np.ndarray):
    """Counts the pixels that each read takes."""

    reads: list = []  # noqa: RUF012

    def __getitem__(self, key):
        part = np.asarray(self)[key]
        self.reads.append(part.size)
        return part


def test_a_window_inside_is_a_view_and_one_at_the_edge_reads_only_its_part():
    image = np.zeros((100, 100, 1), np.uint8)
    assert np.shares_memory(mirror_window(image, (3, 4), (5, 6)), image)
    assert not np.shares_memory(mirror_window(image, (-1, 4), (5, 6)), image)
    recorder = image.view(Recorder)
    recorder.reads.clear()
    mirror_window(recorder, (-3, 96), (8, 8))
    assert recorder.reads == [5 * 5]  # rows 0..4 and, mirrored at 99, columns 95..99


def test_memory_mapped_images_work(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 1), dtype=np.uint8)
    np.save(tmp_path / "a.npy", image)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(mirror_window(mapped, (-2, 25), (6, 9)), mirror_window(image, (-2, 25), (6, 9)))


def test_bad_windows_are_refused():
    image = np.zeros((4, 5, 1))
    for start, shape in (((0,), (1, 1)), ((), ()), ((0, 0, 0, 0), (1, 1, 1, 1)), ((0, 0), (0, 3))):
        with pytest.raises(InputError, match="window"):
            mirror_window(image, start, shape)
    for arguments in ((0, 3, 0), (3, 0, 5)):
        with pytest.raises(InputError, match="mirror positions"):
            mirror_index(*arguments)
    with pytest.raises(InputError, match="size 0"):
        mirror_window(image[:0], (0, 0), (2, 2))


def test_bands_cover_an_image_row_by_row():
    assert windows.BAND == 4 * 1024**2
    assert list(bands((5, 4), 8)) == [(slice(a, b), slice(0, 4)) for a, b in ((0, 2), (2, 4), (4, 5))]
    assert [band[0] for band in bands((3, 4), 1)] == [slice(0, 1), slice(1, 2), slice(2, 3)]  # at least a row
    assert [band[0] for band in bands((7,), 3)] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(bands((3, 0), 1)) == [
        (slice(0, 1), slice(0, 0)),
        (slice(1, 2), slice(0, 0)),
        (slice(2, 3), slice(0, 0)),
    ]
    assert len(list(bands((8192, 1024)))) == 2
    assert list(bands((0, 4))) == []


def test_the_middle_is_centred_in_each_axis():
    assert middle((100, 8, 11), 10) == (slice(45, 55), slice(0, 8), slice(0, 10))
    assert middle((1026, 1024)) == (slice(1, 1025), slice(0, 1024))


def test_a_window_is_refused_before_a_pixel_is_read():
    image = np.zeros((4, 5, 1))
    assert mirror_window(image, (3, 4), (1, 1)).shape == (1, 1, 1)
    assert mirror_window(image, (0, 0, 0), (4, 5, 1)).shape == (4, 5, 1)
    with pytest.raises(InputError, match=r"window start \(0, 0\) and shape \(1,\) do not match an image of shape"):
        mirror_window(image, (0, 0), (1,))
    with pytest.raises(InputError, match=r"a window of shape \(1, 0\) is empty; every length must be 1 or more"):
        mirror_window(image, (0, 0), (1, 0))
    assert mirror_index(3, 3, 1).tolist() == mirror_index(3, 3, 5).tolist() == []
    assert mirror_index(0, 2, 5).dtype == mirror_index(0, 2, 1).dtype == np.int64
