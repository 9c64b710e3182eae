"""Connected regions."""

import numpy as np

from unet_data.labels.regions import regions


def test_regions_touching_at_a_corner_are_two():
    assert regions(np.eye(3, dtype=bool)).max() == 3
