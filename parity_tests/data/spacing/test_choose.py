"""The target of a data set: from its files' pixel sizes, or as given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unet_data import FileFacts, choose_spacing, membranes
from unet_spec import InputError


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
        ([None, None], "no file states a pixel size"),
        ([(5, 1, 1), None, (1, 1, 1)], "1 of 3 images state no pixel size"),
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
