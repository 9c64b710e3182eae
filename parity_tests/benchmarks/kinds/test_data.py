"""The six kinds of images are what their names say."""

import numpy as np
import pytest

from benchmarks.kinds.data import KINDS, SCORED, TRAINING


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in KINDS.items() if name != "thick sections"}


def share(dataset, number):
    return float(np.mean([np.mean(np.asarray(label) == number) for label in dataset.labels]))


@pytest.mark.slow
def test_each_kind_is_what_its_name_says(made):
    from scipy import ndimage

    labels, count = ndimage.label(np.asarray(made["tiny objects"][0].labels[0]))
    assert 2 < np.sqrt(np.bincount(labels.ravel())[1:].mean()) < 6
    assert count > 30
    assert 0.003 < share(made["rare class"][0], 1) < 0.008
    assert {int(n) for label in made["three classes"][0].labels for n in np.unique(label)} == {0, 1, 2}
    image = np.asarray(made["12 bits"][0].images[0])
    assert image.dtype == np.uint16
    assert 255 < image.max() <= 4095
    assert len(made["four images"][0]) == 4


def test_no_image_is_both_trained_on_and_scored(made):
    for name, (training, scored) in made.items():
        own = {np.asarray(image).tobytes() for image in training.images}
        assert not own.intersection(np.asarray(image).tobytes() for image in scored.images), name
        assert len(own) == len(training)
    assert [len(part) for part in made["12 bits"]] == [TRAINING, SCORED]


def test_the_same_call_gives_the_same_images(made):
    again = KINDS["rare class"]()[0]
    for one, other in zip(made["rare class"][0].images, again.images, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.slow
def test_sections_are_five_times_as_thick_as_a_pixel():
    training, scored = KINDS["thick sections"]()
    assert (len(training), len(scored)) == (6, 3)
    for part in (training, scored):
        assert {image.shape for image in part.images} == {(20, 96, 96, 1)}
        assert {facts.spacing for facts in part.facts} == {(5.0, 1.0, 1.0)}
