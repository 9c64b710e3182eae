"""Painted labels as a data set, and a network that is trained on them only."""

import threading

import numpy as np
import pytest

from unet_data import Sampler
from unet_spec import Checkpoint, InputError
from unet_tools.napari_plugin.paint import painted_dataset, run_folder, train_painted
from unet_tools.napari_plugin.work import Cancelled

from .layer import layer, ran

GREY = np.arange(4 * 24 * 20, dtype=np.uint16).reshape(4, 24, 20)


def strokes(shape=(4, 24, 20)):
    painted = np.zeros(shape, np.int64)
    painted[1, 2:4, 2:9], painted[3, 10, 5:9], painted[3, 20:, :3] = 1, 3, 1
    return painted


def test_every_painted_number_is_a_class_and_the_rest_is_ignored():
    data = painted_dataset(layer(GREY), layer(strokes(), "paint"))
    assert data.class_names == ("label 1", "label 3")
    assert data.names == ("em-1", "em-3")
    assert (data.ignore, data.source) == (0, "the layer em")
    assert np.array_equal(data.images[1][..., 0], GREY[3])
    assert np.array_equal(data.labels[1], np.select([strokes()[3] == 1, strokes()[3] == 3], [0, 1], -1))
    assert data.label_counts().tolist() == [[14, 0], [12, 4]]


def test_volumes_channels_and_colours():
    assert painted_dataset(layer(GREY), layer(strokes(), "paint"), dims=3).images[0].shape == (4, 24, 20, 1)
    two = np.stack([GREY, GREY + 1], 1)
    data = painted_dataset(layer(two), layer(strokes(), "paint"))
    assert data.images[0].shape == (24, 20, 2)
    assert np.array_equal(data.images[0][..., 1], GREY[1] + 1)
    colour = layer(np.zeros((4, 24, 20, 3), np.uint8), rgb=True)
    assert painted_dataset(colour, layer(strokes(), "paint")).channels == 3


@pytest.mark.parametrize(
    ("painted", "words"),
    [
        (np.zeros((4, 24, 20), int), r"the layer paint has nothing painted: paint some pixels of each class"),
        (strokes() * (strokes() == 3), r"the layer paint has only 3 painted"),
        (strokes()[:, :-1], r"em \(4, 24, 20\) and paint \(4, 23, 20\) differ in shape"),
        (np.arange(4 * 24 * 20).reshape(4, 24, 20), r"has 1919 numbers; each is a class, and 255 are allowed"),
    ],
)
def test_what_cannot_train_is_one_line(painted, words):
    with pytest.raises(InputError, match=words):
        painted_dataset(layer(GREY), layer(painted, "paint"))


def test_every_run_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_CACHE", str(tmp_path))
    first = run_folder("cells: a/b")
    assert first == tmp_path / "napari" / "cells--a-b-1"
    first.mkdir(parents=True)
    assert run_folder("cells: a/b").name == "cells--a-b-2"


def test_training_tiles_hold_painted_pixels():
    """Few strokes in a large image: most tiles at random positions would contain none."""
    painted = np.zeros((1, 400, 400), np.int64)
    painted[0, 50, 50:60], painted[0, 380:, 390:] = 1, 2
    data = painted_dataset(layer(painted.astype(np.uint8)), layer(painted, "paint"))
    sampler = Sampler(data, (12, 12), (12, 12), batch=4, seed=0, oversample=1.0)
    seen = [np.unique(label) for step in range(20) for label in sampler.batch(step)[1]]
    assert all((classes >= 0).any() for classes in seen)
    assert 20 < sum(0 in classes for classes in seen) < 60  # the rarer class is drawn as often as the other


@pytest.mark.slow
def test_a_network_learns_from_strokes_and_can_be_cancelled(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_CACHE", str(tmp_path))
    image = np.where(np.add.outer(np.arange(40), np.arange(40)) % 20 < 10, 40, 200).astype(np.uint8)
    painted = np.zeros_like(image)
    painted[:8] = 1 + (image[:8] > 100)
    data = painted_dataset(layer(image), layer(painted, "paint"))
    monkeypatch.setattr("unet_jax.training.planning.speed.seconds_per_step", lambda *_: 0.05)
    steps, trained = ran(train_painted(data, 0.05, tmp_path / "run", threading.Event(), (2, 4)))
    checkpoint = Checkpoint.load(trained.folder)
    assert checkpoint.config.widths == (2, 4)
    assert checkpoint.data.class_names == ("label 1", "label 2")
    assert (trained.steps, steps[-1].done) == (60, 60)

    cancel = threading.Event()
    task = train_painted(data, 0.05, tmp_path / "other", cancel, (2, 4))
    next(task)
    cancel.set()
    with pytest.raises(Cancelled):
        ran(task)
    assert not (tmp_path / "other" / "best").exists()
