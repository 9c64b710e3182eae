"""The target of a data set, and its images and labels at the target: places to a fraction of a pixel, and identity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unet_data import IGNORED, FileFacts, TargetSpacing, choose_spacing, membranes, resample_dataset
from unet_spec import InputError

from .spacing.balls import CENTRE, EXTENT, ball, centre_of, of_balls

TARGET = TargetSpacing((1.0, 1.0, 1.0), "mm")


def sized(*sizes, unit="mm"):
    """Volumes whose files state these pixel sizes; None: no statement."""
    facts = tuple(FileFacts() if s is None else FileFacts(spacing=s, unit=unit) for s in sizes)
    return replace(membranes(len(sizes), 16, seed=0, spatial_dims=3), facts=facts)


def test_the_median_of_each_axis():
    target = choose_spacing(sized((2, 1.0, 0.5), (2, 1.2, 0.7), (3, 1.1, 0.6)))
    assert (target.size, target.unit) == ((2.0, 1.1, 0.6), "mm")
    assert "median of pixel sizes that differ by a factor of up to 1.5" in target.reason


def test_the_coarse_axis_has_the_tenth_percentile():
    sizes = [(z, 1.0, 1.0) for z in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)]
    target = choose_spacing(sized(*sizes))
    assert target.size == (5.0, 1.0, 1.0)
    assert "10th percentile" in target.reason
    few = choose_spacing(sized(*([(0.5, 1.0, 1.0)] * 3), *([(8.0, 1.0, 1.0)] * 4)))
    assert few.size == (1.0, 1.0, 1.0)  # no smaller than the pixels of the other axes


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([(5, 1, 1), (5.04, 1, 1)], "all images have pixels of 5 x 1 x 1 mm"),
        ([None, None], "no file states a pixel size along z, y and x"),
        ([(5, 1, 1), None, (1, 1, 1)], "1 of 3 images state no pixel size along z, y and x"),
    ],
)
def test_nothing_is_resampled(sizes, reason):
    target = choose_spacing(sized(*sizes))
    assert (target.size, target.reason) == ((), reason)


def test_units_are_converted():
    data = sized((5, 1, 1), (5, 1, 1))
    other = replace(data.facts[1], spacing=(10_000, 1000, 1000), unit="micrometer")
    target = choose_spacing(replace(data, facts=(data.facts[0], other)))
    assert (target.size, target.unit) == ((5.5, 1.0, 1.0), "mm")  # the 10th percentile of 5 and 10


def test_what_is_given():
    data = sized((5, 1, 1), (1, 1, 1), unit="micrometer")
    assert choose_spacing(data, "none").size == ()
    given = choose_spacing(data, "4,0.5,0.25")
    assert (given.size, given.unit, given.reason) == ((4.0, 0.5, 0.25), "µm", "given")
    assert choose_spacing(data, "2").size == (2.0, 2.0, 2.0)
    with pytest.raises(InputError, match="one for each of the 3 axes"):
        choose_spacing(data, "2,1")


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 0.5), (0.5, 0.75, 1.5), (4.0, 1.0, 1.0)])
def test_an_object_keeps_its_place_and_size(spacing):
    found = resample_dataset(of_balls(spacing), TARGET)
    assert found.images[0].shape == (24, 30, 36, 1)
    assert found.images[0].dtype == np.uint8
    np.testing.assert_allclose(centre_of(found.images[0][..., 0].astype(float), EXTENT), CENTRE, atol=0.15)
    np.testing.assert_allclose(centre_of(found.labels[0].astype(float), EXTENT), CENTRE, atol=0.2)
    expected = ball((1.0, 1.0, 1.0))
    assert 2 * (found.labels[0] & expected).sum() / (found.labels[0].sum() + expected.sum()) > 0.9
    assert (found.facts[0].spacing, found.spacing) == ((1.0, 1.0, 1.0), TARGET)


def test_images_as_well():
    target = TargetSpacing((1000.0, 1000.0), "µm")
    found = resample_dataset(of_balls((0.5, 2.0), dims=2, instances=True), target)
    assert found.images[0].shape == (30, 36, 1)
    np.testing.assert_allclose(centre_of(found.labels[0].astype(float), EXTENT[-2:]), CENTRE[-2:], atol=0.2)
    assert found.instances is not None
    np.testing.assert_array_equal(found.instances[0], 7 * found.labels[0])


def test_nothing_changes_at_the_target():
    data = of_balls((1.0, 1.0, 1.0), (2.0, 1.0, 1.0))
    found = resample_dataset(data, TARGET)
    assert found.images[0] is data.images[0]
    assert found.labels[0] is data.labels[0]
    again = resample_dataset(found, TARGET)
    assert again.images[1] is found.images[1]
    assert again.spacing == TARGET
    assert resample_dataset(data, TargetSpacing(())) is data
    unknown = replace(data, facts=())
    assert resample_dataset(unknown, TARGET).images == unknown.images


def test_ignored_pixels_stay_ignored():
    data = of_balls((2.0, 1.0, 1.0))
    label = data.labels[0].copy()
    label[:6] = IGNORED
    found = resample_dataset(replace(data, labels=(label,), ignore=255), TARGET)
    assert (found.labels[0][:12] == IGNORED).all()
    assert (found.labels[0][13:] != IGNORED).all()


def test_images_too_large_for_memory_are_refused(monkeypatch):
    monkeypatch.setenv("UNET_MEMORY", "1MiB")
    with pytest.raises(InputError, match="balls: resampled images need"):
        resample_dataset(of_balls((2.0, 1.0, 1.0)), TargetSpacing((0.1, 0.1, 0.1), "mm"))
