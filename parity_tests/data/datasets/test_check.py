"""The check of a data set: each of the usual mistakes, planted one at a time, is found; a clean set passes."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import unet_data.datasets.check
from unet_data import Dataset, membrane_instances, membranes, split
from unet_data.datasets.check import ALIKE, RARE, check_dataset
from unet_data.labels.regions import regions
from unet_spec import InputError

CLEAN = membranes(8, 40, 0)


def with_image(index, image):
    return replace(CLEAN, images=(*CLEAN.images[:index], image, *CLEAN.images[index + 1 :]))


def with_label(index, label):
    return replace(CLEAN, labels=(*CLEAN.labels[:index], label, *CLEAN.labels[index + 1 :]))


def with_ignored(index):
    labels = list(CLEAN.labels)
    labels[index] = np.full_like(labels[index], -1)
    return replace(CLEAN, labels=tuple(labels), ignore=255)


def with_rare(*indices):
    """A third class, in the first row of these labels (of 8, the last one validates)."""
    labels = [label.copy() for label in CLEAN.labels]
    for index in indices:
        labels[index][0] = 2
    return replace(CLEAN, labels=tuple(labels), class_names=("a", "b", "c"))


VOLUME = membranes(1, 24, 0, spatial_dims=3)
VOLUME_LABEL = np.where(np.arange(24)[:, None, None] < 20, 0, VOLUME.labels[0]).astype(np.int32)


NUMBERS = membrane_instances(8, 40, 0)
COUNT = max(int(numbers.max()) for numbers in NUMBERS) + 1


def with_numbers(*extra):
    """Cells by number, read as classes; extra: (image, pixel, class) that belongs to no cell."""
    labels = [numbers.copy() for numbers in NUMBERS]
    for index, pixel, number in extra:
        labels[index][pixel] = number
    return replace(CLEAN, labels=tuple(labels), class_names=tuple(map(str, range(COUNT))))


def nearly(image):
    return np.clip(image.astype(int) + np.indices(image.shape).sum(0) % 2, 0, 255).astype(np.uint8)


PLANTED = {
    "empty image": (with_image(1, np.full((40, 40, 1), 9, np.uint8)), "error", "the image is empty"),
    "mask as image": (with_image(1, CLEAN.labels[1][..., None].astype(np.uint8)), "error", "the same picture"),
    "dark": (with_image(1, (CLEAN.images[1] // 64).astype(np.uint8)), "warning", "no value above"),
    "twice": (with_image(7, CLEAN.images[0]), "error", "the same picture as membranes-000"),
    "leak": (with_image(7, nearly(CLEAN.images[0])), "warning", "nearly the same picture as the training image"),
    "one class": (with_label(2, np.ones((40, 40), np.int32)), "warning", "only class 1"),
    "absent class": (replace(CLEAN, class_names=("a", "b", "c")), "error", "class 2 (c) has no pixel"),
    "one image": (CLEAN.subset([0]), "error", "has 1 image; a split into training and validation needs 2 or more"),
    "not trained": (with_rare(7), "error", "class 2 (c) has no pixel in the training part"),
    "not validated": (with_rare(0, 6), "warning", "class 2 (c) has no pixel in the validation part"),
    "not trained planes": (
        replace(VOLUME, labels=(VOLUME_LABEL,)), "error", "class 1 (cell) has no pixel in the training part"
    ),
    "ignored": (with_ignored(7), "error", "every pixel of the validation part is ignored"),
    "no labels": (replace(CLEAN, labels=None, class_names=()), "error", "no labels"),
    "small": (CLEAN, "warning", "smaller than the 64 pixels"),
    "numbered": (with_numbers(), "warning", "if they number objects, pass --labels instance"),
    "grey as colour": (
        replace(CLEAN, images=tuple(i.repeat(3, -1) for i in CLEAN.images)), "warning", "three equal channels"
    ),
    "sizes": (
        replace(CLEAN, **{k: (getattr(CLEAN, k)[0][:30], *getattr(CLEAN, k)[1:]) for k in ("images", "labels")}),
        "warning", "2 sizes"
    ),
}  # fmt: skip


OF_A_PART = ("not trained", "not validated", "not trained planes", "ignored")
"""Mistakes of the last sixth, which the default split goes round."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(name):
    dataset, level, words = PLANTED[name]
    found = check_dataset(dataset, 64 if name == "small" else 0, "last" if name in OF_A_PART else "auto")
    if name in ("not validated", "ignored"):
        assert not any(words in p.what for p in check_dataset(dataset)), "the default split has it too"
    assert any(p.level == level and words in p.what for p in found), found


def test_classes_in_several_places_are_no_numbers():
    """A pixel of a class apart from its region may be a mistake in drawing; one of each class is none."""
    far = np.argwhere((NUMBERS[3] == 0) & (np.indices((40, 40)).sum(0) > 60))
    assert any("number objects" in p.what for p in check_dataset(with_numbers()))
    assert any("number objects" in p.what for p in check_dataset(with_numbers((3, tuple(far[0]), 1))))
    apart = [(index, (0, column), number) for index in range(8) for column, number in ((0, 1), (39, 2), (20, 3))]
    assert not any("number objects" in p.what for p in check_dataset(with_numbers(*apart)))


def test_of_many_rare_classes_five_are_listed():
    label = np.zeros((100, 100), np.int32)
    label[::2, :5] = np.arange(1, 251).reshape(50, 5) % 9 + 1
    label[50:] = 1
    data = replace(
        CLEAN,
        images=tuple(np.tile(i, (3, 3, 1))[:100, :100] for i in CLEAN.images),
        labels=(label,) * 8,
        class_names=tuple(map(str, range(10))),
    )
    rare = [p.what for p in check_dataset(data) if "of the pixels: use --balance" in p.what]
    assert len(rare) == 5
    assert rare[0].endswith("; 3 more classes have less than 0.5%")


@pytest.mark.parametrize(("modulus", "named"), [(4, True), (16, True), (17, False), (1000, False)])
def test_numbers_in_several_places_are_no_objects(modulus, named):
    """Numbers that repeat lie in several places; more than 16 are not called classes."""
    tiled = [np.tile(numbers, (3, 3)) for numbers in NUMBERS]
    objects = [regions(numbers > 0) for numbers in tiled]
    repeated = tuple(np.where(numbers, numbers % modulus + 1, 0).astype(np.int32) for numbers in objects)
    images = tuple(np.tile(image, (3, 3, 1)) for image in CLEAN.images)
    data = replace(CLEAN, images=images, labels=tuple((n > 0).astype(np.int32) for n in repeated), instances=repeated)
    assert any("pass --labels semantic" in p.what for p in check_dataset(data)) == named


def test_a_clean_set_passes():
    assert check_dataset(CLEAN) == []


def test_no_image_is_kept_in_memory_beside_the_data_set():
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (256, 256 + i, 1), np.uint8) for i in range(32))
    dataset = Dataset(images, None, tuple(map(str, range(32))), (), "noise")
    tracemalloc.start()
    list(unet_data.datasets.check._leaks(dataset, split(dataset)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20  # twice that in all


def pictures(shape, smooth, noise=()):
    """Pages of smoothed noise, then noisy copies of page 3."""
    rng = np.random.default_rng(0)
    pages = gaussian_filter(rng.normal(size=shape), smooth)
    pages *= 40 / pages.std()
    pages = [*pages, *(pages[3] + rng.normal(0, sigma, shape[1:]) for sigma in noise)]
    return [np.clip(page + 128, 0, 255).astype(np.uint8)[..., None] for page in pages]


NOISE = (1, 2, 7, 9, 12)  # the first trains; a correlation falls below ALIKE at a fifth of the pictures' own 40
PICTURES = {
    "copies": pictures((20, 90, 131), (0, 3, 3), NOISE),
    "copies of noise": pictures((20, 90, 131), 0, NOISE),
    "stack": pictures((30, 90, 131), (6, 3, 3)),
    "volumes": pictures((20, 9, 40, 71), (0, 2, 2, 2), NOISE),
    "two sizes": [page[: 80 + i % 2] for i, page in enumerate(pictures((20, 90, 131), (0, 1, 1), NOISE))],
}


@pytest.mark.parametrize("name", PICTURES)
def test_nearly_the_same_pictures_are_those_of_high_correlation_and_few_are_compared_whole(name, monkeypatch):
    names = tuple(f"page-{i}" for i in range(len(PICTURES[name])))
    dataset = Dataset(tuple(PICTURES[name]), None, names, (), name)
    training, validation = split(dataset)
    wanted = []
    for held, image in zip(validation.names, validation.images, strict=True):
        known = zip(training.names, training.images, strict=True)
        same = [(other, each) for other, each in known if each.shape == image.shape]
        alike = [other for other, each in same if np.corrcoef(each.ravel(), image.ravel())[0, 1] > ALIKE]
        wanted += [(held, f"nearly the same picture as the training image {other}") for other in alike[:1]]
    assert 0 < len(wanted) < len(validation)
    compared, whole = [], unet_data.datasets.check._correlation
    monkeypatch.setattr(unet_data.datasets.check, "_correlation", lambda *pair: compared.append(0) or whole(*pair))
    printed = [(p.where, p.what.split(":")[0]) for p in check_dataset(dataset) if "nearly" in p.what]
    assert printed == wanted
    assert len(compared) <= len(validation) + 2  # of 20 times as many


def printed(data, tile=None):
    return [p.what for p in check_dataset(data, tile)]


@pytest.mark.parametrize(("share", "rare"), [(0.9 * RARE, True), (1.2 * RARE, False)])
def test_a_class_is_rare_below_half_a_percent(share, rare):
    made = membranes(8, 40, 0)
    labels = tuple(label.copy() for label in made.labels)
    for label in labels:
        label.ravel()[: round(share * label.size)] = 2
    found = printed(replace(made, labels=labels, class_names=("a", "b", "c")))
    assert any("use --balance or --oversample" in what for what in found) == rare


@pytest.mark.parametrize("size", [(40, 80), (80, 40)])
def test_an_image_is_small_where_one_side_is(size):
    made = membranes(4, size, 0)
    assert any("smaller than the 64 pixels" in what for what in printed(made, 64))
    assert not any("smaller than" in what for what in printed(made, 40))
    assert any(f"smaller than the {size[0]}x{size[1] + 8} pixels" in w for w in printed(made, (size[0], size[1] + 8)))
    assert not any("smaller than" in what for what in printed(made, size))
    with pytest.raises(InputError, match="--tile is 8x8x8, but there are 2 axes"):
        check_dataset(made, (8, 8, 8))


def test_of_many_sizes_four_are_named():
    images = tuple(np.random.default_rng(n).integers(0, 255, (9, 8 + n, 1)).astype(np.uint8) for n in range(5))
    found = [p.what for p in check_dataset(Dataset(images, None, tuple("abcde"), (), "here"))]
    assert "images of 5 sizes (9x8, 9x9, 9x10, 9x11, …)" in found
