"""The whole image is the default where tiles cannot be exact."""

import numpy as np

from unet_data import predict_image
from unet_spec import DataSpec, random_tensors
from unet_spec.families.unet import PRESETS


def test_the_whole_image_is_the_default_where_tiles_cannot_be_exact():
    config = PRESETS["same-bilinear"].replace(widths=(2, 4))
    tensors = random_tensors(config.graph, 3, np.float32)
    seen = []

    def run(x):
        seen.append(x.shape)
        return config.graph.forward(tensors, x)

    predict_image(run, np.zeros((1300, 64, 1), np.uint8), config, DataSpec())
    assert len(seen) == 1
