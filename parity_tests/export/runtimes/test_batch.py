"""What the runtimes share: layouts, refusals, threads, copies."""

import os
import pickle

import numpy as np
import pytest

from unet_export.runtimes import batch
from unet_export.runtimes.batch import Reopened, absolute, model_input, thread_count, usable_cores
from unet_spec import InputError, preset

CONFIG = preset("same", widths=(2, 4), in_channels=3)


def test_channels_come_first_in_one_piece():
    images = np.random.default_rng(0).normal(size=(2, 16, 20, 3)).astype(np.float32)
    found = model_input(CONFIG, images)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 16, 20, 3), np.float64, "the network takes float32 images, not float64"),
        ((0, 16, 20, 3), np.float32, r"an image batch of shape \(0, 16, 20, 3\) contains no image"),
        ((1, 16, 20, 2), np.float32, "2 channels"),
        ((1, 16, 21, 3), np.float32, "21"),
        ((16, 20, 3), np.float32, "axes|shape"),
    ],
)
def test_batches_that_no_model_takes(shape, dtype, message):
    with pytest.raises(InputError, match=message):
        model_input(CONFIG, np.zeros(shape, dtype))


def test_threads_are_those_asked_for_or_the_cores_of_this_process(monkeypatch):
    monkeypatch.setattr(batch, "usable_cores", lambda: 5)
    assert [thread_count(n) for n in (None, 1, 3)] == [5, 1, 3]
    for n in (0, -1):
        with pytest.raises(InputError, match=f"threads is {n}; it must be at least 1"):
            thread_count(n)


def test_cores_that_a_process_may_not_use_do_not_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, cores in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_cores() == cores


class Opened(Reopened):
    def __init__(self, *arguments):
        self.opened = arguments


def test_a_copy_is_opened_with_the_same_arguments(tmp_path, monkeypatch):
    assert pickle.loads(pickle.dumps(Opened("a", 3, "cpu"))).opened == ("a", 3, "cpu")
    monkeypatch.chdir(tmp_path)
    assert absolute("model.onnx") == str(tmp_path / "model.onnx")
    assert absolute(b"content") == b"content"
