"""Outlines, read back by the programs that they are for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unet_data import FileFacts, measure_objects
from unet_data.objects.outlines import Page, check_outlines, places, rings, write_outlines
from unet_spec import InputError

from .test_table import labelled

NAMES = ("cell", "bubble")


def pages(count=1):
    found = []
    for seed in range(count):
        labels = labelled(seed=seed)
        labels[labels == 2] = 0
        labels[30:36, 30:36] = 2  # a square with two holes that meet at a corner, one of them at the outside's corner
        labels[31, 31] = labels[32, 32] = 0
        table = measure_objects(labels, None, int(labels.max()))
        classes = [NAMES[i % 2] for i in range(int(labels.max()))]
        found.append(Page(labels, table, classes, "image.tif"))
    where, _ = places(FileFacts(), count)
    return [replace(page, place=place) for page, place in zip(found, where, strict=True)]


def masks(page):
    """Of each object, its pixels."""
    return {number: page.labels == number for number in range(1, int(page.labels.max()) + 1)}


def rasterised(polygon, shape):
    """The pixels whose centres lie inside."""
    import shapely

    y, x = np.indices(shape)
    return shapely.contains_xy(polygon, x.ravel() + 0.5, y.ravel() + 0.5).reshape(shape)


def test_rings_of_one_pixel_and_of_a_ring():
    assert rings(np.array([[True]]))[0].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    hole = np.ones((3, 3), bool)
    hole[1, 1] = False
    outer, inner = rings(hole)
    assert (len(outer), len(inner)) == (5, 5)
    assert set(map(tuple, inner.tolist())) == {(1, 1), (2, 1), (2, 2), (1, 2)}


def test_polygons_are_valid_and_have_the_very_pixels():
    shapely = pytest.importorskip("shapely")
    rng = np.random.default_rng(0)
    from scipy import ndimage

    for _ in range(60):
        numbers, count = ndimage.label(rng.random((9, 11)) < 0.62)
        for number in range(1, count + 1):
            mask = numbers == number
            outer, *holes = rings(mask)
            polygon = shapely.Polygon(outer, holes)
            assert polygon.is_valid, mask
            assert polygon.area == mask.sum()
            np.testing.assert_array_equal(rasterised(polygon, mask.shape), mask)


@pytest.mark.parametrize("count", [1, 2])
def test_geojson_in_shapely(tmp_path, count):
    shapely = pytest.importorskip("shapely.geometry")
    found = pages(count)
    assert write_outlines(tmp_path / "o.geojson", found, NAMES) == ""
    features = iter(json.loads((tmp_path / "o.geojson").read_text())["features"])
    for index, page in enumerate(found):
        for number, mask in masks(page).items():
            feature = next(features)
            got = np.zeros(mask.shape, bool)
            for ring in [feature["geometry"]]:
                got |= rasterised(shapely.shape({k: v for k, v in ring.items() if k != "plane"}).buffer(0), mask.shape)
            assert feature["properties"]["name"] == str(number)
            assert feature["properties"]["classification"]["name"] == NAMES[(number - 1) % 2]
            assert feature["geometry"].get("plane", {}).get("t") == (index if count > 1 else None)
            np.testing.assert_array_equal(got, mask)
    assert next(features, None) is None


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("count", [1, 2])
def test_coco_in_pycocotools(tmp_path, count):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    found = pages(count)
    write_outlines(tmp_path / "o.json", found, NAMES)
    coco = COCO(tmp_path / "o.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
    for image, page in enumerate(found, start=1):
        assert coco.loadImgs(image)[0]["height"] == 61
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image))
        assert len(annotations) == page.labels.max()
        for annotation, (number, mask) in zip(annotations, masks(page).items(), strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation) > 0, mask)
            assert annotation["area"] == mask.sum()
            assert annotation["category_id"] == (number - 1) % 2 + 1
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum()


@pytest.mark.parametrize("count", [1, 2])
def test_rois_in_roifile(tmp_path, count):
    roifile = pytest.importorskip("roifile")
    shapely = pytest.importorskip("shapely")
    found = pages(count)
    remark = write_outlines(tmp_path / "o.zip", found, NAMES)
    assert "objects with holes, only the outer outlines are written" in remark
    read = iter(roifile.roiread(tmp_path / "o.zip"))
    for index, page in enumerate(found, start=1):
        for number, mask in masks(page).items():
            roi = next(read)
            filled = shapely.Polygon(roi.coordinates())
            outer = shapely.Polygon(rings(mask)[0])
            assert filled.equals(outer)
            assert roi.name.startswith(NAMES[(number - 1) % 2])
            assert roi.position == (index if count > 1 else 0)
    assert next(read, None) is None


@pytest.mark.parametrize(
    ("axes", "sizes", "where", "hyperstack"),
    [
        ("ZYX", (4, 8, 8), [(0, 0), (1, 0), (2, 0), (3, 0)], False),
        ("TYX", (4, 8, 8), [(0, 0), (0, 1), (0, 2), (0, 3)], False),
        ("TZYX", (2, 2, 8, 8), [(0, 0), (1, 0), (0, 1), (1, 1)], True),
        ("ZTYX", (2, 2, 8, 8), [(0, 0), (0, 1), (1, 0), (1, 1)], True),
        ("ZCYX", (4, 3, 8, 8), [(0, 0), (1, 0), (2, 0), (3, 0)], True),
        ("QYX", (4, 8, 8), [(0, 0), (0, 1), (0, 2), (0, 3)], False),
    ],
)
def test_outlines_are_in_the_plane_and_time_point_of_their_image(axes, sizes, where, hyperstack, tmp_path):
    roifile = pytest.importorskip("roifile")
    facts = FileFacts(axes=axes, sizes=sizes)
    assert places(facts, 4) == (where, hyperstack)
    labels = np.eye(2, dtype=np.int32)
    page = Page(labels[:1], measure_objects(labels[:1], None, 1), ["cell"], "image.tif")
    four = [replace(page, place=place, hyperstack=hyperstack) for place in where]
    for name in ("o.geojson", "o.zip"):
        write_outlines(tmp_path / name, four, NAMES)
    planes = [f["geometry"]["plane"] for f in json.loads((tmp_path / "o.geojson").read_text())["features"]]
    assert [(plane["z"], plane["t"]) for plane in planes] == where
    rois = roifile.roiread(tmp_path / "o.zip")
    if hyperstack:
        assert [(r.position, r.c_position, r.z_position - 1, r.t_position - 1) for r in rois] == [
            (0, 0, *p) for p in where
        ]
    else:
        assert [(r.position, r.z_position, r.t_position) for r in rois] == [(n, 0, 0) for n in range(1, 5)]


def test_what_cannot_be_written_is_refused_before(tmp_path):
    for name, shape, message in (
        ("a.svg", (9, 9), "QuPath"),
        ("a.json", (9, 9, 9), "volumes"),
        ("a.zip", (9, 70000), "60535"),
    ):
        with pytest.raises(InputError, match=message):
            check_outlines(tmp_path / name, shape, overwrite=False)
    (tmp_path / "a.json").touch()
    with pytest.raises(InputError, match="--overwrite"):
        check_outlines(tmp_path / "a.json", (9, 9), overwrite=False)
