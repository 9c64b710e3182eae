"""Synthetic pictures: the same bytes for the same seed, and like tissue."""

import numpy as np
import pytest

from unet_data import confusion, dice, membrane_instances, membranes
from unet_spec import InputError


def test_synthetic_pictures_are_the_same_bytes_for_the_same_seed():
    first, second, other = membranes(2, 48, 7), membranes(3, 48, 7), membranes(1, 48, 8)
    assert first.images[1].tobytes() == second.images[1].tobytes()
    assert first.labels[1].tobytes() == second.labels[1].tobytes()
    assert first.images[0].tobytes() != other.images[0].tobytes()
    assert first.images[0].tobytes() != first.images[1].tobytes()


@pytest.mark.parametrize(
    ("size", "channels", "dims", "shape"),
    [(64, 1, 2, (64, 64)), ((40, 72), 3, 2, (40, 72)), ((8, 9), 1, 2, (8, 9)), ((16, 24, 40), 2, 3, (16, 24, 40))],
)
def test_synthetic_shapes_and_values(size, channels, dims, shape):
    data = membranes(1, size, 0, channels, dims)
    assert data.images[0].shape == (*shape, channels)
    assert data.images[0].dtype == np.uint8
    assert data.labels[0].shape == shape
    assert data.class_names == ("membrane", "cell")
    assert set(np.unique(data.labels[0])) <= {0, 1}


def test_synthetic_pictures_look_like_tissue():
    """Membranes are dark and about a fifth; a threshold helps, yet does not solve it (0.69 on real ISBI slices)."""
    from scipy import ndimage

    data = membranes(3, 192, 1)
    assert 0.15 < 1 - np.mean([label.mean() for label in data.labels]) < 0.3
    scores = []
    for threshold in range(60, 150, 6):
        blurred = [ndimage.gaussian_filter(image[..., 0].astype(np.float32), 1.0) for image in data.images]
        guesses = [(image > threshold).astype(np.int32) for image in blurred]
        matrix = sum(confusion(g, label, 2) for g, label in zip(guesses, data.labels, strict=True))
        scores.append(dice(matrix).per_class[0])
    assert 0.5 < max(scores) < 0.85


def test_instances_number_the_cells():
    data, cells = membranes(1, 96, 2), membrane_instances(1, 96, 2)[0]
    assert cells.dtype == np.int32
    np.testing.assert_array_equal(cells > 0, data.labels[0] == 1)
    assert sorted(np.unique(cells)) == list(range(cells.max() + 1))
    assert cells.max() > 8
    different = (cells[1:] != cells[:-1]) & (cells[1:] > 0) & (cells[:-1] > 0)
    assert not different.any()  # membrane lies between any two cells


@pytest.mark.parametrize(
    "arguments", [(0, 32, 0), (1, 7, 0), (1, (32, 32, 32), 0), (1, 32, -1), (1, 32, 0, 0), (1, 32, 0, 1, 4)]
)
def test_synthetic_refusals(arguments):
    with pytest.raises(InputError):
        membranes(*arguments)


def test_a_seed_gives_the_same_picture_in_every_version():
    """Published numbers rest on these pictures. Two values may differ by the rounding of another processor."""
    image = membranes(1, (48, 40), 3, channels=2).images[0]
    found = np.moveaxis(image[::7, ::6], -1, 0).astype(int)
    expected = [
        [[89, 95, 83, 192, 125, 56, 121], [183, 151, 143, 169, 94, 111, 97], [165, 81, 135, 131, 82, 87, 151],
         [199, 147, 145, 96, 106, 92, 88], [107, 138, 106, 95, 96, 102, 100], [104, 107, 85, 155, 71, 105, 115],
         [142, 60, 75, 64, 128, 156, 182]],
        [[79, 133, 122, 166, 118, 126, 137], [169, 139, 163, 131, 112, 106, 62], [169, 85, 134, 160, 75, 87, 160],
         [168, 146, 125, 99, 103, 51, 125], [123, 125, 96, 110, 115, 112, 98], [98, 123, 71, 129, 76, 120, 118],
         [98, 68, 96, 116, 94, 141, 154]],
    ]  # fmt: skip
    assert (np.abs(found - expected) > 1).sum() <= 2
    volume = membranes(1, (24, 26, 28), 4, spatial_dims=3).images[0]
    expected = [
        [[129, 73, 93, 69, 43], [139, 66, 88, 228, 154], [97, 151, 83, 113, 109], [142, 160, 78, 218, 146]],
        [[140, 40, 139, 133, 181], [130, 49, 167, 203, 175], [133, 58, 156, 157, 214], [172, 94, 94, 131, 174]],
        [[87, 47, 216, 188, 78], [97, 164, 162, 61, 68], [154, 131, 126, 68, 66], [143, 54, 92, 74, 74]],
    ]
    assert (np.abs(volume[::8, ::8, ::6, 0].astype(int) - expected) > 1).sum() <= 2
