"""An image of any size, block by block: plans, kills, damage, windows."""

import numpy as np
import pytest

from unet_data import ObjectSettings, objects_of
from unet_data.objects import streaming
from unet_data.objects.streaming import label_image, plan_blocks
from unet_spec import InputError

from .maps import blobs

SETTINGS = ObjectSettings(reach=6, neck=0.9, core=0.45)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(streaming, "LARGEST", 24)


def reader(values):
    return lambda low, high: values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]


def test_labels_are_those_in_memory_and_read_by_any_window(tmp_path, small):
    values = blobs((61, 83), 1)
    whole, classes = objects_of(values, SETTINGS)
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    assert len(labels.blocks) > 6
    np.testing.assert_array_equal(labels[:, :], whole)
    np.testing.assert_array_equal(labels.objects.classes, classes)
    assert labels.dtype == np.uint16
    for low, high, step in (((3, 5), (40, 70), 1), ((0, 0), (61, 83), 4), ((8, 16), (60, 99), 8)):
        expected = whole[low[0] : high[0] : step, low[1] : high[1] : step]
        np.testing.assert_array_equal(labels.window(low, high, step), expected)


def test_volumes(tmp_path, small):
    values = blobs((30, 19, 33), 2, sigma=1.5)
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    np.testing.assert_array_equal(labels[:, :, :], objects_of(values, SETTINGS, dims=3)[0])


def test_a_kill_after_any_block_loses_nothing(tmp_path, small):
    values, read = blobs((61, 83), 3), []

    def counted(low, high):
        read.append(low)
        return reader(values)(low, high)

    class Killed(BaseException):
        pass

    def kill(at):
        def done(number, count):
            if number == at:
                raise Killed

        return done

    for at in (0, 2, 5):
        with pytest.raises(Killed):
            label_image(counted, values.shape, 1, SETTINGS, tmp_path, done=kill(at))
    labels = label_image(counted, values.shape, 1, SETTINGS, tmp_path)
    assert len(read) == len(labels.blocks)
    np.testing.assert_array_equal(labels[:, :], objects_of(values, SETTINGS)[0])


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_block_is_computed_again(tmp_path, small, damage):
    values = blobs((61, 83), 3)
    label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    [file, *_] = sorted(tmp_path.rglob("*.npz"))
    file.write_bytes(damage(file.read_bytes()))
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    np.testing.assert_array_equal(labels[:, :], objects_of(values, SETTINGS)[0])
    file.write_bytes(damage(file.read_bytes()))
    labels._cache.clear()
    with pytest.raises(InputError, match="damaged; delete it"):
        _ = labels[:, :]


def test_plans_fit_the_memory():
    blocks = plan_blocks((20000, 20000), ObjectSettings(), 1, 2**29)
    side, halo = blocks.side[0], ObjectSettings().halo(2)[0]
    assert (side + 2 * halo) ** 2 * streaming.BYTES_PER_PIXEL <= 2**29
    assert side > 1000
    assert plan_blocks((20000, 20000), ObjectSettings(), 1, 2**27).side[0] < side
    assert plan_blocks((30, 40), ObjectSettings(), 1, 2**26).side == (30, 40)
    with pytest.raises(InputError, match=r"allow more memory, or lower reach \(48\)"):
        plan_blocks((20000, 20000), ObjectSettings(), 1, 2**19)


def test_few_blocks_are_in_memory(tmp_path, small):
    values = blobs((90, 90), 4)
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    labels.budget = 2 * 24 * 24 * 4
    _ = labels[:, :]
    assert len(labels._cache) <= 2


def test_two_rows_of_blocks_are_kept_whatever_the_budget(tmp_path, small, monkeypatch):
    values = blobs((120, 83), 5)
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    rows, columns = labels.blocks.counts
    read, load = [], streaming._labels
    monkeypatch.setattr(streaming, "_labels", lambda folder, number: (read.append(number), load(folder, number))[1])
    for start in range(0, 120, 7):  # in file order, with one pixel around each window
        labels.window((max(start - 1, 0), 0), (start + 8, 83))
        assert sum(block.nbytes for block in labels._cache.values()) <= 2 * 24 * 83 * 4 < 120 * 83 * 4
    assert read == list(range(rows * columns))


def test_as_many_blocks_are_kept_as_fit_the_budget_and_the_oldest_goes_first(tmp_path, small):
    values = blobs((90, 90), 4)
    labels = label_image(reader(values), values.shape, 1, SETTINGS, tmp_path)
    one = labels.block(0).nbytes
    assert one == labels.block(1).nbytes
    labels.budget = 2 * one
    assert [n for n in (0, 1) if labels.block(n) is not None] == list(labels._cache) == [0, 1]
    labels.block(0)  # now 1 is the oldest
    labels.block(5)
    assert list(labels._cache) == [0, 5]
    labels.budget = 2 * one - 1
    labels.block(6)
    assert list(labels._cache) == [6]
    labels.budget = 0
    assert labels.block(7) is labels.block(7)
    labels.budget = one
    whole = labels.objects.numbers
    assert labels.dtype == np.uint16
    assert (labels.ndim, labels.shape, labels.spatial_dims) == (2, (90, 90), 2)
    assert labels.count == len(labels.objects.sizes) == whole.max()
