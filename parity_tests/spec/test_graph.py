"""Inputs of a graph that are missing or of another shape."""

import numpy as np
import pytest

from unet_spec import InputError, preset, random_tensors

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


@pytest.mark.parametrize(
    ("dims", "channels_last", "layout"),
    [(2, True, "N H W C"), (2, False, "N C H W"), (3, True, "N D H W C"), (3, False, "N C D H W")],
)
def test_an_image_that_does_not_fit_is_reported_in_the_layout_of_the_call(dims, channels_last, layout):
    graph = preset("same", widths=(2, 4), in_channels=3, spatial_dims=dims).graph

    def shape(channels, *size):
        return (5, *size, channels) if channels_last else (5, channels, *size)

    graph.check_image(shape(3, *(4, 6, 8)[:dims]), channels_last)
    for wrong in ((5, 3), (5, 3, *[4] * (dims + 1))):
        with pytest.raises(InputError) as printed:
            graph.check_image(wrong, channels_last)
        assert str(printed.value) == f"an image batch of shape {wrong} has {len(wrong)} axes; expected ({layout})"
    wrong = shape(4, *[6] * dims)
    with pytest.raises(InputError) as printed:
        graph.check_image(wrong, channels_last)
    assert str(printed.value) == f"the image has 4 channels, the network takes 3 (shape {wrong}, read as {layout})"
    with pytest.raises(InputError, match=f"input {'x'.join('67' + '6' * (dims - 2))} does not fit"):
        graph.check_image(shape(3, *[6, 7, 6][:dims]), channels_last)
