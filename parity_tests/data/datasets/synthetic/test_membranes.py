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
