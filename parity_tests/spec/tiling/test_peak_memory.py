"""The memory of a forward pass, predicted from the graph."""

import numpy as np

from unet_spec.families.unet import PRESETS
from unet_spec.tiling.peak_memory import ActivationMemory, MemoryModel


def test_activation_memory_is_the_sum_of_maps_alive():
    """Followed by hand through a two-level valid network with an input of 20: 20 18 16 | 8 6 4 | 8 6 4."""
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0)
    extents = [{k: np.float64(v) for k, v in config.graph.sizes(0, 20).items()}] * 2
    alive = {
        "encoder.0.conv1": 20**2 * 1 + 18**2 * 2,
        "encoder.0.conv2": 18**2 * 2 + 16**2 * 2,
        "encoder.1.conv1": 16**2 * 2 + 8**2 * 2 + 6**2 * 4,
        "decoder.0.up": 16**2 * 2 + 4**2 * 4 + 8**2 * 2,
        "decoder.0.crop": 16**2 * 2 + 8**2 * 2 + 8**2 * 2,
        "decoder.0.concat": 8**2 * 2 + 8**2 * 2 + 8**2 * 4,
    }
    assert ActivationMemory(config.graph, MemoryModel()).peak(extents) == 4 * max(alive.values())
