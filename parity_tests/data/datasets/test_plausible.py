"""Wrong units and wrong pairs are warned of; right ones are not: planted one at a time into a clean set."""

from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, membranes
from unet_data.datasets import plausible
from unet_data.datasets.check import check_dataset
from unet_data.datasets.plausible import implausible
from unet_data.io.facts import FileFacts

CLEAN = membranes(8, 80, 0)


def labelled(change):
    return replace(CLEAN, labels=tuple(np.ascontiguousarray(change(label)) for label in CLEAN.labels))


def as_floats(planted, declared=False):
    images = [image.astype(np.float32) / 255 for image in CLEAN.images]
    images[0][:10, :10] = planted
    facts = (FileFacts(nodata=planted),) * 8 if declared else ()
    labels = [label.copy() for label in CLEAN.labels]
    if declared:
        labels[0][:10, :10] = -1
    return replace(CLEAN, images=tuple(images), facts=facts, labels=tuple(labels))


WRONG = {
    "of the next picture": (replace(CLEAN, labels=CLEAN.labels[1:] + CLEAN.labels[:1]), "do the masks belong"),
    "upside down": (labelled(lambda a: a[::-1]), "better upside down"),
    "mirrored": (labelled(lambda a: a[:, ::-1]), "better mirrored"),
    "transposed": (labelled(lambda a: a.T), "better with rows and columns exchanged"),
    "turned": (labelled(np.rot90), "better turned by 270°"),
    "inverted": (labelled(lambda a: np.ones_like(a) - (np.indices(a.shape).sum(0) < 40)), "are the masks inverted?"),
    "no data that nobody declares": (as_floats(-9999.0), "are -9999, the others"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_warned_of(name):
    dataset, words = WRONG[name]
    found = [what for _, what in implausible(dataset)]
    assert any(words in what for what in found), found
    assert any(words in p.what and p.level == "warning" for p in check_dataset(dataset))


def volumes(change=lambda a: a):
    images = tuple(image[None].repeat(4, 0) for image in CLEAN.images)
    labels = tuple(np.ascontiguousarray(change(label))[None].repeat(4, 0) for label in CLEAN.labels)
    return Dataset(images, labels, CLEAN.names, CLEAN.class_names, "volumes")


RIGHT = {
    "clean": CLEAN,
    "bright objects in the dark": replace(CLEAN, images=tuple(255 - image for image in CLEAN.images)),
    "16 bits": replace(CLEAN, images=tuple(image.astype(np.uint16) * 16 for image in CLEAN.images)),
    "declared": as_floats(-9999.0, declared=True),
    "floats with a black corner": as_floats(0.0),
    "volumes": volumes(),
    "a pixel off": labelled(lambda a: np.roll(a, 1, 0)),
    "few images": replace(CLEAN.subset([0, 1]), labels=CLEAN.labels[2:4]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_not(name):
    assert list(implausible(RIGHT[name])) == []


def test_the_middle_plane_of_a_volume_is_compared():
    assert any("better upside down" in what for _, what in implausible(volumes(lambda a: a[::-1])))


EVEN = np.linspace(0, 1, 101)


def outlying(count, value, others):
    image = np.resize(np.asarray(others, np.float32), (40, 50, 1)).copy()
    image.reshape(-1)[:count] = value
    [found] = [*implausible(Dataset((image,), None, ("a",), (), "here")), None][:1]
    return found and found[1]


@pytest.mark.parametrize(
    ("count", "value", "others", "warned"),
    [
        (3, -9999, EVEN, True),
        (2, -9999, EVEN, False),  # a few pixels are noise
        (3, 9999, EVEN, True),
        (3, 20.5, EVEN, False),  # 19.6 is 20 times the range from the 1st to the 99th percentile
        (3, 20.7, EVEN, True),
        (3, -19.5, EVEN, False),
        (3, -19.7, EVEN, True),
        (3, 5.0, [5.0], False),  # nothing but one value
        (3, 5.00005, [5.0], False),  # within the rounding of float32
    ],
)
def test_a_value_far_from_all_others_is_warned_of(count, value, others, warned):
    found = outlying(count, value, others)
    assert (found is not None) == warned
    if warned:
        assert f"{count / 2000:.1%} of the pixels are {np.float32(value):g}, the others" in found


def test_an_image_is_searched_for_outliers_in_bands(monkeypatch):
    monkeypatch.setattr("unet_data.windows.BAND", 500)
    read = []

    class Stored(np.ndarray):
        def __getitem__(self, window):
            read.append(window)
            return np.asarray(super().__getitem__(window))

    image = np.random.default_rng(0).random((40, 50, 2)).astype(np.float32)
    assert plausible._outliers(image.view(Stored), None) is None
    assert [window[0] for window in read] == [slice(n, n + 10) for n in range(0, 40, 10)]
    image[3, :, 0] = -9999
    assert "2.5%" not in (plausible._outliers(image, -9999) or "")
    assert "1.2% of the pixels are -9999" in plausible._outliers(image, None)


@pytest.mark.parametrize(("count", "warned"), [(4, False), (5, True)])
def test_of_many_pixels_one_in_ten_thousand_must_be_alike(count, warned):
    image = np.resize(EVEN.astype(np.float32), (6, 6667, 1)).copy()
    image[:4, :-1] = np.resize(EVEN, (4, 6666, 1))
    image.reshape(-1)[:count] = -9999
    assert (plausible._outliers(image, None) is not None) is warned


def test_few_values_say_nothing():
    for size, warned in ((99, False), (100, True)):
        image = np.resize(EVEN.astype(np.float32), (size, 1, 1)).copy()
        image[:3] = -9999
        assert (plausible._outliers(image, None) is not None) is warned


def test_the_limits_are_those_that_are_documented():
    assert (plausible.SAMPLED_IMAGES, plausible.SIDE, plausible.MIN_IMAGES) == (24, 384, 4)
    assert (plausible.DOMINANT, plausible.OUTLYING, plausible.SAMPLES) == (0.85, 20, 2**18)


@pytest.mark.parametrize(("share", "warned"), [(0.86, True), (0.84, False)])
def test_masks_are_inverted_beyond_their_share(share, warned):
    label = np.ones((40, 50), np.int32)
    label.reshape(-1)[round(share * label.size) :] = 0
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 1)).astype(np.uint8)
    data = Dataset((image,), (label,), ("a",), ("background", "cell"), "here")
    found = [what for _, what in implausible(data)]
    assert found == [f"class 1 (cell) has {share:.0%} of the pixels: are the masks inverted?"] * warned
    three = replace(data, class_names=("a", "b", "c"))
    assert list(implausible(three)) == []
