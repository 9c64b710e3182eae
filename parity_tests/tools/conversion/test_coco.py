"""COCO annotations are converted to a folder for training: polygons, run lengths, classes and objects."""

import json

import numpy as np
import pytest

from unet_data import open_dataset, read_labels, unpack_masks, write_stack
from unet_spec import InputError
from unet_tools.cli import main
from unet_tools.conversion import coco
from unet_tools.conversion.coco import convert_coco, region_of

BOX = np.zeros((6, 8), bool)
BOX[1:4, 2:7] = True


def packed(counts):
    """COCO's text of run lengths."""
    text = ""
    for i, count in enumerate(counts):
        value, more = count - (counts[i - 2] if i > 2 else 0), True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 * more) + 48)
    return text


def runs(mask):
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *edges, flat.size]).tolist()


def annotated(tmp_path, **changes):
    for name in ("a", "b"):
        write_stack(tmp_path / f"{name}.png", np.full((1, 6, 8), 9, np.uint8))
    ring = ~BOX
    ring[0, 0] = False
    content = {
        "images": [{"id": i, "file_name": f"{'ab'[i]}.png", "height": 6, "width": 8} for i in range(2)],
        "categories": [{"id": 7, "name": "ring"}, {"id": 3, "name": "box"}],
        "annotations": [
            {"image_id": 0, "category_id": 3, "segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]},
            {"image_id": 1, "category_id": 7, "segmentation": {"size": [6, 8], "counts": [1, *runs(ring)[1:]]}},
            {"image_id": 1, "category_id": 3, "segmentation": {"size": [6, 8], "counts": packed(runs(BOX))}},
        ],
    } | changes
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return tmp_path / "coco.json", ring


@pytest.mark.parametrize("compressed", [False, True])
def test_regions(compressed):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((40, 50)) < rng.random()
        mask[0, 0] = False
        counts = runs(mask)
        found = region_of({"size": [40, 50], "counts": packed(counts) if compressed else counts}, (40, 50))
        np.testing.assert_array_equal(found, mask)
    np.testing.assert_array_equal(region_of([[2, 1, 7, 1, 7, 4, 2, 4]], (6, 8)), BOX)


def test_a_crowd_is_no_object(tmp_path, capsys):
    box = [[2, 1, 7, 1, 7, 4, 2, 4]]
    of = {"image_id": 0, "category_id": 3}
    regions = [
        of | {"segmentation": [[0, 4, 8, 4, 8, 6, 0, 6]], "iscrowd": 1},
        of | {"segmentation": box, "iscrowd": 0},
    ]
    path, _ = annotated(tmp_path, annotations=regions)
    for kind, numbers, words in (("instance", [0, 1], "left out"), ("semantic", [0, 1], "pixels of their classes")):
        assert main(["data", "convert", str(path), "--out", str(tmp_path / kind), "--labels", kind]) == 0
        label = read_labels(tmp_path / kind / "labels" / "a.png")[0]
        assert np.unique(label).tolist() == numbers
        assert label[5].any() == (kind == "semantic")
        said = " ".join(capsys.readouterr().out.split())
        assert "1 objects" in said
        assert f"regions of several objects (iscrowd): 1, {words}" in said


def test_classes_and_objects(tmp_path):
    path, ring = annotated(tmp_path)
    done = convert_coco(path, tmp_path, tmp_path / "out")
    assert (done.images, done.objects, done.classes, done.overlaps) == (2, 3, ("background", "box", "ring"), 0)
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "labels" / "a.png")[0], BOX)
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "labels" / "b.png")[0], BOX + 2 * ring)
    assert open_dataset(tmp_path / "out").class_count == 3
    assert main(["data", "convert", str(path), "--out", str(tmp_path / "objects"), "--labels", "instance"]) == 0
    assert read_labels(tmp_path / "objects" / "labels" / "b.png").dtype == np.uint16
    assert main(["data", "convert", str(path), "--out", str(tmp_path / "objects")]) == 2  # it exists


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [{"image_id": 5}]}, "not COCO annotations"),
        (
            {"images": [{"id": 0, "file_name": "../a.png", "height": 6, "width": 8}], "annotations": []},
            "its file name leaves the folder",
        ),
        ({"images": [{"id": 0, "file_name": "c.png", "height": 6, "width": 8}], "annotations": []}, "no such file"),
        (
            {"annotations": [{"image_id": 0, "category_id": 3, "segmentation": {"size": [6, 8], "counts": [5]}}]},
            "run l",
        ),
    ],
)
def test_other_files_are_refused_and_leave_nothing(tmp_path, changes, words):
    path, _ = annotated(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        convert_coco(path, tmp_path, tmp_path / "out")
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_categories_that_overlap_become_a_mask_each(tmp_path, capsys):
    again = {"image_id": 1, "category_id": 7, "segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]}
    path, ring = annotated(tmp_path)
    path, _ = annotated(tmp_path, annotations=[*json.loads(path.read_text())["annotations"], again])
    arguments = ["data", "convert", str(path), "--out", str(tmp_path / "out"), "--labels", "overlapping"]
    assert main(arguments) == 0
    assert "15 pixels have several classes" in capsys.readouterr().out
    data = open_dataset(tmp_path / "out", kind="overlapping")
    assert data.class_names == ("box", "ring")
    masks = unpack_masks(data.labels[1], 2)
    np.testing.assert_array_equal(masks[..., 0], BOX)
    np.testing.assert_array_equal(masks[..., 1], BOX | ring)
    assert not unpack_masks(data.labels[0], 2)[..., 1].any()
    categories = [{"id": 7, "name": "a/b"}, {"id": 3, "name": "a:b"}]
    path, _ = annotated(tmp_path, categories=categories)
    with pytest.raises(InputError, match="categories need distinct names"):
        convert_coco(path, tmp_path, tmp_path / "same", masks=True)


def image_of(height, width, name="a.png"):
    return {"id": 0, "file_name": name, "height": height, "width": width}


@pytest.mark.parametrize(
    ("name", "height", "width", "message"),
    [
        ("a.png", 0, 8, "has no pixels"),
        ("a.png", 6, -8, "has no pixels"),
        ("/a.png", 6, 8, "its file name leaves the folder"),
        ("a.png", 7, 7, r"of \(7, 7\) pixels is too large"),
        ("a.png", 6, 8, None),  # 48 pixels, as many as are allowed
    ],
)
def test_an_image_has_pixels_but_not_too_many_and_lies_in_the_folder(
    name, height, width, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(coco, "_MOST_PIXELS", 48)
    path, _ = annotated(tmp_path, images=[image_of(height, width, name)], annotations=[])
    if message is None:
        assert convert_coco(path, tmp_path, tmp_path / "out").images == 1
        return
    with pytest.raises(InputError, match=message):
        convert_coco(path, tmp_path, tmp_path / "out")


def test_masks_may_have_a_gigapixel():
    assert coco._MOST_PIXELS == 2**30


@pytest.mark.parametrize("count", [255, 256])
def test_a_mask_has_the_bits_that_its_classes_need(count, tmp_path):
    last = {"image_id": 0, "category_id": count, "segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]}
    categories = [{"id": number, "name": str(number)} for number in range(1, count + 1)]
    path, _ = annotated(tmp_path, categories=categories, images=[image_of(6, 8)], annotations=[last])
    done = convert_coco(path, tmp_path, tmp_path / "out")
    label = read_labels(tmp_path / "out/labels/a.png")
    assert (label.dtype, label.max(), len(done.classes)) == (
        np.dtype(np.uint16 if count > 255 else np.uint8),
        count,
        count + 1,
    )


def test_of_annotations_that_overlap_the_last_one_counts_and_objects_are_numbered_from_one(tmp_path):
    left, right = [[0, 0, 5, 0, 5, 6, 0, 6]], [[3, 0, 8, 0, 8, 6, 3, 6]]
    parts = [{"image_id": 0, "category_id": 3, "segmentation": each} for each in (left, right)]
    path, _ = annotated(tmp_path, images=[image_of(6, 8)], annotations=parts)
    done = convert_coco(path, tmp_path, tmp_path / "out", instances=True)
    assert (done.objects, done.overlaps) == (2, 12)  # two columns of six pixels
    expected = np.broadcast_to([1, 1, 1, 2, 2, 2, 2, 2], (6, 8))
    np.testing.assert_array_equal(read_labels(tmp_path / "out/labels/a.png")[0], expected)


def test_an_object_may_have_several_polygons_and_a_polygon_without_area_is_its_outline():
    found = region_of([[0, 0, 2, 0, 2, 2, 0, 2], [3, 2, 6, 2, 3, 2]], (4, 8))
    expected = np.zeros((4, 8), bool)
    expected[:2, :2] = expected[2, 3:7] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_a_polygon_has_the_pixels_whose_centres_it_contains():
    shapely = pytest.importorskip("shapely")
    mask = pytest.importorskip("pycocotools.mask")
    rng, y, x = np.random.default_rng(0), *np.indices((30, 40))
    for radius in (5, 8, 20):  # the last one extends beyond the image
        angle = np.linspace(0, 2 * np.pi, 25, endpoint=False)
        distance = radius * rng.uniform(0.8, 1, angle.size)
        corners = np.stack([20.3 + distance * np.cos(angle), 15.6 + distance * np.sin(angle)], 1)
        found = region_of([corners.ravel().tolist()], (30, 40))
        polygon = shapely.Polygon(corners)
        np.testing.assert_array_equal(found.ravel(), shapely.contains_xy(polygon, x.ravel() + 0.5, y.ravel() + 0.5))
        theirs = mask.decode(mask.merge(mask.frPyObjects([corners.ravel().tolist()], 30, 40)))
        assert abs(int(found.sum()) - int(theirs.sum())) <= 0.1 * found.sum() + 1  # with the rim: 23 % more
    square = [0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]
    np.testing.assert_array_equal(
        region_of([square], (4, 4)), mask.decode(mask.merge(mask.frPyObjects([square], 4, 4)))
    )


def test_boxes_without_segmentations_are_refused(tmp_path):
    boxes = [{"image_id": 0, "category_id": 3, "bbox": [1, 1, 2, 2], **more} for more in ({}, {"segmentation": []})]
    path, _ = annotated(tmp_path, annotations=boxes)
    with pytest.raises(InputError, match="has boxes only; masks need segmentations"):
        convert_coco(path, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "counts"),
    [([8, 6], [48]), ([6, 8], [47]), ([6, 8], [49]), ([6, 8], [50, -2]), ([6, 8], [])],
)
def test_run_lengths_that_do_not_fill_the_image_are_refused(size, counts):
    with pytest.raises(ValueError, match="run lengths"):
        region_of({"size": size, "counts": counts}, (6, 8))


def test_names_of_folders_keep_what_every_file_system_takes(tmp_path):
    path, _ = annotated(tmp_path, categories=[{"id": 3, "name": " a/b:c+d-e.f. "}, {"id": 7, "name": "é 1"}])
    done = convert_coco(path, tmp_path, tmp_path / "out", masks=True)
    assert done.classes == ("a_b_c+d-e.f", "é 1")
    for name in ("..", "", "b"):
        path, _ = annotated(tmp_path, categories=[{"id": 3, "name": name}, {"id": 7, "name": "b"}])
        with pytest.raises(InputError, match="distinct names that can be folder names"):
            convert_coco(path, tmp_path, tmp_path / "other", masks=True)


def test_images_in_folders_keep_them(tmp_path):
    (tmp_path / "x").mkdir()
    write_stack(tmp_path / "x/a.tif", np.full((1, 6, 8), 9, np.uint8))
    path, _ = annotated(tmp_path, images=[image_of(6, 8, "x/a.tif")], annotations=[])
    convert_coco(path, tmp_path, tmp_path / "out")
    assert (tmp_path / "out/images/x/a.tif").read_bytes() == (tmp_path / "x/a.tif").read_bytes()
    assert not read_labels(tmp_path / "out/labels/x/a.png").any()
