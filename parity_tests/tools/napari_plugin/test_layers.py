"""Layers as images: planes, volumes, channels, and attributes of results."""

import numpy as np
import pytest

from unet_spec import DataSpec, InputError
from unet_tools.napari_plugin.layers import LayerImages, channel_axis, images_for

from .layer import brightness, layer

NUMBERS = np.arange(2 * 3 * 5 * 7, dtype=np.uint16).reshape(2, 3, 5, 7)


def test_planes_and_volumes_of_a_stack():
    planes, volumes = LayerImages((layer(NUMBERS),), 2), LayerImages((layer(NUMBERS),), 3)
    assert (len(planes), planes.leading, planes.spatial) == (6, (2, 3), (5, 7))
    assert planes.place(4) == (1, 1)
    assert np.array_equal(planes[4], NUMBERS[1, 1][..., None])
    assert (len(volumes), volumes.spatial) == (2, (3, 5, 7))
    assert np.array_equal(volumes[1], NUMBERS[1][..., None])
    assert len(list(planes)) == 6
    single = LayerImages((layer(NUMBERS[0, 0]),), 2)
    assert (len(single), single.place(0)) == (1, ())
    assert np.array_equal(single[0][..., 0], NUMBERS[0, 0])


def test_colours_without_alpha_and_the_full_resolution_of_a_pyramid():
    colour = layer(np.arange(5 * 7 * 4, dtype=np.uint8).reshape(5, 7, 4), rgb=True)
    assert LayerImages((colour,), 2).shape == (5, 7)
    assert np.array_equal(LayerImages((colour,), 2)[0], colour.data[..., :3])
    pyramid = layer([NUMBERS[0, 0], NUMBERS[0, 0, ::2, ::2]], multiscale=True)
    assert np.array_equal(LayerImages((pyramid,), 2)[0][..., 0], NUMBERS[0, 0])


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_an_axis_of_channels_goes_last(axis):
    """Also among the leading axes or after the spatial ones."""
    data = np.moveaxis(NUMBERS, 1, axis)  # 2 planes, 3 channels of 5 x 7
    images = images_for([layer(data)], brightness(in_channels=3))
    assert images.channel_axis == axis
    assert (images.leading, images.spatial) == ((2,), (5, 7))
    assert np.array_equal(images[1], np.moveaxis(NUMBERS[1], 0, -1))


def test_a_label_decides_between_axes_of_one_length():
    data = np.zeros((3, 3, 5, 7), np.uint8)
    with pytest.raises(InputError, match=r"has 2 axes of 3, the network's channels: label the right one 'channel'"):
        channel_axis(layer(data), 2, 3)
    assert channel_axis(layer(data, axis_labels=("t", "Channel", "y", "x")), 2, 3) == 1


def test_a_layer_for_each_channel():
    first, second = layer(NUMBERS[0, 0], "red"), layer(NUMBERS[0, 1], "green")
    images = images_for([first, second], brightness(in_channels=2))
    assert np.array_equal(images[0], np.stack([NUMBERS[0, 0], NUMBERS[0, 1]], -1))
    with pytest.raises(InputError, match=r"2 image layers are selected; the network takes 3 channel"):
        images_for([first, second], brightness(in_channels=3))
    with pytest.raises(InputError, match=r"red \(5, 7\) and green \(3, 5, 7\) .* their shapes differ"):
        images_for([first, layer(NUMBERS[0], "green")], brightness(in_channels=2))
    with pytest.raises(InputError, match=r"RGB layers cannot be channels"):
        images_for([first, layer(np.zeros((5, 7, 3), np.uint8), rgb=True)], brightness(in_channels=2))


def test_what_no_image_can_be_made_of_is_one_line():
    with pytest.raises(InputError, match=r"takes volumes \(depth, height, width\); the layer em has 2 axes"):
        images_for([layer(NUMBERS[0, 0])], brightness(spatial_dims=3))
    with pytest.raises(InputError, match=r"takes 4 channels; .* no axis of that length: select 4 image layers"):
        images_for([layer(NUMBERS)], brightness(in_channels=4))
    with pytest.raises(InputError, match=r"the layer em: has 1 NaN"):
        _ = LayerImages((layer(np.array([[np.nan, 1.0]])),), 2)[0]


def test_a_network_that_repeats_grey_takes_a_layer_without_channels():
    network = brightness(DataSpec(reading={"channels": "repeat"}), in_channels=3)
    [image] = images_for([layer(NUMBERS[0, 0])], network)
    with pytest.warns(UserWarning, match="grey repeated"):
        assert network.prepare(image[None]).shape == (1, 5, 7, 3)


def test_results_lie_where_the_image_lies():
    own = {"scale": (9.0, 1.0, 0.5, 0.25), "translate": (0.0, 1.0, 2.0, 3.0), "units": ("s", "pixel", "um", "um")}
    images = images_for([layer(NUMBERS, rotate="turned", **own)], brightness(in_channels=3))
    assert images.placed() == {"scale": (9.0, 0.5, 0.25), "translate": (0.0, 2.0, 3.0), "units": ("s", "um", "um")}
    whole = LayerImages((layer(NUMBERS, rotate="turned", shear=None, **own),), 2).placed()
    assert whole == {**own, "rotate": "turned"}
