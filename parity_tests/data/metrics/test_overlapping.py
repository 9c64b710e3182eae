"""Scores of classes that may overlap, counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, measure, measure_overlapping, membranes, pack_masks
from unet_data.metrics.evaluate import commonest_class_accuracy
from unet_spec import DataSpec, InputError, preset

CONFIG = preset("same", widths=(2, 3), out_channels=3)
DATA = DataSpec(class_names=("a", "b", "c"), overlapping=True)


def network(images):
    """Class 0 where a pixel is above one half, class 1 above one quarter, class 2 nowhere."""
    return np.concatenate([images - 0.5, images - 0.25, -np.ones_like(images)], -1)


def test_each_class_is_counted_for_itself():
    image = np.array([[0.0, 0.3], [0.6, 0.9]], np.float32)[..., None]
    mask = np.zeros((2, 2, 3), np.uint8)
    mask[1, :, 0] = 1  # as predicted
    mask[1, 1, 1] = 1  # one of three predicted pixels
    scores = measure_overlapping(network, CONFIG, DATA, [image], [mask])
    assert scores == pytest.approx(
        {"iou": (1 + 1 / 3) / 2, "iou a": 1, "iou b": 1 / 3, "dice": (1 + 2 / 4) / 2, "dice a": 1, "dice b": 0.5}
    )
    empty = measure_overlapping(network, CONFIG, DATA, [image], [np.zeros_like(mask)])
    assert math.isnan(empty["dice"])


def test_what_does_not_fit_is_refused():
    image = np.zeros((2, 2, 1), np.float32)
    with pytest.raises(InputError, match="a mask has shape"):
        measure_overlapping(network, CONFIG, DATA, [image], [np.zeros((2, 2))])
    with pytest.raises(InputError, match="do not overlap"):
        measure_overlapping(network, CONFIG, DataSpec(), [image], [np.zeros((2, 2, 3))])
    with pytest.raises(InputError, match="give a mask for each class, with --labels overlapping"):
        measure(network, CONFIG, DATA, membranes(1, 40, seed=0))


def labelled(masks, **other):
    """A data set of one picture, (H, W, 1), and masks (H, W, 3)."""
    image = np.array([[0.0, 0.3], [0.6, 0.9]], np.float32)[..., None]
    kept = {"class_names": ("a", "b", "c"), "source": "made", "overlapping": True} | other
    return Dataset((image,), (pack_masks(masks),), ("one",), **kept)


def test_a_data_set_of_masks_is_measured_as_its_masks_are():
    masks = np.zeros((2, 2, 3), np.int8)
    masks[1, :, 0] = masks[1, 1, 1] = 1
    data = labelled(masks)
    expected = measure_overlapping(network, CONFIG, DATA, data.images, [masks])
    assert measure(network, CONFIG, DATA, data, objects=True, warp=True) == expected
    masks[0, 1] = -1  # predicted as class 1, which it is not
    ignored = measure(network, CONFIG, DATA, labelled(masks, ignore=255))
    assert ignored["iou b"] == pytest.approx(1 / 2)
    assert measure_overlapping(network, CONFIG, DATA, data.images, [masks]) == ignored
    assert math.isnan(commonest_class_accuracy(data))


def test_masks_need_a_network_of_these_classes():
    data = labelled(np.zeros((2, 2, 3), np.int8))
    with pytest.raises(
        InputError, match="one class per pixel \\(softmax\\): train a network with --labels overlapping"
    ):
        measure(network, CONFIG, DataSpec(), data)
    other = DataSpec(class_names=("b", "a", "c"), overlapping=True)
    with pytest.raises(InputError, match="a, b, c, the network has b, a, c"):
        measure(network, CONFIG, other, data)
    assert "iou" in measure(network, CONFIG, other, replace(data, class_names=("class 0", "class 1", "class 2")))
    two = labelled(np.zeros((2, 2, 2), np.int8), class_names=("a", "b"))
    with pytest.raises(InputError, match="masks of 2 classes, the network has a probability for each of 3"):
        measure(network, CONFIG, DataSpec(overlapping=True), two)
