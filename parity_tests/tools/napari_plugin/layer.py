"""Layers without napari, networks without weights, and the result of a task."""

from types import SimpleNamespace

import numpy as np

from unet_data import OpenNetwork
from unet_spec import DataSpec, preset


def layer(data, name="em", rgb=False, multiscale=False, **others):
    return SimpleNamespace(data=data, name=name, rgb=rgb, multiscale=multiscale, **others)


class Brightness:
    """Class 1 where the mean of the channels is above one half."""

    name = "brightness"

    def __init__(self, **config):
        self.config = preset("same", widths=(2, 4), **config)

    def run(self, images):
        mean = images.mean(-1, keepdims=True) - 0.5
        classes = np.concatenate([-mean, mean], -1) * 20
        return np.concatenate([classes, 2 * mean], -1) if self.config.distance_head else classes


def brightness(data=None, **config):
    return OpenNetwork(Brightness(**config), data or DataSpec(class_names=("dark", "bright")))


def ran(task):
    """The yielded steps and the return value of a task."""
    steps = []
    while True:
        try:
            steps.append(next(task))
        except StopIteration as end:
            return steps, end.value
