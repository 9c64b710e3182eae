"""COCO annotations are converted to a folder for training: polygons, run lengths, classes and objects."""

import json

import numpy as np
import pytest

from unet_data import open_dataset, read_labels, unpack_masks, write_stack
from unet_spec import InputError
from unet_tools.cli import main
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
            {"image_id": 0, "category_id": 3, "segmentation": [[2, 1, 6, 1, 6, 3, 2, 3]]},
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
    np.testing.assert_array_equal(region_of([[2, 1, 6, 1, 6, 3, 2, 3]], (6, 8)), BOX)


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
    again = {"image_id": 1, "category_id": 7, "segmentation": [[2, 1, 6, 1, 6, 3, 2, 3]]}
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
