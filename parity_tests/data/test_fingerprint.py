"""The figures of a data set, against images of which they are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, fingerprint, membranes
from unet_data.datasets.label_rule import IGNORED
from unet_data.fingerprint import SAMPLED_IMAGES, SIDE
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


def test_the_limits_are_those_of_the_docstring():
    assert SAMPLED_IMAGES == 24
    assert SIDE == {2: 1024, 3: 160}


@pytest.mark.parametrize(("count", "read"), [(24, 24), (25, 24), (60, 24)])
def test_intensities_are_those_of_24_images_evenly_spaced(count, read):
    levels = np.zeros(count, np.uint8)
    chosen = sorted({round(number) for number in np.linspace(0, count - 1, read)})
    levels[chosen] = 9
    images = tuple(np.full((2, 2, 1), level, np.uint8) for level in levels)
    labels = (np.zeros((2, 2), np.int32),) * count
    found = fingerprint(Dataset(images, labels, tuple(map(str, range(count))), ("x",), "here"))
    assert (len(chosen), found.mean, found.std, found.spread) == (read, 9, 0, 0)


def test_only_the_middle_of_an_image_is_read(monkeypatch):
    monkeypatch.setitem(SIDE, 2, 4)
    monkeypatch.setitem(SIDE, 3, 2)
    instances = np.zeros((8, 8), np.int32)
    instances[0, 0], instances[3:5, 3:5] = 1, 2
    found = fingerprint(numbered(instances, value=20))
    assert (found.objects, found.mean) == (1, 10 + 40 * 4 / 16)
    volume = np.zeros((4, 4, 4), np.int32)
    volume[0], volume[1:3, 1:3, 1:3] = 1, 2
    assert fingerprint(numbered(volume)).objects == 1


def test_objects_in_a_volume_are_balls_and_ignored_pixels_none():
    instances = np.zeros((20, 20, 20), np.int32)
    instances[2:12, 2:12, 2:12], instances[12:14, 2:4, 2:4] = 5, 9
    instances[15:] = IGNORED
    found = fingerprint(numbered(np.maximum(instances, 0)))
    ball = [(6 * n / np.pi) ** (1 / 3) for n in (1000, 8)]
    assert (found.objects, found.touching) == (2, 1.0)
    assert found.object_size == pytest.approx(np.mean(ball))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("gap", "touching"), [(0, 1.0), (1, 0.0)])
def test_objects_touch_along_any_axis(axis, gap, touching):
    instances = np.zeros((6, 6, 6), np.int32)
    moved = np.moveaxis(instances, axis, 0)
    moved[1, 2, 2], moved[2 + gap, 2, 2] = 3, 8
    assert fingerprint(numbered(instances)).touching == touching


def test_missing_pixels_have_no_brightness():
    image = np.full((4, 4, 2), 10, np.float32)
    image[0], image[1, 0, 0] = -1, -1  # missing in both channels, and in one
    label = np.zeros((4, 4), np.int32)
    data = Dataset((image,), (label,), ("a",), ("x",), "here", facts=(FileFacts(nodata=-1.0),))
    values = np.array([10] * 23 + [-1])
    assert fingerprint(data).mean == pytest.approx(values.mean())
    assert fingerprint(data).std == pytest.approx(values.std())
    empty = replace(data, images=(np.full_like(image, -1),))
    assert (fingerprint(empty).mean, fingerprint(empty).std, fingerprint(empty).spread) == (0, 0, 0)


@pytest.mark.parametrize(
    ("spacing", "dims", "found"),
    [((5.0, 2.0, 1.0), 2, (2.0, 1.0)), ((2.0, 1.0), 3, None), ((0.0, 1.0), 2, None), ((-1.0, 1.0), 2, None)],
)
def test_the_spacing_is_that_of_the_images_axes(spacing, dims, found):
    shape = (4,) * dims
    data = Dataset((np.zeros((*shape, 1), np.uint8),), (np.zeros(shape, np.int32),), ("a",), ("x",), "here")
    figures = fingerprint(replace(data, facts=(FileFacts(spacing=spacing),)))
    assert (figures.spacing, figures.coarseness) == (found, 2.0 if found else 1.0)
