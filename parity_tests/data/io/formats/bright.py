"""A network that finds what is brighter than the middle, and what a prediction by it warns of."""

import numpy as np

from unet_data import OpenNetwork, PredictSettings, predict_file
from unet_data.inference.predict_file import Progress
from unet_spec import DataSpec, preset


class Bright:
    """In 2-D or 3-D, of one channel and `classes` classes, of which the last ones never are."""

    name = "bright"

    def __init__(self, dims, classes=2):
        self.config = preset("same", widths=(2, 4), spatial_dims=dims, out_channels=classes)

    def run(self, images):
        rest = [np.full_like(images, -9)] * (self.config.out_channels - 2)
        return np.concatenate([0.5 - images, images - 0.5, *rest], -1)


class Heard(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def predicted(source, target, dims=2, classes=2, **settings):
    """Segments an image; returns the warnings."""
    heard = Heard()
    network = OpenNetwork(Bright(dims, classes), DataSpec())
    predict_file(network, source, target, PredictSettings(**settings), heard)
    return heard.warnings
