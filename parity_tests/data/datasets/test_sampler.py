"""Batches that depend on seed and step alone."""

import numpy as np
import pytest

from unet_data import IGNORED, Dataset, Sampler, membranes, pack_distances
from unet_spec import InputError


def test_steps_of_different_seeds_share_no_places():
    data = membranes(8, 64, 0)
    seen = {}
    for seed in (5, 6):
        sampler = Sampler(data, (28, 28), (12, 12), 2, seed)
        for step in (7, 8):
            seen[seed, step] = str(sampler.places(step))
    assert len(set(seen.values())) == 4


def test_windows_of_image_label_and_weight_are_one():
    values = np.arange(20 * 23, dtype=np.int32).reshape(20, 23)
    data = Dataset((values[..., None].astype(np.uint16),), (values,), ("a",), tuple(map(str, values.ravel())), "here")
    sampler = Sampler(data, (12, 10), (6, 6), 3, 0, weights=[values.astype(np.float32)])
    for step in range(4):
        images, labels, weights = sampler.batch(step)
        np.testing.assert_array_equal(images[..., 0], labels)
        np.testing.assert_array_equal(weights, labels)
        for part, whole in zip(sampler.batch(step, slice(1, 2)), (images, labels, weights), strict=True):
            np.testing.assert_array_equal(part, whole[1:2])


def aligned(*shapes, dtype=np.uint16):
    """Each pixel's value is its label and unlike every other one's, so that a shift by one pixel shows."""
    images, labels, first = [], [], 0
    for shape in shapes:
        values = np.arange(first, first + int(np.prod(shape)), dtype=np.int32).reshape(shape)
        first += values.size
        images.append(values[..., None].astype(dtype))
        labels.append(values)
    names = tuple(str(i) for i in range(len(shapes)))
    return Dataset(tuple(images), tuple(labels), names, tuple(map(str, range(first))), "aligned")


@pytest.mark.parametrize(
    ("shapes", "window", "target"),
    [
        ([(20, 23)], (12, 10), (6, 6)),
        ([(20, 23), (9, 31)], (11, 9), (7, 9)),
        ([(5, 6)], (16, 18), (8, 10)),
        ([(4, 30)], (20, 8), (6, 4)),
        ([(6, 9, 8)], (6, 8, 8), (2, 4, 6)),
    ],
)
def test_image_and_label_show_the_same_window(shapes, window, target):
    sampler = Sampler(aligned(*shapes), window, target, batch=4, seed=3)
    for step in range(5):
        images, labels = sampler.batch(step)
        assert [(x.shape, x.dtype) for x in (images, labels)] == sampler.shapes()
        assert images.shape == (4, *window, 1)
        assert images.dtype == np.uint16
        assert labels.shape == (4, *window)
        assert labels.dtype == np.int32
        for image, label in zip(images, labels, strict=True):
            np.testing.assert_array_equal(image[..., 0], label)


def test_a_batch_depends_on_seed_and_step_alone():
    data = aligned((20, 23), (9, 31))
    one, two = (Sampler(data, (8, 8), (8, 8), 3, seed=5) for _ in range(2))
    for step in (4, 0, 2):
        one.batch(step)
    np.testing.assert_array_equal(one.batch(7)[0], two.batch(7)[0])
    assert not np.array_equal(one.batch(7)[0], one.batch(8)[0])
    assert not np.array_equal(one.batch(7)[0], Sampler(data, (8, 8), (8, 8), 3, seed=6).batch(7)[0])


def test_every_target_position_and_image_is_drawn():
    """Corners included, and never beyond the image: a target inside is never mirrored."""
    sampler = Sampler(aligned((5, 6), (4, 4)), (7, 7), (3, 3), batch=40, seed=0)
    corners = {int(label[2, 2]) for step in range(20) for label in sampler.batch(step)[1]}
    first = {row * 6 + column for row in range(3) for column in range(4)}
    second = {30 + row * 4 + column for row in range(2) for column in range(2)}
    assert corners == first | second


def test_an_image_smaller_than_the_target_is_shown_whole():
    sampler = Sampler(aligned((3, 4)), (8, 8), (6, 8), batch=30, seed=0)
    labels = sampler.batch(0)[1]
    for label in labels:
        assert set(np.unique(label)) == set(range(12))
    assert len({int(label[0, 0]) for label in labels}) > 3


@pytest.mark.parametrize(
    ("window", "target", "batch", "seed", "words"),
    [
        ((8, 8), (7, 8), 1, 0, "even"),
        ((8, 8), (10, 8), 1, 0, "no larger"),
        ((8, 8), (0, 8), 1, 0, "1 or more"),
        ((8,), (8,), 1, 0, "2 lengths"),
        ((8, 8), (8, 8), 0, 0, "batch"),
        ((8, 8), (8, 8), 1, -1, "seed"),
    ],
)
def test_sampler_refusals(window, target, batch, seed, words):
    with pytest.raises(InputError, match=words):
        Sampler(aligned((20, 20)), window, target, batch, seed)


def test_sampler_needs_labels_and_a_step():
    data = aligned((20, 20))
    with pytest.raises(InputError, match="no labels"):
        Sampler(Dataset(data.images, None, data.names, (), "here"), (8, 8), (8, 8), 1, 0)
    with pytest.raises(InputError, match="step"):
        Sampler(data, (8, 8), (8, 8), 1, 0).batch(-1)


def rare(pixels, size=(40, 50), images=3):
    """Images of class 0 with single pixels of other classes: (image, row, column, class)."""
    labels = [np.zeros(size, np.int32) for _ in range(images)]
    for image, row, column, number in pixels:
        labels[image][row, column] = number
    names = tuple(map(str, range(images)))
    return Dataset(tuple(x[..., None].astype(np.uint8) for x in labels), tuple(labels), names, tuple("abc"), "here")


def targets(sampler, steps, outer=12, inner=6):
    margin = (outer - inner) // 2
    for step in range(steps):
        yield from sampler.batch(step)[1][:, margin : margin + inner, margin : margin + inner]


@pytest.mark.parametrize("place", [(0, 0), (39, 49), (0, 49), (20, 30)])
def test_every_oversampled_target_has_a_pixel_of_the_rare_class(place):
    sampler = Sampler(rare([(1, *place, 1)]), (12, 12), (6, 6), batch=4, seed=0, oversample=1.0)
    found = [np.argwhere(target == 1)[0] for target in targets(sampler, 10)]
    assert all(index == 1 for step in range(10) for index, _ in sampler.places(step))
    if place == (20, 30):
        assert len({tuple(pixel) for pixel in found}) > 10  # not always in the middle


def test_rare_classes_are_drawn_alike_and_the_commonest_is_not():
    pixels = [(0, 5, 5, 1), *((2, 20, column, 2) for column in range(10, 40))]
    sampler = Sampler(rare(pixels), (12, 12), (6, 6), batch=4, seed=0, oversample=1.0)
    chosen = [index for step in range(50) for index, _ in sampler.places(step)]
    assert set(chosen) == {0, 2}
    assert 0.4 < chosen.count(0) / len(chosen) < 0.6


def test_where_most_pixels_are_ignored_the_commonest_class_is_drawn_too():
    """A target drawn anywhere would hold no pixel that counts."""
    labels = np.full((400, 500), -1, np.int32)
    labels[5, 5:25], labels[300, 400] = 0, 1
    image = np.zeros((400, 500, 1), np.uint8)
    data = Dataset((image,), (labels,), ("x",), ("a", "b"), "here", ignore=255)
    found = list(targets(Sampler(data, (12, 12), (6, 6), batch=4, seed=0, oversample=1.0), 25))
    assert all((target >= 0).any() for target in found)
    assert 0.35 < np.mean([(target == 0).any() for target in found]) < 0.65


def test_the_share_of_the_targets_that_are_drawn_so():
    sampler = Sampler(rare([(1, 20, 30, 1)], (400, 500)), (12, 12), (6, 6), batch=4, seed=0, oversample=0.25)
    hits = [bool((target == 1).any()) for target in targets(sampler, 100)]
    assert 0.2 < np.mean(hits) < 0.3
    plain = Sampler(rare([(1, 20, 30, 1)], (400, 500)), (12, 12), (6, 6), batch=4, seed=0)
    assert not any((target == 1).any() for target in targets(plain, 100))


def test_classes_that_overlap_are_drawn_by_their_masks():
    labels = np.zeros((40, 50), np.int32)
    labels[7, 9] = 0b10  # class 1 alone
    data = Dataset((np.zeros((40, 50, 1), np.uint8),), (labels,), ("x",), ("a", "b"), "here", overlapping=True)
    sampler = Sampler(data, (12, 12), (6, 6), batch=4, seed=0, oversample=1.0)
    assert all((target == 2).any() for target in targets(sampler, 10))


def test_volumes_and_images_smaller_than_the_target():
    labels = np.zeros((4, 30, 8), np.int32)
    labels[3, 29, 0] = 1
    data = Dataset((np.zeros((4, 30, 8, 1), np.uint8),), (labels,), ("x",), ("a", "b"), "here")
    sampler = Sampler(data, (10, 10, 10), (6, 6, 6), batch=4, seed=0, oversample=1.0)
    for step in range(5):
        assert all((label[2:8, 2:8, 2:8] == 1).any() for label in sampler.batch(step)[1])


def test_a_data_set_of_one_class_and_a_share_beyond_one():
    sampler = Sampler(rare([]), (12, 12), (6, 6), batch=2, seed=0, oversample=1.0)
    assert sampler.places(0) == Sampler(rare([]), (12, 12), (6, 6), batch=2, seed=0).places(0)
    with pytest.raises(InputError, match=r"oversample is 1\.5; it must lie in 0 … 1"):
        Sampler(rare([]), (12, 12), (6, 6), batch=2, seed=0, oversample=1.5)


def test_distances_are_in_the_labels_of_the_same_window():
    cells = np.kron(np.arange(6).reshape(2, 3), np.ones((7, 7), int))
    distances = cells.astype(np.float32) / 5
    labels = (cells > 0).astype(np.int32)
    labels[5:9, 8:13] = IGNORED
    data = Dataset((cells[..., None].astype(np.uint16),), (labels,), ("a",), ("0", "1"), "here", ignore=9)
    images, packed = Sampler(data, (12, 10), (6, 6), 4, 0, distances=[distances]).batch(3)
    expected = pack_distances((images[..., 0] > 0).astype(int), images[..., 0] / np.float32(5))
    assert (packed < 0).any()
    np.testing.assert_array_equal(packed[packed >= 0], expected[packed >= 0])
    with pytest.raises(InputError, match="each distance map must have the shape"):
        Sampler(data, (12, 10), (6, 6), 4, 0, distances=[distances[1:]])
