"""Numbers, names and colours of result layers."""

import numpy as np

from unet_data.io.colours import COLOURS
from unet_tools.napari_plugin.results import class_numbers, classes_layer, colours


def test_painted_numbers_come_back():
    labels, arguments, _ = classes_layer(np.array([[0, 1, 2]], np.uint8), ("label 2", "label 5", "label 9"), "x", {})
    assert labels.tolist() == [[2, 5, 9]]
    assert arguments["features"] == {"index": [2, 5, 9], "class": ["label 2", "label 5", "label 9"]}
    assert class_numbers(["label 2", "cell"]) == [0, 1]


def test_the_colours_are_those_of_label_pictures():
    shown = colours([0, 1, 8])
    assert shown[0] == shown[None] == (0.0, 0.0, 0.0, 0.0)
    assert np.allclose(np.multiply(shown[1], 255), (*COLOURS[1], 255))
    assert shown[8] == shown[1]
