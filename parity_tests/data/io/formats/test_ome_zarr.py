"""Transformations of OME-Zarr, one after the other, and those that cannot be followed."""

import json

import pytest

from unet_data.io.formats.ome_zarr import KEY, level_facts

AXES = [{"name": "y", "unit": "nanometer"}, {"name": "x", "unit": "nanometer"}]


def facts(*steps, axes=AXES, **more):
    level = {"path": "0", "coordinateTransformations": list(steps)}
    return level_facts({"axes": axes, "datasets": [level], **more}, "0")[1]


def test_transformations_of_the_image_come_after_those_of_its_level():
    level = ({"type": "scale", "scale": [2, 4]}, {"type": "translation", "translation": [5, 6]})
    above = [{"type": "scale", "scale": [10, 0.5]}, {"type": "translation", "translation": [1, 1]}]
    found = facts(*level, coordinateTransformations=above)
    assert (found["spacing"], found["unit"]) == ((20, 2), "nanometer")
    kept = json.loads(dict(found["extra"])[KEY])
    assert (kept["scale"], kept["translation"]) == ([20, 2], [51, 4])


@pytest.mark.parametrize(
    "step",
    [
        {"type": "scale", "scale": [1]},
        {"type": "scale", "scale": [1, 0]},
        {"type": "scale", "scale": [1, -2]},
        {"type": "scale", "scale": [1, "2"]},
        {"type": "scale", "scale": [1, float("nan")]},
        {"type": "scale", "scale": [True, 2]},
        {"type": "translation", "translation": "0 0"},
    ],
)
def test_what_is_damaged_says_nothing(step):
    assert facts(step) == {}


def test_axes_of_older_versions_are_names_or_missing():
    scale = {"type": "scale", "scale": [1, 2]}
    assert facts(scale, axes=["y", "x"])["unit"] == ""
    assert level_facts({"datasets": [{"path": "0"}]}, "0") == ((), {})
    assert facts() == {}


def test_units_that_differ_are_none():
    axes = [{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "nanometer"}]
    assert facts({"type": "scale", "scale": [1, 2]}, axes=axes)["unit"] == ""
