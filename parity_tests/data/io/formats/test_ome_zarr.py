"""Transformations of OME-Zarr, one after the other, and those that cannot be followed."""

import json
from dataclasses import replace

import pytest

from unet_data.io.facts import FileFacts
from unet_data.io.formats.ome_zarr import KEY, as_ome, level_facts, result_axes, result_metadata

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


def test_units_that_differ_become_one():
    axes = [{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "nanometer"}]
    found = facts({"type": "scale", "scale": [1, 2]}, axes=axes)
    assert (found["spacing"], found["unit"]) == ((1000.0, 2.0), "nanometer")


IMAGE = {
    "name": "scan",
    "axes": [{"name": n, "type": "time" if n == "t" else "channel" if n == "c" else "space"} for n in "tczyx"],
    "scale": [9.0, 1.0, 5.0, 2.0, 0.5],
    "translation": [0.0, 0.0, 7.0, 0.0, 3.0],
}
FACTS = FileFacts(axes="TCZYX", sizes=(4, 2, 3, 30, 40), extra=((KEY, json.dumps(IMAGE)),))


@pytest.mark.parametrize(
    ("images", "dims", "channels", "found"),
    [
        (4, 3, 0, (("t",), (4,))),
        (4, 3, 5, (("t", "c"), (4, 5))),
        (8, 3, 0, (("t", "sample"), (4, 2))),
        (12, 2, 0, (("t", "z"), (4, 3))),
        (12, 2, 2, (("t", "c", "z"), (4, 2, 3))),
        (24, 2, 2, (("t", "c", "z", "sample"), (4, 2, 3, 2))),
    ],
)
def test_the_axes_of_a_result_are_those_of_its_image(images, dims, channels, found):
    assert result_axes(FACTS, images, dims, channels) == found
    assert result_axes(FileFacts(), images, dims, channels) is None


def test_a_result_has_the_scale_and_place_of_its_image():
    [entry] = result_metadata(FACTS, ("t", "c", "z", "y", "x"), 2, levels=2)["ome"]["multiscales"]
    assert [a["name"] for a in entry["axes"]] == list("tczyx")
    assert (entry["name"], entry["type"]) == ("scan", "nearest")
    steps = [level["coordinateTransformations"] for level in entry["datasets"]]
    assert [level["path"] for level in entry["datasets"]] == ["0", "1"]
    assert [step[0]["scale"] for step in steps] == [[9, 1, 5, 2, 0.5], [9, 1, 5, 4, 1]]
    assert [step[1]["translation"] for step in steps] == [[0, 0, 7, 0, 3]] * 2
    deep = result_metadata(FACTS, ("z", "y", "x"), 3, levels=3)["ome"]["multiscales"][0]["datasets"][2]
    assert deep["coordinateTransformations"][0]["scale"] == [20, 8, 2]


def test_new_axes_have_no_scale_and_one_level_no_type():
    plain = replace(FACTS, extra=((KEY, json.dumps(IMAGE | {"name": None, "translation": [0.0] * 5})),))
    [entry] = result_metadata(plain, ("sample", "c", "y", "x"), 2)["ome"]["multiscales"]
    assert entry["axes"][:2] == [{"name": "sample"}, {"name": "c", "type": "channel"}]
    assert set(entry) == {"axes", "datasets"}
    assert entry["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [1, 1, 2, 0.5]}]


@pytest.mark.parametrize("labels", [False, True])
def test_the_version_follows_that_of_zarr(labels):
    axes, image = ("y", "x"), {"source": {"image": "../../"}}
    new = result_metadata(FACTS, axes, 2, labels=labels)
    assert (new["ome"]["version"], new["ome"].get("image-label")) == ("0.5", image if labels else None)
    old = result_metadata(FACTS, axes, 2, zarr_format=2, labels=labels)
    assert old["multiscales"][0]["version"] == "0.4"
    assert old.get("image-label") == ({"version": "0.4"} | image if labels else None)
    assert set(new) == {"ome"}


@pytest.mark.parametrize(
    ("facts", "pages", "dims", "names", "scale", "sizes"),
    [
        (FileFacts(spacing=(2.0, 0.5), unit="um"), 1, 2, "yx", [2, 0.5], (1, 1)),
        (FileFacts("", "TZYX", (4, 3, 8, 9), spacing=(5.0, 2.0, 0.5)), 12, 2, "tzyx", [1, 5, 2, 0.5], (4, 3, 1, 1)),
        (FileFacts("", "TZYX", (4, 3, 8, 9), spacing=(5.0, 2.0, 0.5)), 4, 3, "zyx", [5, 2, 0.5], (1, 1, 1)),
        (FileFacts("", "TYX", (4, 8, 9), spacing=(2.0, 0.5), turned=True), 4, 2, "tyx", [1, 2, 0.5], (4, 1, 1)),
        (FileFacts(), 1, 3, "zyx", [1, 1, 1], (1, 1, 1)),
    ],
)
def test_any_image_has_an_ome_zarr(facts, pages, dims, names, scale, sizes):
    found = as_ome(facts, pages, dims)
    image = json.loads(dict(found.extra)[KEY])
    assert ("".join(a["name"] for a in image["axes"]), image["scale"], found.sizes) == (names, scale, sizes)
    assert image["translation"] == [0] * len(names)
    assert [a["type"] for a in image["axes"]] == ["time" if n == "t" else "space" for n in names]
    unit = {"unit": "micrometer"} if facts.unit else {}
    assert all({k: v for k, v in a.items() if k == "unit"} == unit for a in image["axes"])
    assert as_ome(found, pages, dims) is found
