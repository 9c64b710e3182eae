"""The figures of a data set, against images of which they are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, fingerprint, membranes
from unet_data.io.facts import FileFacts
from unet_spec import InputError


def numbered(instances, value=1):
    """A data set of one image whose labels number objects."""
    image = np.full((*instances.shape, 1), 10, np.uint8) + instances[..., None].astype(np.uint8) * value
    labels = (instances > 0).astype(np.int32)
    return Dataset((image,), (labels,), ("a",), ("background", "foreground"), "here", instances=(instances,))


def test_sizes_are_of_all_images_each_axis_by_itself():
    images = [np.zeros(size, np.uint8) for size in ((10, 80, 3), (30, 40, 3), (20, 60, 3))]
    labels = tuple(np.zeros(image.shape[:-1], np.int32) for image in images)
    found = fingerprint(Dataset(tuple(images), labels, ("a", "b", "c"), ("x",), "here"))
    assert (found.smallest, found.median, found.largest) == ((10, 40), (20, 60), (30, 80))
    assert (found.images, found.channels, found.dtype, found.class_names) == (3, 3, "uint8", ("x",))


def test_intensities_and_how_unlike_the_images_are():
    dark, bright = (np.tile(np.uint8([[level - 2], [level + 2]]), (4, 8))[..., None] for level in (10, 30))
    labels = tuple(np.zeros((8, 8), np.int32) for _ in range(2))
    found = fingerprint(Dataset((dark, bright), labels, ("a", "b"), ("x",), "here"))
    assert (found.mean, found.std, found.spread) == (20, 2, 5)


def test_shares_count_every_image():
    labels = (np.zeros((4, 4), np.int32), np.eye(4, dtype=np.int32))
    found = fingerprint(Dataset((np.zeros((4, 4, 1), np.uint8),) * 2, labels, ("a", "b"), ("x", "y"), "here"))
    assert found.shares == (28 / 32, 4 / 32)
    assert found.rarest == 4 / 32


def test_objects_their_size_and_who_touches():
    instances = np.zeros((60, 60), np.int32)
    instances[5:15, 5:15], instances[15:25, 5:15] = 1, 2  # share an edge
    instances[40:50, 40:50] = 3
    found = fingerprint(numbered(instances))
    assert (found.objects, found.touching) == (3, 2 / 3)
    assert found.object_size == pytest.approx(np.sqrt(100 * 4 / np.pi))


def test_labels_without_numbers_have_no_objects_and_empty_ones_none():
    found = fingerprint(membranes(2, 40, seed=0))
    assert (found.objects, found.object_size, found.touching) == (None, None, None)
    empty = fingerprint(numbered(np.zeros((8, 8), np.int32)))
    assert (empty.objects, empty.object_size, empty.touching, empty.rarest) == (0, 0.0, 0.0, 1.0)


def test_volumes_have_the_spacing_of_their_file():
    volume, label = np.zeros((4, 6, 6, 1), np.uint8), np.zeros((4, 6, 6), np.int32)
    data = Dataset((volume,), (label,), ("a",), ("x",), "here")
    assert (fingerprint(data).spacing, fingerprint(data).coarseness) == (None, 1.0)
    data = replace(data, facts=(FileFacts(spacing=(5.0, 1.0, 1.0)),))
    assert (fingerprint(data).spacing, fingerprint(data).coarseness) == ((5.0, 1.0, 1.0), 5.0)


def test_the_ratio_of_the_pixel_sizes_of_two_images():
    volume, label = np.zeros((4, 6, 6, 1), np.uint8), np.zeros((4, 6, 6), np.int32)
    facts = (FileFacts(spacing=(5.0, 1.0, 1.0)), FileFacts(), FileFacts(spacing=(4.0, 0.5, 1.0)))
    data = Dataset((volume,) * 3, (label,) * 3, ("a", "b", "c"), ("x",), "here", facts=facts)
    assert (fingerprint(data).spacing, fingerprint(data).spacing_ratio) == ((5.0, 1.0, 1.0), 2.0)
    assert fingerprint(replace(data, facts=())).spacing_ratio == 1.0


def test_it_is_json():
    assert json.loads(json.dumps(fingerprint(membranes(2, 40, seed=0)).to_dict()))["median"] == [40, 40]


def test_images_without_labels_are_refused():
    with pytest.raises(InputError, match="has no labels"):
        fingerprint(replace(membranes(2, 40, seed=0), labels=None))
