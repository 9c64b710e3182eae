"""Inputs of a graph that are missing or of another shape."""

import numpy as np
import pytest

from unet_spec import InputError, random_tensors

from ..fixtures.family_cases import FAMILIES
from ..fixtures.family_twins import image


def test_an_input_that_is_missing_or_wrong_is_reported():
    config = FAMILIES["probabilistic-unet"]
    tensors, x = random_tensors(config.graph, 0, np.float64), image(config)
    with pytest.raises(InputError, match=r"posterior.head cannot be computed without the input segmentation"):
        config.graph.activations(tensors, x, keep=("posterior.head",))
    with pytest.raises(InputError, match=r"the input 'noise' has shape \(3, 4\); expected \(3, 1, 1, 3\)"):
        config.graph.forward(tensors, x, inputs={"noise": np.zeros((3, 4))})
    with pytest.raises(InputError, match="the network has no input 'nose'; it has input, noise, segmentation"):
        config.graph.forward(tensors, x, inputs={"nose": np.zeros((3, 4))})
