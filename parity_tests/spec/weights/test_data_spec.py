"""The facts about images and classes that travel with the weights."""

from __future__ import annotations

import json
import math

import pytest

from unet_spec import DataSpec, InputError, preset

CONFIG = preset("article", widths=(2, 3), out_channels=3)


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec(),
        DataSpec((0.4,), (0.2,), ("a", "b", "c")),
        DataSpec(reading={"channels": "all"}),
        DataSpec(overlapping=True, assumed=("no normalisation",)),
    ],
)
def test_what_is_written_is_read(spec):
    assert DataSpec.from_dict(spec.to_dict(), "x") == spec


def test_fields_that_came_later_are_written_only_where_they_say_something():
    assert list(DataSpec().to_dict()) == ["mean", "std", "class_names"]
    assert DataSpec(overlapping=True).to_dict()["overlapping"] is True


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"overlapping": 1}, "data.overlapping is 1; it must be true or false"),
        ({"assumed": "x"}, "a list of names"),
        ({"spacing": 5}, "data.spacing is 5; it must be a list of numbers"),
        ({"spacing": [5.0, 0.0]}, "data.spacing must be finite and above zero"),
        ({"spacing_unit": 1}, "data.spacing_unit is 1; it must be the name of a unit"),
        ({"reading": ["channels"]}, "data.reading is .* an object"),
        ({"reading": {"channels": 3}}, "data.reading is .* an object of names"),
        ({"labels": {"ignore": 3}}, "data.labels is .* an object of names"),
        ({"labels": {"ignore": "x"}}, "data.labels has ignore 'x', which this version does not know"),
        ({"labels": {"void": "3"}}, "data.labels has void '3', which this version does not know"),
    ],
)
def test_wrong_values_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        DataSpec.from_dict(values, "x")


def test_names_are_counted_against_the_classes():
    DataSpec(class_names=("a", "b", "c"), overlapping=True).check(CONFIG, "x")
    with pytest.raises(InputError, match="x: 2 class names for 1 classes"):
        DataSpec(class_names=("a", "b"), overlapping=True).check(CONFIG.replace(out_channels=1), "x")


def test_a_normalisation_is_stored_and_read_again():
    spec = DataSpec((0.5,), (0.2,), normalization="ct", low=(0.1,), high=(0.9,), nodata=-9999.0)
    values = json.loads(json.dumps(spec.to_dict(), allow_nan=False))
    assert DataSpec.from_dict(values, "here") == spec
    assert math.isnan(DataSpec.from_dict(DataSpec(nodata=math.nan).to_dict(), "here").nodata)
    assert DataSpec((0.5,), (0.2,)).to_dict() == {"mean": [0.5], "std": [0.2], "class_names": []}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"normalization": "zscore"}, "must be one of dataset, image"),
        ({"normalization": "ct", "mean": [1], "std": [1]}, "ct, which needs"),
        ({"mean": [1], "std": [1], "low": [1], "high": [0]}, "below data.high"),
        ({"low": [1], "high": [2]}, "as many numbers as data.mean"),
        ({"nodata": "none"}, "data.nodata is 'none'"),
    ],
)
def test_what_is_no_normalisation_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        DataSpec.from_dict(values, "here")


@pytest.mark.parametrize("spec", [DataSpec(normalization="image"), DataSpec((0.5,), (0.2,), nodata=0.0)])
def test_programs_with_one_mean_and_std_refuse_the_others(spec):
    with pytest.raises(InputError, match="the page supports only normalisation by one mean"):
        spec.check_affine("the page")
    DataSpec((0.5,), (0.2,)).check_affine("the page")


def test_the_pixel_size_that_a_network_expects_is_stored_and_read_again():
    spec = DataSpec(spacing=(5.0, 1.0, 1.0), spacing_unit="µm")
    values = json.loads(json.dumps(spec.to_dict()))
    assert (values["spacing"], values["spacing_unit"]) == ([5.0, 1.0, 1.0], "µm")
    assert DataSpec.from_dict(values, "here") == spec
    with pytest.raises(InputError, match=r"here: data.spacing has 3 numbers for 2 axes"):
        spec.check(CONFIG, "here")
    assert DataSpec.from_dict({"mean": [], "std": [], "class_names": []}, "here").spacing == ()
