"""A measurement in detail: of each class, of each image, and of calling everything one class."""

import math
from dataclasses import replace

import numpy as np
import pytest

from unet_data import IGNORED, Dataset, Measurement, measure, measure_in_detail
from unet_data.metrics.confusion import dice, iou
from unet_spec import DataSpec, preset

CONFIG = preset("same", widths=(4, 8), out_channels=3)
RNG = np.random.default_rng(0)
IMAGES = tuple(RNG.integers(0, 256, (20, 24, 1)).astype(np.uint8) for _ in range(3))


def network(images):
    """Dark, and bright; never the third class."""
    return np.concatenate([0.5 - images, images - 0.5, np.full_like(images, -9)], -1)


def labelled():
    """Class 2 in one image only; the last image is ignored as a whole."""
    labels = [(image[..., 0] > 140).astype(np.int32) for image in IMAGES]
    labels[0][:5] = 2
    labels[1][:, :3] = IGNORED
    labels[2][:] = IGNORED
    names, classes = ("a", "b", "c"), ("dark", "bright", "odd")
    return Dataset(names=names, images=IMAGES, labels=tuple(labels), class_names=classes, source="made", ignore=255)


def test_classes_images_and_the_baseline():
    data = labelled()
    found = measure_in_detail(network, CONFIG, DataSpec(), data)
    assert found.scores == measure(network, CONFIG, DataSpec(), data)
    label = np.concatenate([np.ravel(each) for each in data.labels])
    guess = np.concatenate([np.ravel(image > 127.5) for image in IMAGES])[label != IGNORED]
    label = label[label != IGNORED]
    assert found.matrix.sum() == len(label)
    for index, one in enumerate(found.classes):
        assert one["name"] == ("dark", "bright", "odd")[index]
        assert one["share"] == pytest.approx(np.mean(label == index))
        assert one["predicted"] == pytest.approx(np.mean(guess == index))
        hit = np.sum((label == index) & (guess == index))
        assert one["iou"] == pytest.approx(hit / np.sum((label == index) | (guess == index)))
        assert one["dice"] == pytest.approx(2 * hit / (np.sum(label == index) + np.sum(guess == index)))
    assert list(found.images) == ["a", "b"]
    assert found.images["a"] < found.images["b"]
    shares = [np.mean(label == index) for index in range(3)]
    assert found.commonest == ("dark", "bright", "odd")[int(np.argmax(shares))]
    assert found.baseline == pytest.approx({"pixel_accuracy": max(shares), "iou": max(shares) / 3})


def test_the_baseline_is_that_of_a_network_that_calls_all_one_class():
    data = labelled()
    one = measure(lambda images: np.concatenate([images + 9, images, images], -1), CONFIG, DataSpec(), data)
    found = measure_in_detail(network, CONFIG, DataSpec(), data)
    assert found.commonest == "dark"
    assert found.baseline == pytest.approx({name: one[name] for name in ("pixel_accuracy", "iou")})


def test_a_class_that_is_nowhere_has_no_score():
    matrix = np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])
    found = Measurement({}, matrix, {}, ("a", "b", "c"))
    assert math.isnan(found.classes[2]["iou"])
    assert found.baseline["iou"] == 0.25
    one = Measurement({}, np.array([[4, 1], [0, 0]]), {}, ("a", "b"))
    assert math.isnan(one.baseline["iou"])
    assert (iou(matrix).mean, dice(matrix).mean) == (0.6, 0.75)


def test_names_of_the_weights_go_before_those_of_the_data_and_are_filled_up():
    data = labelled()
    named = measure_in_detail(network, CONFIG, DataSpec(class_names=("x", "y", "z")), data)
    assert named.class_names == ("x", "y", "z")
    two = replace(data, labels=tuple(np.minimum(label, 1) for label in data.labels), class_names=("dark", "bright"))
    assert measure_in_detail(network, CONFIG, DataSpec(), two).class_names == ("dark", "bright", "class 2")
